"""Read a transformation's parameters off two views: targets and their error."""

from collections.abc import Mapping
from math import pi
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.rotations import conjugate, quaternion_from_vector, quaternion_product

# Parameters that return to their start, by name: radians in one unit of them.
CYCLES: Mapping[str, float] = {"hue": 2 * pi, "angle": 1.0}
ROTATION = "rotation"  # a rotation vector in radians, [..., 3]


def parameter_differences(params: Mapping[str, Any]) -> Float[Array, "n k"]:
    """How the draws of two views differ, as numbers to regress; [N, K], columns by sorted name.

    A cyclic parameter (`hue`, `angle`) gives (cos Δ, sin Δ) of the difference of phase; a rotation
    vector (`rotation`) the unit quaternion (x, y, z, w) of R₂R₁ᵀ, of the sign with w ≥ 0; a bool
    gives 1 where the views differ and 0 where not; any other number gives its difference; integers
    (the order of a jitter) give nothing.

    Args:
      params: the draw of one transformation, leaves [2, N, ...].

    Raises:
      ValueError: if no leaf gives a target, or the views are not two.

    Source: Lee et al. 2021 (AugSelf), arXiv:2111.09613, who take differences too; the encoding of
    cycles is ours.

    >>> import jax.numpy as jnp
    >>> parameter_differences({"flip": jnp.array([[True, False], [False, False]])}).tolist()
    [[1.0], [0.0]]
    """
    columns = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        leaf = jnp.asarray(leaf)
        if leaf.shape[0] != 2:
            raise ValueError(f"Differences are of two views, found draws of shape {leaf.shape}.")
        first, second = leaf.reshape(2, leaf.shape[1], -1)
        name = str(getattr(path[-1], "key", ""))
        if name == ROTATION:
            columns.append(relative_rotation(first, second))
        elif leaf.dtype == bool:
            columns.append((first != second).astype(jnp.float32))
        elif jnp.issubdtype(leaf.dtype, jnp.floating):
            change = second - first
            phase = CYCLES.get(name, 0.0) * change
            columns += [jnp.cos(phase), jnp.sin(phase)] if name in CYCLES else [change]
    if not columns:
        raise ValueError(
            f"There is nothing to predict in a draw of {list(params) or 'nothing'}: none of its "
            f"parameters is a real number or a bool. Let the recipe draw one, or choose a method "
            f"that needs none."
        )
    return jnp.concatenate(columns, axis=1)


def relative_rotation(
    first: Float[Array, "n 3"], second: Float[Array, "n 3"]
) -> Float[Array, "n 4"]:
    """R₂R₁ᵀ of rotation vectors as a unit quaternion (x, y, z, w) with w ≥ 0.

    Of draws that turn from the left, x ↦ exp(r) x, it is what brings the first view to the second,
    whatever pose they started from.
    """
    q1, q2 = quaternion_from_vector(first), quaternion_from_vector(second)
    return _positive(quaternion_product(q2, conjugate(q1)))


def _positive(q: Float[Array, "*n 4"]) -> Float[Array, "*n 4"]:
    """Of q and −q, which are one rotation, that with w ≥ 0."""
    return jnp.where(q[..., 3:] < 0, -q, q)


def parameter_vector(params: Mapping[str, Any]) -> Float[Array, "v n k"]:
    """All numbers of each draw as one vector, columns by sorted name.

    A cyclic parameter (`hue`, `angle`) gives (cos, sin) of its phase, a rotation vector
    (`rotation`) its unit quaternion with w ≥ 0, any other its value; bools are 0 or 1.

    Args:
      params: draws of one or more transformations, leaves [V, N, ...].

    Source: Devillers and Lefort 2023 (EquiMod), arXiv:2211.01244, who condition on such a vector;
    the encoding of cycles is ours.

    >>> import jax.numpy as jnp
    >>> draw = {"flip": jnp.array([[True, False]]), "hue": jnp.array([[0.0, 0.5]])}
    >>> parameter_vector(draw).round(3).tolist()
    [[[1.0, 1.0, 0.0], [0.0, -1.0, -0.0]]]
    """
    columns = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        numbers = jnp.asarray(leaf).astype(jnp.float32)
        numbers = numbers.reshape(*numbers.shape[:2], -1)
        name = str(getattr(path[-1], "key", ""))
        if name in CYCLES:
            phase = CYCLES[name] * numbers
            columns += [jnp.cos(phase), jnp.sin(phase)]
        elif name == ROTATION:
            columns.append(_positive(quaternion_from_vector(numbers)))
        else:
            columns.append(numbers)
    return jnp.concatenate(columns, axis=-1)


def unexplained_variance(
    predicted: Float[Array, "*v n k"],
    target: Float[Array, "*v n k"],
    variance: Float[Array, " k"],
) -> Float[Array, ""]:
    """Mean of (predicted − target)² / variance: 1 for always predicting the mean, 0 at best.

    Raises:
      ValueError: if predictions and targets differ in shape.
    """
    if predicted.shape != target.shape:
        raise ValueError(
            f"Predictions and targets must have one shape, found {predicted.shape} and "
            f"{target.shape}."
        )
    scale = jnp.expand_dims(variance, range(target.ndim - 1))
    return jnp.mean((predicted.astype(jnp.float32) - target) ** 2 / scale)
