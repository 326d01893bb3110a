"""Convolution with PyTorch's padding, computed by XLA or, on CPU, with faster gradients."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from eqssl_jax.encoders import chunks, images_last, winograd

Convolve = Callable[..., Float[Array, "m h w o"]]

# Patches of this many bytes are made at a time: they stay in a CPU's cache and cost no memory.
CHUNK_BYTES = 5_000_000


def xla(
    x: Float[Array, "m h w c"], kernel: Float[Array, "k k c o"], stride: int = 1
) -> Float[Array, "m h2 w2 o"]:
    """Convolution by `jax.lax`, padded by (k − 1) / 2 on every side.

    XLA's "SAME" pads a strided convolution on one side only, which is another network.
    """
    pad = (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def patches(
    x: Float[Array, "m h w c"], kernel: Float[Array, "k k c o"], stride: int = 1
) -> Float[Array, "m h2 w2 o"]:
    """The same function, with gradients as matrix products of patches, for CPU.

    With P the patches of x, [M·H·W, k·k·C], and G the gradient of the result, [M·H·W, O],

      ∂kernel = Pᵀ G,   and for a strided kernel   ∂x = Σ over patches of G kernelᵀ.

    XLA for CPU computes ∂kernel as a convolution whose kernel is as large as the image, at a
    fraction of the speed of its matrix products, and in the body of a loop fifty times slower; its
    forward convolutions are as fast as its products. Wide 3 × 3 layers go by `winograd`, where inf
    becomes NaN, and 1 × 1 are products (see docs/cpu_convolutions.md). Patches are made
    a few images at a time and never stored. Reverse mode only: no `jax.jvp`.
    """
    return _convolve(x, kernel, stride)


def _convolve(x: Array, kernel: Array, stride: int) -> Array:
    if kernel.shape[0] == 1:  # a product as it is, up to three times faster than as a convolution
        return x[:, ::stride, ::stride] @ kernel[0, 0]
    if winograd.pays(x, kernel, stride):
        return winograd.convolve(x, kernel)
    return xla(x, kernel, stride)


def _forward(x: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(x, kernel, stride), (x, kernel)


def _backward(stride: int, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    if stride == 1:
        # Written as a forward convolution: in the body of a loop (a scan over steps) XLA for CPU
        # knows no other fast one.
        d_x = _convolve(g, jnp.swapaxes(jnp.flip(kernel, (0, 1)), 2, 3), 1)
    else:
        d_x = _input_gradient(x, kernel, g, stride)
    if winograd.pays(x, kernel, stride):
        return d_x, winograd.kernel_gradient(x, g)
    return d_x, _kernel_gradient(x, g, kernel.shape[0], stride).astype(kernel.dtype)


patches.defvjp(_forward, _backward)


def _kernel_gradient(
    x: Float[Array, "m h w c"], g: Float[Array, "m h2 w2 o"], size: int, stride: int
) -> Float[Array, "k k c o"]:
    """Pᵀ G summed over chunks, in float32."""
    inputs, outputs = x.shape[-1], g.shape[-1]
    width = size * size * inputs
    flip = width > outputs  # XLA's product is faster with the wider operand on the right
    # A kernel of one position has no patches to keep in the cache; flipped, chunks still win.
    count = 1 if size == 1 and not flip else _count(x, g, size)

    def add(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
        some, g = (part.astype(jnp.float32) for part in chunk)
        p = _extract(some, size, stride)
        left, right = (g, p) if flip else (p, g)
        positions = ((0, 1, 2), (0, 1, 2))
        return total + lax.dot_general(left, right, (positions, ((), ()))), None

    start = jnp.zeros((outputs, width) if flip else (width, outputs), jnp.float32)
    total, _ = lax.scan(add, start, (chunks.cut(x, count), chunks.cut(g, count)))
    return (total.T if flip else total).reshape(size, size, inputs, outputs)


def _input_gradient(
    x: Float[Array, "m h w c"],
    kernel: Float[Array, "k k c o"],
    g: Float[Array, "m h2 w2 o"],
    stride: int,
) -> Float[Array, "m h w c"]:
    """The patches of G kernelᵀ put back where they came from; sums in float32."""
    flat = kernel.astype(jnp.float32).reshape(-1, kernel.shape[-1]).T  # [O, k·k·C]
    count = _count(x, g, kernel.shape[0])
    shape = jax.ShapeDtypeStruct((x.shape[0] // count, *x.shape[1:]), jnp.float32)
    put_back = jax.linear_transpose(partial(_extract, size=kernel.shape[0], stride=stride), shape)

    def chunk(g: Array) -> Array:
        return put_back(g.astype(jnp.float32) @ flat)[0].astype(x.dtype)

    return lax.map(chunk, chunks.cut(g, count)).reshape(x.shape)


def _extract(x: Float[Array, "m h w c"], size: int, stride: int) -> Float[Array, "m h2 w2 p"]:
    """Patches of x, k·k·C numbers around each output position."""
    pad = (size - 1) // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    shifted = [
        x[:, i : i + height : stride, j : j + width : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(shifted, axis=-1)


def _count(x: Array, g: Array, size: int) -> int:
    """How many chunks of images have float32 patches of at most CHUNK_BYTES."""
    image = g.shape[1] * g.shape[2] * size * size * x.shape[-1] * 4
    return chunks.count(x.shape[0], CHUNK_BYTES // image)


IMPLEMENTATIONS: dict[str, Convolve] = {"xla": xla, "patches": patches}


def implementation(name: str) -> Convolve:
    """The convolution called `name`: xla, patches, or auto (what is fastest on this backend).

    Under auto, `conv_tiny` in float32 on CPU also keeps images last where that is faster.

    Raises:
      ValueError: for another name.
    """
    if name == "auto":
        # Loops over chunks of images would break a batch sharded over several devices.
        return patches if jax.default_backend() == "cpu" and jax.device_count() == 1 else xla
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"conv is {name!r}; choose from {['auto', *IMPLEMENTATIONS]}.")
    return IMPLEMENTATIONS[name]


class Conv(nn.Module):
    """A square convolution without bias; its kernel is float32, its product in `dtype`.

    The kernel starts as N(0, 2 / (k² · features)): Kaiming's rule on the outputs, as torchvision's
    ResNets (He et al. 2015, arXiv:1502.01852).

    Attributes:
      features: output channels.
      size: k, the kernel's side, odd.
      stride: step between outputs.
      dtype: what inputs and kernel are cast to.
      convolve: one of `IMPLEMENTATIONS`.
      last: whether input and output are [H, W, C, M], see `images_last`.
    """

    features: int
    size: int = 3
    stride: int = 1
    dtype: Any = jnp.float32
    convolve: Convolve = xla
    last: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "m h w c"]) -> Float[Array, "m h2 w2 o"]:
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
            (self.size, self.size, x.shape[2 if self.last else -1], self.features),
            jnp.float32,
        )
        convolve = images_last.convolve if self.last else self.convolve
        return convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)
