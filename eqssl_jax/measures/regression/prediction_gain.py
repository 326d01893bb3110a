"""Whether predicting where an augmentation moves an embedding beats predicting that it stays."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.measures.cards import HIGHER, Card, Measured, Output
from eqssl_jax.measures.checks import TooFew
from eqssl_jax.measures.features import extract
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.subjects import Seen

Rows = Float[Array | np.ndarray, "n d"]


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
    """Of the head "equimod", each image under draws of its own, as in training.

    A draw that all images share would be taken away by the head's BatchNorm over the batch.
    """
    head = seen.subject.heads.get("equimod")
    if head is None:
        raise TooFew("no head was trained to predict embeddings (EquiMod)")
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
        Output("displacement_gain", "Gain of EquiMod's prediction", HIGHER, ".3f", chance=0.0),
        Output("displacement_gain_relative", "Gain of EquiMod's prediction, relative", HIGHER,
               chance=1.0),
    ),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    cost=lambda conditions: (
        conditions.settings.augmentations * len(conditions.once(augmented.images))
    ),
    source="Devillers and Lefort 2023 (EquiMod), arXiv:2211.01244",
)  # fmt: skip
