"""A program gives what its encoder gives, for any number of images, without this package."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import encoders, load
from eqssl_jax.encoders.program import FILE, program, read_program
from eqssl_jax.experiment.embed import embed

SHAPE = (8, 8, 3)
IMAGES = np.random.default_rng(0).random((5, *SHAPE), np.float32)

ALONE = """
import sys, numpy as np, jax.export
try:
    import eqssl_jax
    raise SystemExit("the package is not hidden")
except ImportError:
    pass
program = jax.export.deserialize(open(sys.argv[1], "rb").read())
features, embeddings = program.call(np.load(sys.argv[2]))
np.savez(sys.argv[3], features=features, embeddings=embeddings)
"""


@pytest.fixture(scope="module")
def network():
    built = encoders.build(
        encoder="conv_tiny", projector=(8, 4), mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3), conv="xla"
    )
    variables = built.init(jax.random.key(0), SHAPE)
    # Statistics that no default has: an exporter that forgot them would show.
    stats = jax.tree.map(lambda x: x + 0.5, variables["batch_stats"])
    return functools.partial(built.encode, variables["params"], stats)


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / FILE
    path.write_bytes(program(network, SHAPE))
    return path


def test_an_exported_encoder_is_loaded(network, file):
    expected = jax.jit(network)(IMAGES)
    (file.parent / "config.json").write_text(json.dumps({"name": "mine", "mean": [0.4, 0.5, 0.6]}))
    for path in (file, file.parent):
        loaded = read_program(path)
        assert (loaded.image_shape, loaded.name, loaded.mean) == (SHAPE, "mine", (0.4, 0.5, 0.6))
        np.testing.assert_allclose(loaded(IMAGES), expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(loaded.embeddings(IMAGES), expected[1], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="resize them"):
        loaded(IMAGES[:, :7])


def test_it_runs_without_this_package(network, file, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    # Isolated: neither this folder nor PYTHONPATH; an installed package is hidden by name.
    hide = "import sys; sys.modules['eqssl_jax'] = None\n"
    subprocess.run(
        [sys.executable, "-I", "-c", hide + ALONE, file, tmp_path / "images.npy", tmp_path / "out"],
        check=True, env={**os.environ, "XLA_FLAGS": ""}, timeout=300,
    )  # fmt: skip
    expected = jax.jit(network)(IMAGES)
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["features"], expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(out["embeddings"], expected[1], rtol=1e-5, atol=1e-6)


def test_it_is_made_for_all_platforms(file):
    exported = jax.export.deserialize(bytearray(file.read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")


def test_what_is_no_program_is_refused(file, tmp_path):
    with pytest.raises(FileNotFoundError, match="no exported program"):
        read_program(tmp_path)
    whole = file.read_bytes()
    for content in (b"", b"nonsense" * 100, whole[: len(whole) // 2]):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as a program"):
            read_program(tmp_path)
    pixel, row = (lambda x: x[:, 0, 0], lambda x: x[:1, 0, 0])
    for function in (jnp.sin, pixel, lambda x: (pixel(x), x), lambda x: (row(x), pixel(x))):
        (tmp_path / FILE).write_bytes(exported(function, (2, 2, 3)))
        with pytest.raises(ValueError, match="an encoder takes"):
            read_program(tmp_path)


def exported(function, shape):
    images = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("b"), *shape), jnp.float32)
    return jax.export.export(jax.jit(function))(images).serialize()


def test_programs_that_depend_on_the_batch_or_give_nan_are_refused(tmp_path):
    def write(function):
        (tmp_path / FILE).write_bytes(exported(lambda x: 2 * (function(x[:, 0, 0]),), (2, 2, 3)))

    write(lambda x: x - x.mean(0, keepdims=True))
    with pytest.raises(ValueError, match="depends on the batch"):
        load(tmp_path)
    write(lambda x: x * jnp.nan)
    np.savez(
        tmp_path / "set.npz", images=np.zeros((12, 2, 2, 3), np.uint8), labels=np.arange(12) % 2
    )
    with pytest.raises(ValueError, match=r"NaN or infinite .*, the first"):
        embed(tmp_path, tmp_path / "out.npz", data=str(tmp_path / "set.npz"))
    assert not (tmp_path / "out.npz").exists()
