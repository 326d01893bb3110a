"""Maps with images as the last axis: the same convolution, normalisation and encoder."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.encoders import conv, images_last, network
from eqssl_jax.encoders.norm import BatchNorm
from eqssl_jax.encoders.small import ConvNet

VIEWS = 2


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def close(a, b, rtol=1e-5):
    """Equal to rounding of what is largest."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=rtol * np.abs(y).max())


def test_images_come_back_in_their_order():
    x = normal(0, 6, 3, 4, 5)  # three images in two views
    there = images_last.enter(x, VIEWS)
    np.testing.assert_array_equal(there[..., 3 + 1], x[1 * VIEWS + 1])  # v·N + n, n·V + v
    np.testing.assert_array_equal(images_last.leave(there, VIEWS), x)
    np.testing.assert_array_equal(images_last.leave(there[0, 0], VIEWS), x[:, 0, 0])


@pytest.mark.parametrize(("size", "stride", "side"), [(3, 2, 8), (3, 2, 7), (3, 1, 5), (1, 2, 6)])
def test_the_convolution_and_its_gradients_are_xlas(size, stride, side):
    x, kernel = normal(0, 4, side, side, 3), normal(1, size, size, 3, 5)

    @jax.jit
    def both(x, kernel):
        there = images_last.enter(x, VIEWS)
        y, back = jax.vjp(lambda x, k: conv.xla(x, k, stride), x, kernel)
        z, back_there = jax.vjp(lambda x, k: images_last.convolve(x, k, stride), there, kernel)
        g = normal(2, *y.shape)
        d_there, d_kernel = back_there(images_last.enter(g, VIEWS))
        back_in_order = (images_last.leave(d, VIEWS) for d in (z, d_there))
        return (*back_in_order, d_kernel), (y, *back(g))

    close(*both(x, kernel))


def test_batch_norm_normalises_each_view_alike():
    x, g = 3 + 2 * normal(0, 6, 4, 4, 3), normal(1, 6, 4, 4, 3)
    variables = {
        "params": {"scale": normal(2, 3), "bias": normal(3, 3)},
        "batch_stats": {"mean": jnp.zeros(3), "var": jnp.ones(3)},
    }

    def apply(variables, x, last):
        module = BatchNorm(last=last)
        return module.apply(variables, x, views=VIEWS, train=True, mutable=["batch_stats"])

    @jax.jit
    def both(variables, x, g):
        y, back, moved = jax.vjp(lambda v, x: apply(v, x, False), variables, x, has_aux=True)
        z, back_there, moved_there = jax.vjp(
            lambda v, x: apply(v, x, True), variables, images_last.enter(x, VIEWS), has_aux=True
        )
        d_variables, d_x = back(g)
        d_there, d_x_there = back_there(images_last.enter(g, VIEWS))
        back_in_order = [images_last.leave(d, VIEWS) for d in (z, d_x_there)]
        return (
            (back_in_order, moved_there, d_there["params"]),
            ([y, d_x], moved, d_variables["params"]),
        )

    close(*both(variables, x, g))


def test_conv_tiny_trains_alike_and_takes_this_layout_for_large_batches_alone(monkeypatch):
    monkeypatch.setattr(images_last, "LEAST_SIDE", 16)
    monkeypatch.setattr(images_last, "LEAST_IMAGES", 8)
    monkeypatch.setattr(jax, "device_count", lambda: 1)  # of one CPU alone
    monkeypatch.setitem(network.NAMES, "conv_tiny", partial(ConvNet, (4, 8)))
    options = {"encoder": "conv_tiny", "projector": ()}
    options |= {"mean": (0.5,) * 3, "std": (0.2,) * 3}
    auto, plain = (network.build(**options, conv=name) for name in ("auto", "patches"))
    variables = plain.init(jax.random.key(0), (16, 16, 3))
    images = jax.random.uniform(jax.random.key(1), (8, 16, 16, 3))
    target = normal(2, 8, 8)

    def step(net):
        def loss(params):
            (features, _), stats = net.apply(
                params, variables["batch_stats"], images, views=VIEWS, train=True
            )
            return jnp.sum(features * target), (features, stats)

        compiled = jax.jit(
            jax.value_and_grad(loss, has_aux=True),
            compiler_options={"xla_backend_optimization_level": "0"},
        )
        return compiled(variables["params"])

    close(step(auto), step(plain))

    def last(net, images, train):
        """Whether the program has maps of this layout."""

        def apply(x):
            return net.apply(variables["params"], variables["batch_stats"], x, train=train)

        height, width, channels = images.shape[1:]
        return f"[{height},{width},{channels},{len(images)}]" in str(jax.make_jaxpr(apply)(images))

    assert last(auto, images, True) and not last(plain, images, True)
    assert not last(auto, images, False) and not last(auto, images[:6], True)
    assert not last(auto, images[:, 4:], True)
    # Sums over positions are float32, so a network that computes in bfloat16 has them in patches.
    assert not last(network.build(**options, compute_dtype="bfloat16"), images, True)
    again = network.build(**options, remat="blocks")
    assert last(again, images, True)
    close(step(again), step(plain))
