"""What was done to an image: read off its features before and after, and predicted by a head."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.measures.cards import HIGHER, Card, Measured, Output, TooFew
from eqssl_jax.measures.features import extract
from eqssl_jax.measures.regression.factors import RIDGES, Ridge, r2, ridges
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.subjects import Seen
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
        names_of = [list(part.targets) for part in (train, validation, test)]
        raise ValueError(f"Train, validation and test need the same targets, found {names_of}.")
    widths = [np.asarray(train.targets[name]).shape[1] for name in names]
    x, vx = (_inputs(part.before, part.after) for part in (train, validation))
    y, vy = (
        np.concatenate([np.asarray(part.targets[name]) for name in names], axis=1)
        for part in (train, validation)
    )
    explained: dict[str, float] = {}
    for name, fit in zip(names, ridges(x, y, vx, vy, widths, RIDGES), strict=True):
        seen = np.concatenate([np.asarray(part.targets[name]) for part in (train, validation)])
        predicted = np.clip(_predict(fit, test), seen.min(axis=0), seen.max(axis=0))
        explained[name] = r2(test.targets[name], predicted)
        if predicted.shape[1] > 1:
            explained[f"{name}_per_dimension"] = r2(
                test.targets[name], predicted, average="per_dimension"
            )
    return explained


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
    targets = {"magnitude": np.asarray(magnitude, np.float64)[:, None]}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = str(getattr(path[-1], "key", "")) if path else ""
        if name in CYCLES and np.ndim(leaf) == 1:
            phase = CYCLES[name] * np.asarray(leaf, np.float64)
            targets[name] = np.stack([np.cos(phase), np.sin(phase)], axis=1)
    return targets


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


class DisplacementGain(NamedTuple):
    """How much nearer the predicted embedding is than the one before the augmentation.

    Attributes:
      absolute: mean cos(y_t, ŷ_t) − cos(y_t, y_0), in [−2, 2]; 0: predicting no move does as well.
      relative: mean (1 − cos(y_t, y_0)) / (1 − cos(y_t, ŷ_t)); 1: predicting no move does as well.
        A mean of ratios: a few near-perfect predictions rule it, so read it beside `absolute`. NaN
        when every image was dropped.
      dropped: images left out of `relative`, since their prediction is exact up to the floor.
    """

    absolute: float
    relative: float
    dropped: int


def displacement_gain(
    y_t: Rows, predicted: Rows, y_0: Rows, *, floor: float = 1e-8
) -> DisplacementGain:
    """EquiMod's two measures of equivariance, of embeddings that its head predicts.

    Args:
      y_t: embeddings of augmented images, [N, D].
      predicted: ŷ_t, predicted from y_0 and the parameters of the augmentation, [N, D].
      y_0: embeddings of the images before it, [N, D].
      floor: smallest 1 − cos(y_t, ŷ_t) that `relative` divides by.

    Raises:
      ValueError: for shapes that differ, no rows, a floor that is not positive, values that are not
        finite, or an embedding of length 0.

    Source: Devillers and Lefort 2023 (EquiMod, arXiv:2211.01244).

    >>> import numpy as np
    >>> after, before = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    >>> displacement_gain(after, before, before)  # the prediction is that nothing moves
    DisplacementGain(absolute=0.0, relative=1.0, dropped=0)
    """
    after, guess, before = (np.asarray(y, np.float64) for y in (y_t, predicted, y_0))
    if after.ndim != 2 or not after.size or not after.shape == guess.shape == before.shape:
        raise ValueError(
            f"The embeddings after, predicted and before must all be [N, D], found {after.shape}, "
            f"{guess.shape} and {before.shape}."
        )
    if not floor > 0:
        raise ValueError(f"The floor of the relative gain must be positive, found {floor}.")
    after, guess, before = (
        _unit(name, y) for name, y in (("y_t", after), ("predicted", guess), ("y_0", before))
    )
    # 1 − cos = ‖a − b‖² / 2: the difference of nearly equal numbers would lose the digits.
    missed = np.sum((after - guess) ** 2, axis=1) / 2  # [N]
    moved = np.sum((after - before) ** 2, axis=1) / 2
    keep = missed >= floor
    relative = float(np.mean(moved[keep] / missed[keep])) if keep.any() else float("nan")
    return DisplacementGain(float(np.mean(moved - missed)), relative, int(np.sum(~keep)))


def _unit(name: str, y: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(y, axis=1, keepdims=True)
    if not (np.isfinite(y).all() and lengths.min() > 0):
        raise ValueError(
            f"{name} has an embedding without a direction: of length 0, or with values that are "
            f"not finite."
        )
    return y / lengths


def _measure(seen: Seen) -> Measured:
    """Of the first predicting head, each image under draws of its own, as in training.

    A draw that all images share would be taken away by the head's BatchNorm over the batch.
    """
    head = next(iter(seen.subject.heads.values()), None)
    if head is None:
        raise TooFew("no head was trained to predict embeddings (EquiMod, SIE, SEN)")
    conditions, split = seen.conditions, seen.splits[seen.held_out]
    chosen, batch = conditions.once(augmented.images), seen.settings.batch
    before = extract(seen.subject.encode, split, batch=batch, indices=chosen).features
    keys = jax.random.split(
        jax.random.fold_in(conditions.key, 3), (seen.settings.augmentations, len(chosen))
    )
    sample, gains = jax.jit(jax.vmap(conditions.transform.sample)), []
    for row in keys:
        draws = jax.device_get(sample(row))
        after = extract(
            seen.subject.encode, split, batch=batch, indices=chosen,
            transform=conditions.transform, params=draws,
        ).features  # fmt: skip
        gains.append(displacement_gain(*head(before, after, draws)))
    return augmented.over_augmentations(
        {
            "displacement_gain": [gain.absolute for gain in gains],
            "displacement_gain_relative": [gain.relative for gain in gains],
        }
    )


CARD = Card(
    name="prediction_gain",
    measure=_measure,
    outputs=(
        Output("displacement_gain", "Gain of the method's prediction", HIGHER, ".3f", chance=0.0),
        Output("displacement_gain_relative", "Gain of the method's prediction, relative", HIGHER,
               chance=1.0),
    ),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    source="Devillers and Lefort 2023 (EquiMod), arXiv:2211.01244",
)  # fmt: skip
