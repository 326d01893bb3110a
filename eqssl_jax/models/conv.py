"""Convolution with PyTorch's padding, computed by XLA or as patches times a matrix."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Convolve = Callable[..., Float[Array, "m h w o"]]


def xla(
    x: Float[Array, "m h w c"], kernel: Float[Array, "k k c o"], *, stride: int = 1
) -> Float[Array, "m h2 w2 o"]:
    """Convolution by `jax.lax`, padded by (k − 1) / 2 on every side.

    XLA's "SAME" pads a strided convolution on one side only, which is another network.
    """
    pad = (kernel.shape[0] - 1) // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def patches(
    x: Float[Array, "m h w c"], kernel: Float[Array, "k k c o"], *, stride: int = 1
) -> Float[Array, "m h2 w2 o"]:
    """The same convolution as one matrix product of k·k shifted copies of x with the kernel."""
    size, _, inputs, outputs = kernel.shape
    pad = (size - 1) // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    shifted = [
        x[:, i : i + height : stride, j : j + width : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(size * size * inputs, outputs)


IMPLEMENTATIONS: dict[str, Convolve] = {"xla": xla, "patches": patches}


def implementation(name: str) -> Convolve:
    """The convolution called `name`: xla, patches, or auto (what is fastest on this backend).

    Raises:
      ValueError: for another name.
    """
    if name == "auto":
        return xla
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
    """

    features: int
    size: int = 3
    stride: int = 1
    dtype: Any = jnp.float32
    convolve: Convolve = xla

    @nn.compact
    def __call__(self, x: Float[Array, "m h w c"]) -> Float[Array, "m h2 w2 o"]:
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
            (self.size, self.size, x.shape[-1], self.features),
            jnp.float32,
        )
        return self.convolve(x.astype(self.dtype), kernel.astype(self.dtype), stride=self.stride)
