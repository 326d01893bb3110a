"""How embeddings move while a cloud turns once around an axis: closed curves, and how regular."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from eqssl_jax.data.base import Split
from eqssl_jax.measures.cards import LOWER, Card, Measured, Output, check_finite, over_draws
from eqssl_jax.measures.features import Encode, Layers, extract, subset
from eqssl_jax.measures.rotation.wahba import wahba
from eqssl_jax.measures.subjects import Seen
from eqssl_jax.settings import whole
from eqssl_jax.transforms import rotate_cloud

_STILL = 1e-4  # of unit embeddings: a curve shorter than this is rounding, and has no shape


class Regularity(NamedTuple):
    """How regular one closed curve of S points is; NaN but for `length` where nothing moves.

    Attributes:
      length: of the closed polygon; 2π is a great circle of the unit sphere, 0 an invariant point.
      closure_error: |s_S / s̄ − 1|, s_S the step from the last point back to the first and s̄ the
        mean of the others; 0 if the curve closes as evenly as it runs. (An encoder is a function of
        its input, so after the whole turn it is back exactly; what can break is the last step.)
      step_variation: standard deviation of all S steps over their mean; 0 for even steps.
      rotation_residual: min over R in SO(D) of Σ_k ‖R z_k − z_{k+1}‖² / Σ_k ‖z_{k+1} − z_k‖²,
        k modulo S: 0 if one rotation, the same at every angle, makes the curve; 1 if none is better
        than to stand still; NaN for S ≤ D, too few points to determine R.
    """

    length: float
    closure_error: float
    step_variation: float
    rotation_residual: float


def trajectories(
    encode: Encode | Layers,
    split: Split,
    chosen: Int[np.ndarray, " n"],
    *,
    steps: int = 100,
    batch: int = 256,
) -> Float[np.ndarray, "n 3 s d"]:
    """Unit embeddings of N clouds, each turned by 2πk/S, k = 0 … S − 1, around x, y and z.

    The whole turn is not repeated at the end: it is the start.

    Source: Gupta et al. 2024, arXiv:2306.13924, Figures 3 and 17-20, with S = 100.

    Raises:
      ValueError: for fewer than 3 steps.
    """
    if steps < 3:
        raise ValueError(f"A trajectory needs at least 3 steps, found {steps}.")
    count, turn = len(chosen), rotate_cloud()
    angles = 2 * np.pi * np.arange(steps) / steps
    # Rotation vectors are at most half a turn long: beyond it, the other way round.
    angles = np.where(angles > np.pi, angles - 2 * np.pi, angles)
    vectors = np.eye(3)[:, None] * angles[None, :, None]  # [3, S, 3]
    params = np.broadcast_to(vectors[None], (count, 3, steps, 3)).reshape(-1, 3)
    rows = extract(
        encode,
        split,
        batch=batch,
        indices=np.repeat(chosen, 3 * steps),
        transform=turn,
        params={"rotation": jnp.asarray(params, jnp.float32)},
    )
    z = rows.embeddings.astype(np.float64)
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return z.reshape(count, 3, steps, -1)


def regularity(curve: Float[np.ndarray, "s d"]) -> Regularity:
    """How regular one closed curve is.

    >>> import numpy as np
    >>> t = 2 * np.pi * np.arange(100) / 100
    >>> circle = regularity(np.stack([np.cos(t), np.sin(t)], axis=1))
    >>> bool(max(circle.closure_error, circle.step_variation, circle.rotation_residual) < 1e-9)
    True

    Raises:
      ValueError: for fewer than 3 points, and for values that are not finite.
    """
    z = np.asarray(curve, np.float64)
    if z.ndim != 2 or len(z) < 3:
        raise ValueError(f"A trajectory is [S, D] with at least 3 points, found shape {z.shape}.")
    after = np.roll(z, -1, axis=0)
    check_finite(curve=z)
    step = np.linalg.norm(after - z, axis=1)
    length = float(step.sum())
    if length < _STILL:
        return Regularity(length, np.nan, np.nan, np.nan)
    others = step[:-1].mean()
    closure = abs(step[-1] / others - 1) if others > 0 else np.inf
    determined = z.shape[0] > z.shape[1]
    residual = wahba(z, after).error ** 2 / np.sum(step**2) if determined else np.nan
    return Regularity(length, float(closure), float(step.std() / step.mean()), float(residual))


def planar(curves: Float[np.ndarray, "a s d"]) -> Float[np.ndarray, "a s 2"]:
    """The curves of one cloud on the plane of their largest variance, about their common mean."""
    flat = curves.reshape(-1, curves.shape[-1])
    centred = flat - flat.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    plane = np.zeros((len(flat), 2))
    plane[:, : len(axes)] = centred @ axes.T  # embeddings of one dimension have one axis
    return plane.reshape(*curves.shape[:2], 2)


_KEPT = 4  # clouds whose trajectories are in the JSON


def _measure(seen: Seen) -> Measured:
    """Mean and sd over clouds and axes, those that do not move left out."""
    split, budget = seen.splits[seen.held_out], seen.settings
    curves = trajectories(
        seen.subject.encode,
        split,
        subset(split.size, budget.trajectory_clouds),
        steps=budget.trajectory_steps,
        batch=budget.batch,
    )
    shapes = [regularity(curve) for axes in curves for curve in axes]
    steps, dimension = curves.shape[2:]
    numbers, missing = {}, {}
    for name in Regularity._fields:
        try:
            numbers[f"trajectory_{name}"] = over_draws([getattr(shape, name) for shape in shapes])
        except ValueError:
            few = name == "rotation_residual" and steps <= dimension
            missing[f"trajectory_{name}"] = (
                f"needs more steps than the {dimension} dimensions, found {steps}"
                if few
                else "not defined for embeddings that no rotation moves"
            )
    flat = np.stack([planar(axes) for axes in curves])
    kept = flat[:_KEPT].round(4).tolist()
    return Measured(numbers, missing, details={"trajectories": kept}, arrays={"trajectories": flat})


CARD = Card(
    name="trajectories",
    measure=_measure,
    outputs=(
        # No direction: an invariant encoder has none of it on purpose; 2π is a great circle.
        Output("trajectory_length", "Length of a whole turn", None, ".2f", unit="radians"),
        Output("trajectory_closure_error", "Closure error of a turn", LOWER),
        Output("trajectory_step_variation", "Variation of steps of a turn", LOWER, ".3f",
               headline=True),
        Output("trajectory_rotation_residual", "Turn not one rotation", LOWER, ".3f"),
    ),
    needs=("clouds",),
    settings={
        "trajectory_clouds": whole(32, "that are turned once around each axis", low=1),
        "trajectory_steps": whole(100, "of a turn", low=3, high=100_000),
    },
    quick={"trajectory_clouds": 4},
    rank=20,
    source="Gupta et al. 2024, arXiv:2306.13924",
)  # fmt: skip
