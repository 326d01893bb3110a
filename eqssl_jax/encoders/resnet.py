"""Residual networks with torchvision's topology, initialisation and BatchNorm constants."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.encoders import remat

STEMS = ("cifar", "imagenet")


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; the first convolution carries the stride."""

    width: int
    stride: int
    conv: Callable[..., Any]
    norm: Callable[..., Any]
    expansion: int = 1

    @nn.compact
    def __call__(self, x: Array, *, views: int, train: bool) -> Array:
        bn = partial(_norm, self.norm, views=views, train=train)
        y = self.conv(self.width, stride=self.stride, name="conv1")(x)
        y = nn.relu(bn("bn1")(y))
        y = bn("bn2")(self.conv(self.width, name="conv2")(y))
        return nn.relu(y + _shortcut(self, x, self.width, bn))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions and a shortcut; the 3×3 one carries the stride.

    The paper has the stride on the first 1×1; torchvision moved it, and so do we ("v1.5").
    """

    width: int
    stride: int
    conv: Callable[..., Any]
    norm: Callable[..., Any]
    expansion: int = 4

    @nn.compact
    def __call__(self, x: Array, *, views: int, train: bool) -> Array:
        bn = partial(_norm, self.norm, views=views, train=train)
        outputs = self.width * self.expansion
        y = nn.relu(bn("bn1")(self.conv(self.width, size=1, name="conv1")(x)))
        y = self.conv(self.width, stride=self.stride, name="conv2")(y)
        y = nn.relu(bn("bn2")(y))
        y = bn("bn3")(self.conv(outputs, size=1, name="conv3")(y))
        return nn.relu(y + _shortcut(self, x, outputs, bn))


class ResNet(nn.Module):
    """A stem, stages of residual blocks, and the mean over positions: images to features.

    Source: He et al. 2015, arXiv:1512.03385, in torchvision's form. No classifier.

    Attributes:
      block: `BasicBlock` or `Bottleneck`.
      blocks: how many blocks each stage has; every stage but the first halves the resolution.
      widths: channels inside the blocks of each stage.
      stem: "cifar" (3×3, stride 1) or "imagenet" (7×7, stride 2, then a 3×3 max-pool, stride 2).
      conv, norm: constructors of convolution and BatchNorm.
      remat: whether the backward pass computes the inside of blocks again, see `remat`.

    "intermediates/layers" holds, for who asks, the maps after the stem and each stage but the last.
    """

    block: Callable[..., Any]
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    stem: str
    conv: Callable[..., Any]
    norm: Callable[..., Any]
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "m h w c"], *, views: int = 1, train: bool
    ) -> Float[Array, "m f"]:
        if self.stem == "cifar":
            x = self.conv(self.widths[0], name="conv1")(x)
        else:
            x = self.conv(self.widths[0], size=7, stride=2, name="conv1")(x)
        x = nn.relu(self.norm(name="bn1")(x, views=views, train=train))
        if self.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for stage, (count, width) in enumerate(zip(self.blocks, self.widths, strict=True)):
            self.sow("intermediates", "layers", x)
            for i in range(count):
                block = self.block(
                    width,
                    stride=2 if stage and not i else 1,
                    conv=self.conv,
                    norm=self.norm,
                    name=f"layer{stage + 1}_{i}",
                )
                x = remat.call(block, x, remat=self.remat and train, views=views, train=train)
        return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


def _norm(norm: Callable[..., Any], name: str, **call: Any) -> Callable[[Array], Array]:
    return lambda x: norm(name=name)(x, **call)


def _shortcut(block: Any, x: Array, outputs: int, bn: Callable[[str], Any]) -> Array:
    """x itself, or its 1×1 projection where the block changes shape."""
    if block.stride == 1 and x.shape[-1] == outputs:
        return x
    y = block.conv(outputs, size=1, stride=block.stride, name="downsample_conv")(x)
    return bn("downsample_bn")(y)


WIDTHS = (64, 128, 256, 512)
resnet18 = partial(ResNet, BasicBlock, (2, 2, 2, 2), WIDTHS)
resnet34 = partial(ResNet, BasicBlock, (3, 4, 6, 3), WIDTHS)
resnet50 = partial(ResNet, Bottleneck, (3, 4, 6, 3), WIDTHS)
# Ours, for CPU work at 32 px: 0.26 M parameters, 128 features.
resnet_tiny = partial(ResNet, BasicBlock, (1, 1, 1, 1), (16, 32, 48, 128))
