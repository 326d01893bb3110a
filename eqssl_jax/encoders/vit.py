"""Vision transformers with timm's topology, initialisation and names of layers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from eqssl_jax.encoders import positions, remat

POOLS = ("cls", "mean")
EPSILON = 1e-6  # of every LayerNorm, as in timm, DINOv2 and MAE
# The name of the key that `apply` takes for stochastic depth; without it nothing is dropped.
DROP_PATH = "drop_path"


class Size(NamedTuple):
    """Width of the tokens, number of blocks and number of heads."""

    width: int
    depth: int
    heads: int


SIZES = {
    "vit_tiny": Size(192, 12, 3),
    "vit_small": Size(384, 12, 6),
    "vit_base": Size(768, 12, 12),
}


class ViTSettings(NamedTuple):
    """What a vision transformer is besides its size; `config.model.vit`.

    Attributes:
      patch: side of a patch, in pixels; it must divide both sides of the image.
      pool: the features are the class token ("cls") or the mean of the patches ("mean"), each
        after the final normalisation.
      registers: tokens without an image patch, besides the class token (arXiv:2309.16588).
      layer_scale: start of a learned factor on the output of every residual branch
        (arXiv:2103.17239); 0: no such factor.
      drop_path: the rate of stochastic depth in the last block; it grows linearly from 0 in the
        first (arXiv:1603.09382).
      heads: of attention; 0: as many as the name of the encoder says.
    """

    patch: int = 4
    pool: str = "cls"
    registers: int = 0
    layer_scale: float = 0.0
    drop_path: float = 0.0
    heads: int = 0


DEFAULT = ViTSettings()


class Attention(nn.Module):
    """Softmax attention of all tokens to all, softmax in float32."""

    heads: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "m t d"]) -> Float[Array, "m t d"]:
        images, tokens, width = x.shape
        qkv = _dense(3 * width, self.dtype, "qkv")(x)
        q, k, v = jnp.moveaxis(qkv.reshape(images, tokens, 3, self.heads, -1), 2, 0)
        scores = jnp.einsum("mqhd,mkhd->mhqk", q, k, preferred_element_type=jnp.float32)
        weights = nn.softmax(scores / jnp.sqrt(jnp.float32(width // self.heads))).astype(self.dtype)
        y = jnp.einsum("mhqk,mkhd->mqhd", weights, v).reshape(x.shape)
        return _dense(width, self.dtype, "proj")(y)


class Mlp(nn.Module):
    """fc2(gelu(fc1 x)) with the exact GELU; gated: fc2(silu(a) · b), (a, b) = fc1 x (SwiGLU)."""

    hidden: int
    gated: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "m t d"]) -> Float[Array, "m t d"]:
        y = _dense(self.hidden * (2 if self.gated else 1), self.dtype, "fc1")(x)
        if self.gated:
            a, b = jnp.split(y, 2, axis=-1)
            y = nn.silu(a) * b
        else:
            y = nn.gelu(y, approximate=False)
        return _dense(x.shape[-1], self.dtype, "fc2")(y)


class LayerScale(nn.Module):
    """A learned factor for every channel."""

    start: float

    @nn.compact
    def __call__(self, x: Float[Array, "m t d"]) -> Float[Array, "m t d"]:
        gamma = self.param("gamma", nn.initializers.constant(self.start), x.shape[-1:], jnp.float32)
        return x * gamma.astype(x.dtype)[None, None]


class Block(nn.Module):
    """x + f(norm x) for attention, then for the MLP; f may be scaled, and dropped in training."""

    heads: int
    hidden: int
    gated: bool
    layer_scale: float
    drop: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "m t d"], *, train: bool) -> Float[Array, "m t d"]:
        attention = Attention(self.heads, self.dtype, name="attn")
        mlp = Mlp(self.hidden, self.gated, self.dtype, name="mlp")
        for i, branch in enumerate((attention, mlp), 1):
            y = branch(_norm(self.dtype, f"norm{i}")(x))
            if self.layer_scale:
                y = LayerScale(self.layer_scale, name=f"ls{i}")(y)
            if train and self.drop and self.has_rng(DROP_PATH):
                y = _drop(self.make_rng(DROP_PATH), y, self.drop)
            x = x + y
        return x


class ViT(nn.Module):
    """Patches, a class token and registers through blocks of attention: images to features.

    Kernels start as N(0, 0.02²), those of the patches as LeCun's, biases at 0.

    Position embeddings are added to the patches alone (that of the class token is part of the
    token). They have the grid of the images that parameters were made for, and are resized to that
    of the images at hand. `views` makes no difference: no statistics are shared between images.

    Source: Dosovitskiy et al. 2020, arXiv:2010.11929, in timm's form.

    Attributes:
      width, depth, heads: of `Size`.
      settings: patch, pool, registers, layer scale, stochastic depth.
      hidden: of the MLPs; 0: four times the width.
      gated: SwiGLU in place of GELU.
      norm_last: with `pool` "mean", normalise the mean of the patches rather than the patches, as
        MAE does when it is fine-tuned.
      position: the rule by which position embeddings are resized, see `positions.resize`.
      dtype: what products are computed in; parameters and features are float32.
      remat: whether the backward pass computes the inside of blocks again, see `remat`.

    "intermediates/layers" holds, for who asks, the patches [M, T, D] before the first block and
    after every block: their mean is not normalised yet.

    Raises:
      ValueError: for images whose sides are no multiples of the patch.
    """

    width: int
    depth: int
    heads: int
    settings: ViTSettings = DEFAULT
    hidden: int = 0
    gated: bool = False
    norm_last: bool = False
    position: str = "timm"
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "m h w c"], *, views: int = 1, train: bool
    ) -> Float[Array, "m f"]:
        del views
        x, extra = self._tokens(x)
        self.sow("intermediates", "layers", x[:, extra:])
        for i in range(self.depth):
            block = Block(
                self.heads,
                self.hidden or 4 * self.width,
                self.gated,
                self.settings.layer_scale,
                # In equal steps from the first block, which drops nothing.
                self.settings.drop_path * i / max(self.depth - 1, 1),
                self.dtype,
                name=f"blocks_{i}",
            )
            x = remat.call(block, x, remat=self.remat and train, train=train)
            self.sow("intermediates", "layers", x[:, extra:])
        x = x.astype(jnp.float32)
        if self.settings.pool == "cls":
            return _norm(jnp.float32, "norm")(x[:, 0])
        if self.norm_last:
            return _norm(jnp.float32, "fc_norm")(jnp.mean(x[:, extra:], axis=1))
        return jnp.mean(_norm(jnp.float32, "norm")(x[:, extra:]), axis=1)

    def _tokens(self, x: Float[Array, "m h w c"]) -> tuple[Float[Array, "m t d"], int]:
        """Class token, registers and patches; and how many come before the patches."""
        start, registers = nn.initializers.normal(0.02), self.settings.registers
        x = Patches(self.width, self.settings.patch, self.dtype, name="patch_embed")(x)
        grid = (x.shape[1], x.shape[2])
        embedding: Array
        if self.has_variable("params", "positions"):  # of the grid they were made for
            embedding = self.get_variable("params", "positions")
        else:
            embedding = self.param("positions", start, (*grid, self.width), jnp.float32)
        x = x + positions.resize(embedding, grid, self.position).astype(self.dtype)[None]
        x = x.reshape(x.shape[0], -1, self.width)
        tokens = self.param("cls", start, (1, self.width), jnp.float32)
        if registers:
            more = self.param("registers", start, (registers, self.width), jnp.float32)
            tokens = jnp.concatenate([tokens, more])
        tokens = jnp.broadcast_to(tokens.astype(self.dtype)[None], (x.shape[0], *tokens.shape))
        return jnp.concatenate([tokens, x], axis=1), 1 + registers


class Patches(nn.Module):
    """Non-overlapping patches, each through one dense layer; the kernel is [p, p, C, D]."""

    width: int
    patch: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "m h w c"]) -> Float[Array, "m h2 w2 d"]:
        images, height, width, channels = x.shape
        p = self.patch
        if height % p or width % p or not height or not width:
            raise ValueError(
                f"A vision transformer with patches of {p} px cannot cut images of {height} × "
                f"{width}: make both sides multiples of {p} (config.data.size, or the size of the "
                f"recipe), or change config.model.vit.patch."
            )
        shape, start = (p, p, channels, self.width), nn.initializers.lecun_normal()
        kernel = self.param("kernel", start, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        x = x.astype(self.dtype).reshape(images, height // p, p, width // p, p, channels)
        x = jnp.swapaxes(x, 2, 3).reshape(images, height // p, width // p, p * p * channels)
        y = x @ kernel.astype(self.dtype).reshape(-1, self.width)
        return y + bias.astype(self.dtype)[None, None, None]


def build(name: str, settings: ViTSettings, dtype: Any) -> ViT:
    """The vision transformer of this name in `SIZES`.

    Raises:
      ValueError: for a setting out of its range.
    """
    width, depth, heads = SIZES[name]
    heads = settings.heads or heads
    check(settings, width, heads)
    return ViT(width, depth, heads, settings, dtype=dtype)


def check(settings: ViTSettings, width: int, heads: int) -> None:
    """Refuse what the ranges of config.model.vit let through, or no config has checked.

    Raises:
      ValueError: naming the setting, what was found and the range.
    """
    group = "config.model.vit"
    if settings.pool not in POOLS:
        raise ValueError(f"{group}.pool is {settings.pool!r}; choose from {POOLS}.")
    if heads < 1 or width % heads:
        raise ValueError(
            f"{group}.heads is {heads}, which does not divide the width {width} of the tokens: "
            f"use a divisor, as {max(width // 64, 1)} (64 channels a head)."
        )


def _dense(features: int, dtype: Any, name: str) -> nn.Dense:
    return nn.Dense(features, dtype=dtype, kernel_init=nn.initializers.normal(0.02), name=name)


def _norm(dtype: Any, name: str) -> Callable[[Float[Array, "*n d"]], Float[Array, "*n d"]]:
    """LayerNorm computed in float32, its result in `dtype`."""
    # Two passes: E[x²] − E[x]² loses the variance where the mean is large.
    layer = nn.LayerNorm(epsilon=EPSILON, dtype=jnp.float32, use_fast_variance=False, name=name)
    return lambda x: layer(x.astype(jnp.float32)).astype(dtype)


def _drop(key: Key[Array, ""], y: Float[Array, "m t d"], rate: float) -> Float[Array, "m t d"]:
    """y · keep / (1 − rate), one draw an image: the mean over draws is y."""
    keep = jax.random.bernoulli(key, 1 - rate, (y.shape[0], 1, 1))
    return jnp.where(keep, y / jnp.asarray(1 - rate, y.dtype), jnp.zeros((), y.dtype))
