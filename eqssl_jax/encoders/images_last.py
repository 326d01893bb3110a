"""Convolutions of `conv_tiny` on CPU: maps [H, W, C, M], one product for each position."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Measured for `conv_tiny` (docs/cpu_convolutions.md): below, the layout of everything else wins.
LEAST_SIDE, LEAST_IMAGES = 28, 128


def pays(x: Float[Array, "m h w c"]) -> bool:
    """Whether these images are large and many enough for this layout."""
    return min(x.shape[1:3]) >= LEAST_SIDE and x.shape[0] >= LEAST_IMAGES


def enter(x: Float[Array, "m h w c"], views: int) -> Float[Array, "h w c m"]:
    """Images n·V + v of the first axis as v·N + n of the last."""
    split = x.reshape(x.shape[0] // views, views, *x.shape[1:])
    return jnp.transpose(split, (2, 3, 4, 1, 0)).reshape(*x.shape[1:], -1)


def leave(x: Float[Array, "*space m"], views: int) -> Float[Array, "m *space"]:
    """The inverse of `enter`, of maps or features."""
    split = x.reshape(*x.shape[:-1], views, -1)
    return jnp.moveaxis(split, (-1, -2), (0, 1)).reshape(-1, *x.shape[:-1])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(
    x: Float[Array, "h w c m"], kernel: Float[Array, "k k c o"], stride: int = 1
) -> Float[Array, "h2 w2 o m"]:
    """`conv.xla` in this layout, with gradients.

    With p the window [k·k·C, M] of a position and the kernel as K [k·k·C, O], the result there is
    Kᵀ p; with g its gradient [O, M], ∂K is the sum over positions of p gᵀ, and K g is added to ∂x
    in the window. A window is a few contiguous blocks, and what a product reads and writes stays in
    the cache, where XLA makes patches, or a kernel as large as the image. Reverse mode only: no
    `jax.jvp`.
    """
    size = kernel.shape[0]
    padded = _pad(x, size)
    height, width = ((side - size) // stride + 1 for side in padded.shape[:2])
    flat = kernel.reshape(-1, kernel.shape[-1]).T

    def product(position: Array) -> Array:
        return flat @ _window(padded, position // width, position % width, size, stride)

    y = lax.map(product, jnp.arange(height * width))
    return y.reshape(height, width, *y.shape[1:])


def _forward(x: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, kernel, stride), (x, kernel)


def _backward(stride: int, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    # Two loops, of which a first layer, whose images need no gradient, keeps one.
    x, kernel = saved
    size, outputs = kernel.shape[0], kernel.shape[-1]
    padded, flat = _pad(x, size), kernel.reshape(-1, outputs)
    height, width = g.shape[:2]
    g = g.reshape(height * width, outputs, -1)
    positions = jnp.arange(height * width)

    def of_kernel(total: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
        window = _window(padded, at[0] // width, at[0] % width, size, stride)
        return total + lax.dot_general(window, at[1], (((1,), (1,)), ((), ()))), None

    def of_input(total: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
        corner = (at[0] // width * stride, at[0] % width * stride, 0, 0)
        shape = (size, size, *total.shape[2:])
        moved = lax.dynamic_slice(total, corner, shape) + (flat @ at[1]).reshape(shape)
        return lax.dynamic_update_slice(total, moved, corner), None

    d_kernel, _ = lax.scan(of_kernel, jnp.zeros_like(flat), (positions, g))
    d_padded, _ = lax.scan(of_input, jnp.zeros_like(padded), (positions, g))
    pad = (size - 1) // 2
    d_x = d_padded[pad : pad + x.shape[0], pad : pad + x.shape[1]]
    return d_x, d_kernel.reshape(kernel.shape)


convolve.defvjp(_forward, _backward)


def _pad(x: Float[Array, "h w c m"], size: int) -> Float[Array, "h2 w2 c m"]:
    pad = (size - 1) // 2
    return jnp.pad(x, ((pad, pad), (pad, pad), (0, 0), (0, 0)))


def _window(padded: Array, row: Array, column: Array, size: int, stride: int) -> Array:
    """What the result at (row, column) is made of, [k·k·C, M]."""
    corner = (row * stride, column * stride, 0, 0)
    shape = (size, size, *padded.shape[2:])
    return lax.dynamic_slice(padded, corner, shape).reshape(-1, padded.shape[-1])
