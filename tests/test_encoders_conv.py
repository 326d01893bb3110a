"""Convolutions: PyTorch's padding, and every implementation the same function."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.encoders import conv

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
    outputs = jax.jit(conv.IMPLEMENTATIONS[name], static_argnums=2)(x, kernel, stride)
    expected = loop(np.asarray(x), np.asarray(kernel), stride)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), SHAPES)
@pytest.mark.parametrize("height", [7, 8])
def test_gradients_agree(size, stride, height):
    x, kernel = inputs(size, height)

    def gradient(convolve):
        def value(x, kernel):
            return jnp.sum(jnp.sin(convolve(x, kernel, stride)))

        return jax.jit(jax.grad(value, argnums=(0, 1)))(x, kernel)

    for computed, expected in zip(gradient(conv.patches), gradient(conv.xla), strict=True):
        np.testing.assert_allclose(computed, expected, rtol=1e-5, atol=1e-5)


def convolutions(jaxpr):
    """Every convolution of a program, in the bodies of its loops too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            yield equation.params
        for value in equation.params.values():
            if hasattr(value, "jaxpr"):
                yield from convolutions(value.jaxpr)


@pytest.mark.parametrize(("size", "stride"), SHAPES)
def test_gradients_use_forward_convolutions_only(size, stride):
    # XLA for CPU computes all others, if in the body of a loop, by a plain loop: 50 times slower.
    x, kernel = inputs(size)

    def parameters(convolve):
        gradient = jax.grad(lambda *a: jnp.sum(jnp.sin(convolve(*a, stride))), argnums=(0, 1))
        return list(convolutions(jax.make_jaxpr(gradient)(x, kernel).jaxpr))

    forward = parameters(conv.patches)[0]["dimension_numbers"]
    for params in parameters(conv.patches):
        assert params["dimension_numbers"] == forward
        assert params["lhs_dilation"] == params["rhs_dilation"] == (1, 1)
    assert any(params["dimension_numbers"] != forward for params in parameters(conv.xla))


@pytest.mark.parametrize("stride", [1, 2])
def test_bfloat16_gradients_are_as_exact_as_their_dtype(stride):
    x, kernel = inputs(3)
    low = tuple(a.astype(jnp.bfloat16) for a in (x, kernel))
    same = tuple(a.astype(jnp.float32) for a in low)

    @partial(jax.jit, static_argnums=0)
    def gradient(convolve, *operands):
        y, back = jax.vjp(lambda x, kernel: convolve(x, kernel, stride), *operands)
        return back(jnp.ones_like(y))

    for computed, expected in zip(
        gradient(conv.patches, *low), gradient(conv.xla, *same), strict=True
    ):
        assert computed.dtype == jnp.bfloat16
        error = np.abs(np.asarray(computed.astype(jnp.float32)) - np.asarray(expected))
        assert error.max() < 0.01 * np.abs(np.asarray(expected)).max()


def test_unknown_implementation():
    with pytest.raises(ValueError, match=r"conv is 'fft'.*auto.*xla.*patches"):
        conv.implementation("fft")
