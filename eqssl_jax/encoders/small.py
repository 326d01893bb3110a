"""Small encoders: a convolutional network for images, a set network for point clouds."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.encoders import images_last, remat
from eqssl_jax.encoders.heads import Dense


class ConvNet(nn.Module):
    """3×3 convolutions of stride 2, each with BatchNorm and ReLU, and the mean over positions.

    Ours: at 32 px a fifth of the compute of `resnet_tiny` with the CIFAR stem, and quick to
    compile, so that dozens of candidates can be trained on a CPU.

    Attributes:
      widths: channels of each convolution; the last is the width of the features.
      conv, norm: constructors of convolution and BatchNorm.
      stem: taken for the sake of one signature; there is no choice of stem here.
      remat: whether the backward pass computes layers again, see `remat`.
      images_last: whether training on large batches keeps images as the last axis (`images_last`):
        the same numbers to rounding, and on CPU faster.

    "intermediates/layers" holds, for who asks, the maps after each convolution but the last.
    """

    widths: tuple[int, ...]
    conv: Callable[..., Any]
    norm: Callable[..., Any]
    stem: str = ""
    remat: bool = False
    images_last: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "m h w c"], *, views: int = 1, train: bool
    ) -> Float[Array, "m f"]:
        # A forward pass alone is as fast in the usual layout.
        last = self.images_last and train and images_last.pays(x)
        conv, norm = partial(self.conv, last=last), partial(self.norm, last=last)
        x = images_last.enter(x, views) if last else x
        for i, width in enumerate(self.widths, 1):

            def layer(self: "ConvNet", x: Array, i: int = i, width: int = width) -> Array:
                x = conv(width, stride=2, name=f"conv{i}")(x)
                return nn.relu(norm(name=f"bn{i}")(x, views=views, train=train))

            x = remat.again(layer)(self, x) if self.remat and train else layer(self, x)
            if i < len(self.widths):
                self.sow("intermediates", "layers", images_last.leave(x, views) if last else x)
        mean = jnp.mean(x.astype(jnp.float32), axis=(0, 1) if last else (1, 2))
        return images_last.leave(mean, views) if last else mean


class DeepSet(nn.Module):
    """ρ( [ mean_i φ(x_i), max_i φ(x_i) ] ) over the points i that are there.

    φ and ρ are dense layers, each followed by ReLU; φ is the same for all points. Both pools are
    symmetric, so the features do not depend on the order of the points, and rows of padding enter
    neither. The mean holds moments of the cloud and does not grow with the number of points, as a
    sum would; the maximum of ReLU(w·x + b) says how far the cloud reaches in the direction w. There
    is no normalisation: BatchNorm would take each channel's mean away view by view, which no
    rotation of the embedding undoes.

    Input is [M, P, 4], each row x, y, z and a mask (1 a point, 0 padding); at least one point each.

    Attributes:
      point_widths: of φ's layers.
      set_widths: of ρ's layers; the last is the width of the features.
      conv, norm, stem: taken for the sake of one signature, and not used. All is computed in
        float32: eight bits of a coordinate are a rotation by a quarter of a degree.

    "intermediates/layers" holds, for who asks, the pooled [M, 1, 1, 2·point_widths[-1]].

    Raises:
      ValueError: for inputs that are no clouds.

    Source: Zaheer et al. 2017, arXiv:1703.06114; the encoder of Gupta et al. 2024,
    arXiv:2306.13924, on proteins (the widths are ours).
    """

    point_widths: tuple[int, ...]
    set_widths: tuple[int, ...]
    conv: Callable[..., Any] | None = None
    norm: Callable[..., Any] | None = None
    stem: str = ""

    @nn.compact
    def __call__(
        self, x: Float[Array, "m p 4"], *, views: int = 1, train: bool
    ) -> Float[Array, "m f"]:
        del views, train  # no statistics, no dropout
        if x.ndim != 3 or x.shape[-1] != 4:
            raise ValueError(
                f"The encoder deepset takes point clouds [M, P, 4] (x, y, z, mask), found shape "
                f"{x.shape}: choose another config.model.encoder for images."
            )
        mask = x[..., 3:] > 0.5  # [M, P, 1]
        y = x[..., :3]
        for i, width in enumerate(self.point_widths, 1):
            y = nn.relu(Dense(width, name=f"point{i}")(y))
        kept = jnp.where(mask, y, 0)
        count = jnp.maximum(jnp.sum(mask, axis=1), 1).astype(jnp.float32)  # [M, 1]
        # After ReLU nothing is below 0, so padding as 0 never wins.
        pooled = jnp.concatenate([jnp.sum(kept, axis=1) / count, jnp.max(kept, axis=1)], axis=-1)
        self.sow("intermediates", "layers", pooled[:, None, None])
        for i, width in enumerate(self.set_widths, 1):
            pooled = nn.relu(Dense(width, name=f"set{i}")(pooled))
        return pooled
