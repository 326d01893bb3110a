"""AugSelf's targets: how the draw of view a differs from that of view b, a minus b.

Each takes the two draws and gives rows [N, k]. The targets of `augself.outputs` are those of views
(1, 2), then those of views (2, 1).
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

STRENGTHS = (0.4, 0.4, 0.4, 0.1)
"""Of brightness, contrast, saturation (1 ± .4) and hue (± .1 turns), as AugSelf jitters."""


def crop(
    crop_a: Float[Array, "n 4"], crop_b: Float[Array, "n 4"], flip_a: Bool[Array, " n"]
) -> Float[Array, "n 4"]:
    """Differences of the crops' centres (y, x) and sizes (height, width), [N, 4].

    In the authors' code both centres are mirrored when view a is flipped, whether or not b is, so
    that only a's flip turns the sign of the second column; (b, a) is then not minus (a, b).

    Args:
      crop_a, crop_b: top, left, height, width in fractions of the image.
      flip_a: whether view a is flipped.

    >>> import jax.numpy as jnp
    >>> left, right = jnp.array([[0.0, 0.0, 1.0, 0.5]]), jnp.array([[0.0, 0.5, 1.0, 0.5]])
    >>> crop(right, left, jnp.array([True])).tolist()
    [[0.0, -0.5, 0.0, 0.0]]
    """
    sizes = crop_a[:, 2:] - crop_b[:, 2:]
    centres = crop_a[:, :2] - crop_b[:, :2] + sizes / 2
    sign = jnp.where(flip_a, -1.0, 1.0)
    return jnp.concatenate([centres[:, :1], centres[:, 1:] * sign[:, None], sizes], axis=1)


def color(
    factors_a: Float[Array, "n 4"],
    factors_b: Float[Array, "n 4"],
    applied_a: Bool[Array, " n"],
    applied_b: Bool[Array, " n"],
    *,
    strengths: tuple[float, float, float, float] = STRENGTHS,
) -> Float[Array, "n 4"]:
    """Differences of the jitters, each parameter scaled to ±.5 and 0 where none was applied.

    Args:
      factors_a, factors_b: ratios of brightness, contrast and saturation, and hue in turns.
      applied_a, applied_b: whether the view was jittered.
      strengths: half the ranges that the parameters are drawn from.
    """
    middle = jnp.array([1.0, 1.0, 1.0, 0.0])[None]
    width = 2 * jnp.array(strengths)[None]

    def scaled(factors: Float[Array, "n 4"], applied: Bool[Array, " n"]) -> Float[Array, "n 4"]:
        return jnp.where(applied[:, None], (factors - middle) / width, 0.0)

    return scaled(factors_a, applied_a) - scaled(factors_b, applied_b)


def flip(flip_a: Bool[Array, " n"], flip_b: Bool[Array, " n"]) -> Float[Array, "n 1"]:
    """1 where both views are flipped or neither is, else 0."""
    return (flip_a == flip_b).astype(jnp.float32)[:, None]


def blur(
    sigma_a: Float[Array, " n"],
    sigma_b: Float[Array, " n"],
    applied_a: Bool[Array, " n"],
    applied_b: Bool[Array, " n"],
) -> Float[Array, "n 1"]:
    """Difference of σ, as drawn and not scaled; a view without blur has σ = 0."""
    return (jnp.where(applied_a, sigma_a, 0.0) - jnp.where(applied_b, sigma_b, 0.0))[:, None]


def rotation(turns_a: Int[Array, " n"], turns_b: Int[Array, " n"]) -> Int[Array, " n"]:
    """Quarter turns of a minus those of b, mod 4."""
    return (turns_a - turns_b) % 4


def solarize(
    threshold_a: Float[Array, " n"],
    threshold_b: Float[Array, " n"],
    applied_a: Bool[Array, " n"],
    applied_b: Bool[Array, " n"],
) -> Float[Array, "n 1"]:
    """Difference of thresholds; a view that is not solarised has 1, the threshold of no change."""
    a, b = jnp.where(applied_a, threshold_a, 1.0), jnp.where(applied_b, threshold_b, 1.0)
    return (a - b)[:, None]
