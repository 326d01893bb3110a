"""BatchNorm that knows about views: every view of a batch has statistics of its own."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from eqssl_jax.encoders.remat import STATISTICS


class BatchNorm(nn.Module):
    """Normalise each channel over images and positions, separately for each view.

    y = (x − μ_v) / √(σ²_v + ε) · scale + bias

    The batch holds N images in V views with index n·V + v, so that a batch sharded over images
    stays so. μ_v and σ²_v (biased) are taken over the images and positions of view v, and the
    running averages move V times, in view order: r ← momentum · r + (1 − momentum) · s_v, with the
    unbiased variance as PyTorch has it. This is what V forward passes, one a view, would do.
    Statistics are float32 whatever the dtype of x; the result has the dtype of x. On several
    devices the batch is global, hence so are its statistics (SyncBN): where each device computes
    its part (`jax.shard_map`), by one all-reduce forward and one backward. The running averages
    carry no gradient.

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167; constants of torch.nn.BatchNorm2d, whose
    momentum 0.1 is 0.9 here.

    Attributes:
      momentum: what the running averages keep at each update, in [0, 1].
      epsilon: ε, added to the variance.
      affine: whether there are scale and bias; 1 and 0 otherwise.

    Raises:
      ValueError: if the batch is not a multiple of `views`, or, in training, if a channel of one
        view holds a single value (its variance says nothing).
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    affine: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "m *space c"], *, views: int = 1, train: bool
    ) -> Float[Array, "m *space c"]:
        channels = x.shape[-1]
        scale, bias = jnp.ones((channels,)), jnp.zeros((channels,))
        if self.affine:
            scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
            bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        if not train:
            factor = scale * jax.lax.rsqrt(var.value + self.epsilon)
            return _affine(x[:, None], mean.value[None], factor[None], bias[None])[:, 0]
        split, count = _split(x, views)  # [N, V, S, C]
        y, batch_mean, batch_var = normalised(split, scale, bias, mean.value, self.epsilon)
        if not self.is_initializing():
            for v in range(views):
                unbiased = batch_var[v] * (count / (count - 1))
                mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean[v]
                var.value = self.momentum * var.value + (1 - self.momentum) * unbiased
        return y.reshape(x.shape)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalised(
    x: Float[Array, "n v s c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    near: Float[Array, " c"],
    epsilon: float,
) -> tuple[Float[Array, "n v s c"], Float[Array, "v c"], Float[Array, "v c"]]:
    """(x − μ_v) / √(σ²_v + ε) · scale + bias, and the statistics μ_v and σ²_v, without gradient.

    With x̂ the normalised x, g the gradient of the result and means over images and positions,

      ∂x = scale / √(σ²_v + ε) · (g − mean_v(g) − x̂ · mean_v(g x̂)),

    whose two means are also the gradients of bias and scale: one pass over x and g takes both.
    `near` is any point close to the means, see `statistics`. Reverse mode only: no `jax.jvp`.
    """
    return _forward(x, scale, bias, near, epsilon)[0]


def _forward(
    x: Array, scale: Array, bias: Array, near: Array, epsilon: float
) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
    mean, var = (checkpoint_name(part, STATISTICS) for part in statistics(x, near))
    inverse = jax.lax.rsqrt(var + epsilon)
    y = _affine(x, mean, scale[None] * inverse, jnp.broadcast_to(bias[None], mean.shape))
    return (y, mean, var), (x, scale, mean, inverse)


def _backward(
    epsilon: float, saved: tuple[Array, ...], gradients: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array, Array]:
    del epsilon
    x, scale, mean, inverse = saved
    g = gradients[0].astype(jnp.float32)
    wide = x.astype(jnp.float32)
    of_bias = jnp.mean(g, axis=(0, 2))  # [V, C]
    # About μ, not at it: XLA would keep x − μ, or what has two uses, from the forward pass on.
    centre = jax.lax.reduce_precision(mean, exponent_bits=8, mantissa_bits=7)
    product = jnp.mean(g * (wide - centre[None, :, None]), axis=(0, 2))
    of_scale = inverse * (product + (centre - mean) * of_bias)
    count = x.shape[0] * x.shape[2]
    shift, slope = _over_devices(of_bias, of_scale)
    factor = scale[None] * inverse
    slope = factor * inverse * slope
    shift = factor * shift - mean * slope
    d_x = g * factor[None, :, None] - wide * slope[None, :, None] - shift[None, :, None]
    # Of this device alone, if it computes its part: like those of all other parameters.
    d_scale, d_bias = count * jnp.sum(of_scale, axis=0), count * jnp.sum(of_bias, axis=0)
    return d_x.astype(x.dtype), d_scale, d_bias, jnp.zeros_like(scale)


normalised.defvjp(_forward, _backward)


def statistics(
    x: Float[Array, "n v s c"], near: Float[Array, " c"]
) -> tuple[Float[Array, "v c"], Float[Array, "v c"]]:
    """Mean and biased variance of each view and channel, in float32, over all devices.

    Each device takes those of its part in two passes, since E[x²] − E[x]² loses the variance where
    the mean is large. Parts of equal size are merged (Chan, Golub and LeVeque 1979) by one
    all-reduce, with means taken from `near`, the running average: the error of the variance is some
    ε · (mean − near)², ε = 6e-8, on several devices, and not that on a single one.
    """
    x = x.astype(jnp.float32)
    mean = jnp.mean(x, axis=(0, 2))
    var = jnp.mean(jnp.square(x - mean[None, :, None]), axis=(0, 2))
    if not _axes():
        return mean, var
    offset = mean - near[None]
    offset, square = _over_devices(offset, var + jnp.square(offset))
    return near[None] + offset, jnp.maximum(square - jnp.square(offset), 0.0)


def _axes() -> tuple[str, ...]:
    """Axes of the mesh over which each device computes its part by itself (`jax.shard_map`)."""
    return jax.sharding.get_abstract_mesh().manual_axes


def _over_devices(first: Array, second: Array) -> tuple[Array, Array]:
    """The means of two arrays over devices, in one all-reduce; as they are where one sees all."""
    if not _axes():
        return first, second
    both = jax.lax.pmean(jnp.stack([first, second]), _axes())
    return both[0], both[1]


def _split(x: Float[Array, "m *space c"], views: int) -> tuple[Float[Array, "n v s c"], int]:
    """The batch by images and views, and how many values a channel of a view has on all devices."""
    if views < 1 or x.shape[0] % views:
        raise ValueError(
            f"BatchNorm cannot cut a batch of {x.shape[0]} into {views} views: the batch holds "
            f"images × views, image by image."
        )
    split = x.reshape(x.shape[0] // views, views, -1, x.shape[-1])
    devices = jax.lax.axis_size(_axes()) if _axes() else 1
    count = split.shape[0] * split.shape[2] * devices
    if count < 2:
        raise ValueError(
            f"BatchNorm in training needs at least two values per channel and view, found one "
            f"(input {x.shape}, {views} views): use a larger batch."
        )
    return split, count


def _affine(
    x: Float[Array, "n v *s c"],
    mean: Float[Array, "v c"],
    factor: Float[Array, "v c"],
    bias: Float[Array, "v c"],
) -> Float[Array, "n v *s c"]:
    """(x − mean) · factor + bias in float32, back in the dtype of x."""
    shape = (1, factor.shape[0], *[1] * (x.ndim - 3), factor.shape[1])
    mean, factor, bias = (part.reshape(shape) for part in (mean, factor, bias))
    return ((x.astype(jnp.float32) - mean) * factor + bias).astype(x.dtype)
