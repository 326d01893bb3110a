"""How well what was done to an image can be read off its features before and after."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.measures.regression.factors import RIDGES, Ridge, r2, ridges
from eqssl_jax.objectives.prediction import CYCLES
from eqssl_jax.transforms.base import Params

Rows = Float[Array | np.ndarray, "n h"]

_ROWS = 1024  # rows predicted at a time


class Changes(NamedTuple):
    """Features of n images before and after a change [n, h], and what was done: targets [n, k]."""

    before: Rows
    after: Rows
    targets: Mapping[str, Rows]


def change_r2(train: Changes, validation: Changes, test: Changes) -> dict[str, float]:
    """R² of ridge regression from features before and after a change to the change itself.

    The regression reads [f(x), f(T x), |f(T x) − f(x)|]. f(T x) alone would not do: whether an
    object was turned cannot be told from the turned image when objects come at any angle, so it
    would measure the data, not the encoder. The last third is there because parameters are drawn
    with either sign: a magnitude is an even function of them and f(T x) − f(x), to first order, an
    odd one, of which a linear map makes nothing however well the encoder keeps order. Features are
    taken as they come and standardised; λ is chosen on validation, for each target apart (`ridge`).
    Predictions are cut to the range of the targets in training: a unit that few training images
    excite would otherwise throw single test images far out.
    A magnitude s is each image's share of its own draw, which may be small: R² of s stays below 1.

    Args:
      train, validation, test: of different images; the same targets in each.

    Returns:
      For each target its joint R² (`r2`) on test, and for those of several dimensions
      "<target>_per_dimension" as well. At most 1; 0: no better than the mean.

    Raises:
      ValueError: for targets that differ in name or have no variance in test, and as `ridge`.

    Source: pairs of features as in AugSelf (Lee et al. 2021, arXiv:2111.09613) and SIE (Garrido et
    al. 2023, arXiv:2302.10283); the absolute difference is ours.
    """
    names = list(train.targets)
    if not names or any(list(part.targets) != names for part in (validation, test)):
        given = [list(part.targets) for part in (train, validation, test)]
        raise ValueError(f"Train, validation and test need the same targets, found {given}.")
    widths = [np.asarray(train.targets[name]).shape[1] for name in names]
    x, vx = (_inputs(part.before, part.after) for part in (train, validation))
    y, vy = (
        np.concatenate([np.asarray(part.targets[name]) for name in names], axis=1)
        for part in (train, validation)
    )
    found: dict[str, float] = {}
    for name, fit in zip(names, ridges(x, y, vx, vy, widths, RIDGES), strict=True):
        seen = np.concatenate([np.asarray(part.targets[name]) for part in (train, validation)])
        predicted = np.clip(_predict(fit, test), seen.min(axis=0), seen.max(axis=0))
        found[name] = r2(test.targets[name], predicted)
        if predicted.shape[1] > 1:
            found[f"{name}_per_dimension"] = r2(
                test.targets[name], predicted, average="per_dimension"
            )
    return found


def change_targets(
    params: Params, magnitude: Float[Array | np.ndarray, " n"]
) -> dict[str, Float[np.ndarray, "n k"]]:
    """What was done to n images by one part: its magnitude, and its cyclic leaves as (cos, sin).

    Args:
      params: the applied draws of the part, leaves [n, …].
      magnitude: s of each.

    >>> import numpy as np
    >>> found = change_targets({"hue": np.array([0.0, 0.25])}, np.array([0.5, 1.0]))
    >>> found["magnitude"].tolist(), found["hue"].round(6).tolist()
    ([[0.5], [1.0]], [[1.0, 0.0], [0.0, 1.0]])
    """
    found = {"magnitude": np.asarray(magnitude, np.float64)[:, None]}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = str(getattr(path[-1], "key", "")) if path else ""
        if name in CYCLES and np.ndim(leaf) == 1:
            phase = CYCLES[name] * np.asarray(leaf, np.float64)
            found[name] = np.stack([np.cos(phase), np.sin(phase)], axis=1)
    return found


def _inputs(before: Rows, after: Rows) -> Rows:
    f, g = np.asarray(before), np.asarray(after)
    if f.ndim != 2 or f.shape != g.shape:
        raise ValueError(
            f"Features before and after a change must both be [n, h], found {f.shape} and "
            f"{g.shape}."
        )
    return np.concatenate([f, g, np.abs(g - f)], axis=1)


def _predict(fit: Ridge, test: Changes) -> Float[np.ndarray, "n k"]:
    pieces = [
        _inputs(test.before[start : start + _ROWS], test.after[start : start + _ROWS])
        for start in range(0, len(test.before), _ROWS)
    ]
    return np.concatenate([x @ fit.weight + fit.bias for x in pieces])
