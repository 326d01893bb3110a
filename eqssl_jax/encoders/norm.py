"""BatchNorm that knows about views: every view of a batch has statistics of its own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class BatchNorm(nn.Module):
    """Normalise each channel over images and positions, separately for each view.

    y = (x − μ_v) / √(σ²_v + ε) · scale + bias

    The batch holds N images in V views with index n·V + v, so that a batch sharded over images
    stays so. μ_v and σ²_v (biased) are taken over the images and positions of view v, and the
    running averages move V times, in view order: r ← momentum · r + (1 − momentum) · s_v, with the
    unbiased variance as PyTorch has it. This is what V forward passes, one a view, would do.
    Statistics are float32 whatever the dtype of x; the result has the dtype of x. On several
    devices the batch is global, hence so are its statistics (SyncBN).

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
            return _affine(x[:, None], factor[None], (bias - mean.value * factor)[None])[:, 0]
        split = _split(x, views)  # [N, V, S, C]
        batch_mean, batch_var = statistics(split)  # [V, C]
        if not self.is_initializing():
            count = split.shape[0] * split.shape[2]
            for v in range(views):
                unbiased = batch_var[v] * (count / (count - 1))
                mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean[v]
                var.value = self.momentum * var.value + (1 - self.momentum) * unbiased
        factor = scale[None] * jax.lax.rsqrt(batch_var + self.epsilon)
        return _affine(split, factor, bias[None] - batch_mean * factor).reshape(x.shape)


def statistics(
    x: Float[Array, "n v s c"],
) -> tuple[Float[Array, "v c"], Float[Array, "v c"]]:
    """Mean and biased variance of each view and channel, in float32."""
    x = x.astype(jnp.float32)
    mean = jnp.mean(x, axis=(0, 2))
    # Two passes: E[x²] − E[x]² loses the variance where the mean is large.
    return mean, jnp.mean(jnp.square(x - mean[None, :, None]), axis=(0, 2))


def _split(x: Float[Array, "m *space c"], views: int) -> Float[Array, "n v s c"]:
    if views < 1 or x.shape[0] % views:
        raise ValueError(
            f"BatchNorm cannot cut a batch of {x.shape[0]} into {views} views: the batch holds "
            f"images × views, image by image."
        )
    split = x.reshape(x.shape[0] // views, views, -1, x.shape[-1])
    if split.shape[0] * split.shape[2] < 2:
        raise ValueError(
            f"BatchNorm in training needs at least two values per channel and view, found one "
            f"(input {x.shape}, {views} views): use a larger batch."
        )
    return split


def _affine(
    x: Float[Array, "n v *s c"], factor: Float[Array, "v c"], shift: Float[Array, "v c"]
) -> Float[Array, "n v *s c"]:
    """x · factor + shift in float32, back in the dtype of x."""
    shape = (1, factor.shape[0], *[1] * (x.ndim - 3), factor.shape[1])
    y = x.astype(jnp.float32) * factor.reshape(shape) + shift.reshape(shape)
    return y.astype(x.dtype)
