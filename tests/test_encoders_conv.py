"""Convolutions: PyTorch's padding, and every implementation the same function."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.encoders import conv, winograd

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


# Sides that are no multiple of a tile, one smaller than a tile, and layers that widen.
WIDE = [(4, 8, 8, 64, 96), (6, 7, 5, 64, 32), (64, 1, 2, 64, 64), (8, 5, 6, 256, 256)]


@pytest.mark.parametrize("shape", WIDE)
def test_winograd_is_the_convolution_with_its_gradients(shape):
    *images, inputs, outputs = shape
    keys = jax.random.split(jax.random.key(0), 3)
    x = 1 + jax.random.normal(keys[0], (*images, inputs))
    kernel = jax.random.normal(keys[1], (3, 3, inputs, outputs)) / (9 * inputs) ** 0.5
    g = jax.random.normal(keys[2], (*images, outputs))

    @partial(jax.jit, static_argnums=0)
    def both(convolve, x, kernel, g):
        y, back = jax.vjp(convolve, x, kernel)
        return y, *back(g)

    bounds = 2e-6, 2e-6, 2e-5  # of the largest number: result, gradients of input and kernel
    computed, expected = both(conv.patches, x, kernel, g), both(conv.xla, x, kernel, g)
    for value, exact, bound in zip(computed, expected, bounds, strict=True):
        assert np.abs(value - exact).max() < bound * np.abs(exact).max()


@pytest.mark.parametrize(
    ("size", "stride", "channels", "dtype", "pays"),
    [
        (3, 1, 32, "float32", True),
        (3, 1, 31, "float32", False),
        (3, 2, 64, "float32", False),
        (1, 1, 64, "float32", False),
        (3, 1, 64, "bfloat16", False),
    ],
)
def test_winograd_where_it_pays(monkeypatch, size, stride, channels, dtype, pays):
    called = []
    for name in ("convolve", "kernel_gradient"):
        plain = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *a, n=name, f=plain: called.append(n) or f(*a))
    x = jnp.ones((16, 4, 4, channels), dtype)
    kernel = jnp.ones((size, size, channels, channels), dtype)
    y, back = jax.vjp(lambda x, k: conv.patches(x, k, stride), x, kernel)
    assert called == ["convolve"] * pays
    back(y)
    assert called == ["convolve", "convolve", "kernel_gradient"] * pays


def loop_of_kernel_gradient(x, g):
    (call,) = jax.make_jaxpr(winograd.kernel_gradient)(x, g).eqns
    (loop,) = (e for e in call.params["jaxpr"].eqns if e.primitive.name == "scan")
    products = (e for e in loop.params["jaxpr"].eqns if e.primitive.name == "dot_general")
    return loop.params["length"], len(list(products))


# Channels of no other test, so that nothing is compiled already with other chunks.
@pytest.mark.parametrize("channels", [33, 65])
def test_the_kernel_gradient_sums_over_all_chunks_of_images(monkeypatch, channels):
    monkeypatch.setattr(winograd, "KERNEL_BYTES", 1)
    x = jax.random.normal(jax.random.key(0), (64, 8, 8, channels))
    g = jax.random.normal(jax.random.key(1), (64, 8, 8, channels))
    assert loop_of_kernel_gradient(x, g)[0] > 1
    exact = jax.vjp(lambda k: conv.xla(x, k), jnp.zeros((3, 3, channels, channels)))[1](g)[0]
    assert np.abs(winograd.kernel_gradient(x, g) - exact).max() < 2e-5 * np.abs(exact).max()


@pytest.mark.parametrize(("channels", "products"), [(63, 16), (64, 36), (255, 36), (256, 16)])
def test_larger_tiles_are_for_layers_of_middling_width(channels, products):
    x, g = jnp.ones((1, 4, 4, channels)), jnp.ones((1, 4, 4, 300))
    assert loop_of_kernel_gradient(x, g)[1] == loop_of_kernel_gradient(g, x)[1] == products


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
def test_no_images_have_no_features_and_no_gradient(size, stride):
    x, kernel = jnp.ones((0, 4, 4, 32)), jnp.ones((size, size, 32, 40))
    y, back = jax.vjp(lambda x, k: conv.patches(x, k, stride), x, kernel)
    assert y.shape == (0, 4 // stride, 4 // stride, 40)
    d_x, d_kernel = back(y)
    assert d_x.shape == x.shape and not d_kernel.any()


def test_few_images_are_left_to_xla_and_mixed_types_to_its_error():
    kernel = jnp.ones((3, 3, 32, 32))
    assert winograd.pays(jnp.ones((4, 8, 7, 32)), kernel, 1)  # 4 × 4 × 4 tiles
    assert not winograd.pays(jnp.ones((3, 8, 8, 32)), kernel, 1)
    with pytest.raises(TypeError):
        conv.patches(jnp.ones((4, 8, 8, 32)), kernel.astype(jnp.bfloat16))


@pytest.mark.parametrize(("inputs", "outputs", "loops"), [(32, 64, 1), (64, 32, 4)])
def test_a_kernel_of_one_position_is_chunked_only_turned_round(monkeypatch, inputs, outputs, loops):
    monkeypatch.setattr(conv, "CHUNK_BYTES", 2 * 16 * 4 * inputs)  # of two images
    x, g = jnp.ones((8, 4, 4, inputs)), jnp.ones((8, 4, 4, outputs))
    gradient = jax.make_jaxpr(lambda x, g: conv._kernel_gradient(x, g, 1, 1))(x, g)
    (loop,) = (e for e in gradient.eqns if e.primitive.name == "scan")
    assert loop.params["length"] == loops


def test_a_chunk_is_no_smaller_than_the_transformed_kernel(monkeypatch):
    monkeypatch.setattr(winograd, "KERNEL_BYTES", 1)
    x = jnp.ones((64, 4, 4, 256))  # 4 tiles an image: 64 of them have the kernel's bytes
    assert winograd._count(x, 256, 2, 1) == 1
    assert winograd._count(x, 64, 2, 1) == 4
    assert winograd._count(x[..., :64], 256, 2, 1) == 4


def test_chunks_of_images_are_equal_and_no_larger_than_asked(monkeypatch):
    monkeypatch.setattr(winograd, "OUTPUT_BYTES", 300_000)
    x = jax.random.normal(jax.random.key(0), (12, 8, 8, 32))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 32, 32)) / 17
    image = 16 * 16 * 32 * 4  # tiles of 4 × 4 numbers in float32
    (call,) = jax.make_jaxpr(winograd.convolve)(x, kernel).eqns
    (loop,) = (e for e in call.params["jaxpr"].eqns if e.primitive.name == "scan")
    assert loop.params["length"] == 2 and 6 * image <= 300_000 < 12 * image
    np.testing.assert_allclose(
        winograd.convolve(x, kernel), conv.xla(x, kernel), rtol=1e-4, atol=1e-5
    )


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

    ours = parameters(conv.patches)
    assert bool(ours) == (size > 1)  # a kernel of one position is a plain product
    forward = parameters(conv.xla)[0]["dimension_numbers"]
    for params in ours:
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
