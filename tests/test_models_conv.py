"""Convolutions: PyTorch's padding, and every implementation the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.models import conv

SHAPES = [(3, 1), (3, 2), (1, 1), (1, 2), (7, 2)]


def inputs(size, height=8):
    x = jax.random.normal(jax.random.key(0), (2, height, 6, 3))
    kernel = jax.random.normal(jax.random.key(1), (size, size, 3, 5)) / size
    return x, kernel


def loop(x, kernel, stride):
    """The definition: symmetric zero padding by (k − 1) / 2, then a sum over the window."""
    size, pad = kernel.shape[0], kernel.shape[0] // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows = range(0, x.shape[1] - size + 1, stride)
    columns = range(0, x.shape[2] - size + 1, stride)
    return np.stack(
        [
            np.stack(
                [np.tensordot(x[:, i : i + size, j : j + size], kernel, 3) for j in columns], 1
            )
            for i in rows
        ],
        1,
    )


@pytest.mark.parametrize("name", sorted(conv.IMPLEMENTATIONS))
@pytest.mark.parametrize(("size", "stride"), SHAPES)
@pytest.mark.parametrize("height", [7, 8])
def test_equals_the_definition(name, size, stride, height):
    x, kernel = inputs(size, height)
    found = conv.IMPLEMENTATIONS[name](x, kernel, stride)
    expected = loop(np.asarray(x), np.asarray(kernel), stride)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), SHAPES)
@pytest.mark.parametrize("height", [7, 8])
def test_gradients_agree(size, stride, height):
    x, kernel = inputs(size, height)

    def gradient(convolve):
        def value(x, kernel):
            return jnp.sum(jnp.sin(convolve(x, kernel, stride)))

        return jax.grad(value, argnums=(0, 1))(x, kernel)

    for found, expected in zip(gradient(conv.patches), gradient(conv.xla), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_unknown_implementation():
    with pytest.raises(ValueError, match=r"conv is 'fft'.*auto.*xla.*patches"):
        conv.implementation("fft")
