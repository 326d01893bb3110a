"""One encoder's measurements on point clouds under their public names, and what figures need."""

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures.budget import Settings
from eqssl_jax.measures.clouds import axis, trajectories
from eqssl_jax.measures.features import Encode, Layers, subset
from eqssl_jax.measures.values import Found, merge, number

_CURVES = ("trajectory_closure_error", "trajectory_step_variation", "trajectory_rotation_residual")


def chance(found: Mapping[str, Found]) -> dict[str, float]:
    """What the axis metrics are without knowing the cloud; only of those that were measured.

    Any fixed guess, such as the mean prediction, has this error: rotations make the true axis
    uniform.
    """
    names = dict.fromkeys(name for part in found.values() for name in part.values)
    starts = {"principal_axis_error": axis.CHANCE, "principal_axis_degrees": axis.CHANCE_DEGREES}
    return {
        name: value for name in names for start, value in starts.items() if name.startswith(start)
    }


def measured(
    encode: Encode | Layers, dataset: Dataset, split: str, key: Key[Array, ""], settings: Settings
) -> tuple[Found, Float[np.ndarray, "n 3 s 2"]]:
    """All numbers of one encoder, and its trajectories on a plane for figures.

    Equal keys mean equal rotations, so that encoders are compared on the same clouds.
    """
    curves = trajectories.trajectories(
        encode,
        dataset.splits[split],
        subset(dataset.splits[split].size, max(settings.trajectory_clouds, 1)),
        steps=settings.trajectory_steps,
        batch=settings.batch,
    )
    found = merge([_axis(encode, dataset.splits, key, settings), _regular(curves)])
    return found, np.stack([trajectories.planar(of) for of in curves])


def _axis(
    encode: Encode | Layers, splits: Mapping[str, Split], key: Key[Array, ""], settings: Settings
) -> Found:
    """ "principal_axis_error" and "principal_axis_degrees" of features; of embeddings with
    "_embedding" behind, of embeddings and their products with "_embedding_products": means over
    all test clouds and turns, sd over turns.
    """
    limits = {
        "train": settings.train_images,
        "validation": settings.validation_images,
        "test": settings.test_images,
    }
    if not set(limits) <= set(splits):
        why = "it is fitted on train, chosen on validation and tested on test clouds"
        return Found(skipped={"principal_axis_error": why, "principal_axis_degrees": why})
    seen = {
        name: axis.turned(
            encode,
            splits[name],
            jax.random.fold_in(key, i),
            turns=settings.axis_turns,
            images=limit,
            batch=settings.batch,
        )
        for i, (name, limit) in enumerate(limits.items())
    }
    values = {}
    for reading, errors in axis.principal_axis_errors(seen).items():
        behind = f"_{reading}" if reading else ""
        for name, rows in (("error", errors.error), ("degrees", errors.degrees)):
            by_turn = rows.reshape(settings.axis_turns, -1).mean(axis=1)
            sd = float(by_turn.std(ddof=1)) if len(by_turn) > 1 else None
            values[f"principal_axis_{name}{behind}"] = number(rows.mean(), sd, len(by_turn))
    return Found(values)


def _regular(curves: Float[np.ndarray, "n 3 s d"]) -> Found:
    """ "trajectory_length" and the measures of `trajectories.Regularity`: mean and sd over clouds
    and axes, those that do not move left out.
    """
    found = [trajectories.regularity(curve) for of in curves for curve in of]
    values, skipped = {}, {}
    for name in ("trajectory_length", *_CURVES):
        rows = np.array([getattr(one, name.removeprefix("trajectory_")) for one in found])
        rows = rows[np.isfinite(rows)]
        if len(rows):
            sd = float(rows.std(ddof=1)) if len(rows) > 1 else None
            values[name] = number(rows.mean(), sd, len(rows))
        else:
            still = "not defined for embeddings that no rotation moves"
            steps, dimension = curves.shape[2:]
            few = f"needs more steps than the {dimension} dimensions, found {steps}"
            residual = name == "trajectory_rotation_residual"
            skipped[name] = few if residual and steps <= dimension else still
    return Found(values, skipped)
