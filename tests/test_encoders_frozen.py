"""An encoder gives each image its features, however many there are and whichever array they are."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.encoders.frozen import compiled_encoder
from eqssl_jax.encoders.host import host_encoder

SHAPE = (4, 5, 3)
WEIGHTS = np.random.default_rng(0).normal(size=(60, 7)).astype(np.float32)
IMAGES = np.random.default_rng(1).random((41, *SHAPE), np.float32)
EXPECTED = IMAGES.reshape(41, -1) @ WEIGHTS


def layers(weights, images):
    features = images.reshape(images.shape[0], -1) @ weights
    return {"stem": images.mean((1, 2)), "features": features, "embedding": features[:, :2]}


def encoder(batch=16, forward=layers):
    return compiled_encoder(
        forward, WEIGHTS, name="linear", origin="a test", image_shape=SHAPE, batch=batch
    )


@pytest.mark.parametrize("count", [1, 2, 5, 16, 17, 41])
def test_any_number_of_images(count):
    layers = encoder().layers(IMAGES[:count])
    assert list(layers) == ["stem", "features", "embedding"]
    np.testing.assert_allclose(layers["features"], EXPECTED[:count], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layers["embedding"], EXPECTED[:count, :2], rtol=1e-5, atol=1e-5)
    assert isinstance(encoder()(IMAGES[:count]), np.ndarray)


def test_few_sizes_are_compiled():
    sizes = []

    def counted(weights, images):
        sizes.append(len(images))
        return layers(weights, images)

    frozen = encoder(batch=20, forward=counted)
    for count in range(1, 42):
        frozen(IMAGES[:count])
    assert sorted(sizes) == [1, 4, 16, 20]


def test_arrays_of_jax_stay_there_and_are_traced():
    frozen = encoder()
    features = frozen(jnp.asarray(IMAGES, jnp.bfloat16))
    assert isinstance(features, jax.Array)
    assert features.dtype == jnp.float32
    inside = jax.jit(frozen)(IMAGES[:3])
    np.testing.assert_allclose(inside, EXPECTED[:3], rtol=1e-5, atol=1e-5)
    slope = jax.grad(lambda x: frozen(x).sum())(jnp.asarray(IMAGES[:1]))
    np.testing.assert_allclose(slope.ravel(), WEIGHTS.sum(1), rtol=1e-4, atol=1e-5)


def test_one_that_normalises_nothing_takes_normalised_images():
    bare = dataclasses.replace(encoder(), mean=(0.0,) * 3, std=(1.0,) * 3)
    np.testing.assert_allclose(
        bare(IMAGES * 6 - 3)[:, 0],
        (encoder()(IMAGES) * 6)[:, 0] + bare(0 * IMAGES - 3)[:, 0],
        rtol=1e-3,
        atol=1e-3,
    )
    with pytest.raises(ValueError, match="before any normalisation"):
        encoder()(IMAGES * 6 - 3)


def on_host(images):
    return images.reshape(len(images), -1) @ WEIGHTS


def test_a_function_of_numpy_is_an_encoder():
    seen = []

    def function(images):
        seen.append(images.shape)
        assert isinstance(images, np.ndarray)
        features = on_host(images)
        images *= 0  # in place: it works on a copy
        return features

    frozen = host_encoder(function, name="mine", batch=16)
    np.testing.assert_allclose(frozen(IMAGES), EXPECTED, rtol=1e-4, atol=1e-4)
    assert max(shape[0] for shape in seen) == 16
    np.testing.assert_array_equal(frozen.embeddings(IMAGES), frozen(IMAGES))
    with pytest.raises(ValueError, match="cannot be called inside"):
        jax.jit(frozen)(IMAGES)


def test_functions_may_give_heads_and_layers():
    two = host_encoder(lambda x: (on_host(x), on_host(x)[:, :2]), name="two")
    assert two.embeddings(IMAGES).shape == (41, 2)
    named = host_encoder(lambda x: {"stem": x.mean((1, 2)), "features": on_host(x)}, name="named")
    assert list(named.layers(IMAGES)) == ["stem", "features", "embedding"]


class OnDevice:
    """As a tensor of PyTorch on a GPU behaves."""

    device = "cuda:0"

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")


def of_batch(images):
    features = on_host(images)
    return (features - features.mean(0)) / (features.std(0) + 1)


def beside(offset):
    """Normalised over the batch, and hidden by an offset, or by a dimension that is constant."""
    return lambda images: (h := on_host(images), (h - h.mean(0)) / (h.std(0) + 0.01) + offset)[1]


def with_constant(images):
    return np.concatenate([beside(0)(images), np.full((len(images), 1), 200.0)], 1)


def with_a_large_one(images):
    return np.concatenate([beside(0)(images), 1e3 * on_host(images)], 1)


def of_large_batches(images):
    return on_host(images) if len(images) <= 8 else beside(30)(images)


def random(images):
    return on_host(images) * (np.random.random((len(images), 7)) > 0.5)


def changing(images):
    return on_host(images)[:, : 3 + len(images) % 4]


def out_of_memory(images):
    raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")


def later(bad):
    """Right for the first images, as they are probed, then wrong."""
    calls = []

    def function(images):
        calls.append(0)
        return on_host(images) if len(calls) < 7 else bad(on_host(images))

    return function


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: on_host(x) * np.nan, "gave NaN"),
        (lambda x: on_host(x).astype(float) * 1e300, "infinite values"),
        (later(lambda h: h * np.nan), "gave NaN"),
        (later(lambda h: h[:, :4]), "widths"),
        (later(lambda h: h[1:]), "15 rows"),
        (changing, "changes its features with the batch"),
        (of_batch, "depends on the batch"),
        (beside(60), "depends on the batch"),
        (beside(1e3), "depends on the batch"),
        (with_constant, "depends on the batch"),
        (with_a_large_one, "depends on the batch"),
        (of_large_batches, "depends on the batch: .* of 16 images"),
        (random, "depends on the batch"),
        (lambda x: on_host(x)[::-1] * 0 + np.arange(len(x))[:, None], "depends on the batch"),
        (lambda x: on_host(x)[:1], "gave 1 rows"),
        (lambda x: on_host(x) * 1j, "dtype complex"),
        (lambda x: np.array([[None]] * len(x)), "dtype object"),
        (lambda x: np.array([["a"]] * len(x)), "dtype <U1"),
        (lambda x: None, "dtype object"),
        (lambda x: x, "shape"),
        (lambda x: on_host(x)[:, 0], "shape"),
        (lambda x: {"stem": on_host(x)}, "without 'features'"),
        (lambda x: OnDevice(), r"cuda:0.*cpu"),
        (out_of_memory, "XLA_PYTHON_CLIENT_PREALLOCATE"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: sys.exit("gone"), "SystemExit: gone"),
    ],
)
def test_faults_of_a_function_are_found(function, message):
    frozen = host_encoder(function, name="mine", batch=16)
    with pytest.raises(ValueError, match=message) as caught:
        frozen(IMAGES)
    assert "'mine'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_precision_beside_an_offset_is_accepted():
    def half(images):
        rows = np.asarray(jnp.asarray(on_host(images) * 0.1 + 20, jnp.bfloat16), np.float32)
        return np.concatenate([rows, np.zeros((len(rows), 1)), np.full((len(rows), 1), 1e4)], 1)

    assert host_encoder(half, name="half", batch=16)(IMAGES).shape == (41, 9)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(ValueError, match="cannot be called"):
        host_encoder(3, name="three")
