"""What changes an image's values by a rule on them: Gaussian blur, solarize, normalize."""

from collections.abc import Sequence

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.settings import accept, numbers
from eqssl_jax.transforms import checks
from eqssl_jax.transforms.base import FromUniform, Params, Transform

# Below this σ (pixels) the weight of a neighbour, exp(−1 / 2σ²), is zero in float32.
_SHARP = 0.05
# The least threshold that inverts nothing in [0, 1]: a ladder from it to a drawn threshold starts
# to invert the brightest pixels at once, and then ever darker ones.
_NEVER = np.nextafter(np.float32(1), np.float32(2))
_MEAN = numbers((0.5,), "of each channel", low=-1e6, high=1e6, least=1)
_STD = numbers((0.25,), "of each channel", low=1e-6, high=1e6, least=1)


def gaussian_blur(kernel_size: int = 3, *, sigma: Sequence[float] = (0.1, 2.0)) -> Transform:
    """Convolve with a Gaussian, w_j ∝ exp(−j² / 2σ²) along each axis, reflecting at the border.

    A draw is `sigma` in pixels, uniform in the given range; the identity is 0. Not
    dm_pix.gaussian_blur: it pads with zeros and gives NaN at σ = 0.

    Raises:
      ValueError: for a kernel size that is not odd and positive, a range that is not positive, or
        (when applied) an image no larger than half the kernel.
    """
    radius = accept("The blur's kernel size", kernel_size, checks.KERNEL) // 2
    low, high = accept("The blur's sigma", sigma, checks.SIGMA)

    sample = FromUniform(1, lambda u: {"sigma": low + (high - low) * u[0]})

    def apply(params: Params, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        checks.image("gaussian_blur()", x)
        if min(x.shape[:2]) <= radius:
            raise ValueError(
                f"gaussian_blur({kernel_size}) cannot reflect an image of {x.shape[0]} × "
                f"{x.shape[1]} pixels: use a kernel of at most {2 * min(x.shape[:2]) - 1}."
            )
        sigma = jnp.asarray(params["sigma"])
        offset = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
        bell = jnp.exp(-0.5 * (offset / jnp.maximum(sigma, _SHARP)) ** 2)
        # Said with `where` rather than left to underflow, so that the identity is exact.
        bell = jnp.where((sigma < _SHARP) & (offset != 0), 0.0, bell)
        weights = bell / jnp.sum(bell)
        for axis in (0, 1):
            x = _convolve(x, weights, axis)
        return jnp.minimum(x, 1.0)  # weights that sum to 1 + one rounding error

    return Transform(sample, apply, {"sigma": np.float32(0)})


def solarize(threshold: float | Sequence[float] = 0.5) -> Transform:
    """Invert the values at or above a threshold, x ← 1 − x where x ≥ threshold.

    A draw is `threshold`: the given number, or uniform in the given range. It is always applied;
    use `maybe` for a probability. The identity is the float32 number after 1.

    Raises:
      ValueError: for a threshold outside [0, 1].
    """
    several = isinstance(threshold, Sequence) and not isinstance(threshold, str)
    pair = threshold if several else (threshold, threshold)
    low, high = accept("The threshold, or range of them, of solarize()", pair, checks.THRESHOLDS)

    sample = FromUniform(1, lambda u: {"threshold": low + (high - low) * u[0]})

    def apply(params: Params, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        checks.image("solarize()", x)
        return dm_pix.solarize(x, params["threshold"])

    return Transform(sample, apply, {"threshold": _NEVER})


def normalize(mean: Sequence[float], std: Sequence[float]) -> Transform:
    """Subtract a mean and divide by a standard deviation, channel by channel.

    A draw is always the given `mean` and `std` [C]; the identity is 0 and 1. The recipes leave it
    out, because the network normalises its own input and so cannot miss it in evaluation.

    Raises:
      ValueError: if the two differ in length, or for a deviation that is not positive.
    """
    mean = accept("The mean of normalize()", mean, _MEAN)
    std = accept("The std of normalize()", std, _STD)
    if len(mean) != len(std):
        raise ValueError(
            f"normalize() needs one mean and one std for each channel, found {len(mean)} and "
            f"{len(std)}."
        )
    constant = {"mean": np.asarray(mean, np.float32), "std": np.asarray(std, np.float32)}

    def read(u: Float[Array, "0"]) -> Params:
        del u
        return {name: jnp.asarray(value) for name, value in constant.items()}

    def apply(params: Params, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        if x.ndim != 3 or x.shape[-1] != len(mean):
            raise ValueError(
                f"normalize() with {len(mean)} channels found an image of shape {x.shape}."
            )
        mean_, std_ = jnp.asarray(params["mean"]), jnp.asarray(params["std"])
        return (x - mean_[None, None]) / std_[None, None]

    identity = {"mean": np.zeros(len(mean), np.float32), "std": np.ones(len(std), np.float32)}
    return Transform(FromUniform(0, read), apply, identity)


def _convolve(
    x: Float[Array, "h w c"], weights: Float[Array, " k"], axis: int
) -> Float[Array, "h w c"]:
    """Σ_j weights[j] x shifted by j along `axis`: sums of slices, no convolution and no gather.

    A scan, not a Python loop: XLA would fuse an unrolled sum with what made `x`, and work that out
    again for each of its taps.
    """
    size, taps = x.shape[axis], weights.shape[0]
    widths = [(taps // 2, taps // 2) if a == axis else (0, 0) for a in range(x.ndim)]
    padded = jnp.pad(x, widths, mode="reflect")

    def add(
        total: Float[Array, "h w c"], tap: tuple[Int[Array, ""], Float[Array, ""]]
    ) -> tuple[Float[Array, "h w c"], None]:
        shift, weight = tap
        shifted = jax.lax.dynamic_slice_in_dim(padded, shift, size, axis)
        return total + weight * shifted, None

    return jax.lax.scan(add, jnp.zeros_like(x), (jnp.arange(taps), weights))[0]
