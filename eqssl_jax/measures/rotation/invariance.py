"""How far augmentations move embeddings, and how evenly."""

import numpy as np

from eqssl_jax.measures.cards import Card, Measured, Output
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.rotation.pairs import Rows, paired
from eqssl_jax.measures.subjects import Seen


def invariance_error(z: Rows, z_a: Rows) -> float:
    """How far an augmentation moves an embedding, mean_i ‖z_i − z_a,i‖²; [0, 4] for unit ones."""
    z, z_a = paired(z, z_a)
    return float(np.mean(np.sum((z - z_a) ** 2, axis=1)))


def moved(seen: Seen) -> list[float]:
    """`invariance_error` of each augmentation."""
    plain, single, *_ = seen.shared(augmented.augmented)
    return [invariance_error(plain, after) for after in single]


def _measure(seen: Seen) -> Measured:
    plain, single, *_ = seen.shared(augmented.augmented)
    cosines = np.einsum("nd,and->an", plain, single)
    even = len(single) // 2 * 2
    paired = np.einsum("pnd,pnd->pn", single[0:even:2], single[1:even:2])
    values = {"invariance_error": seen.own(moved), "cosine_variance": list(cosines.var(axis=1))}
    if len(paired):
        values["positive_cosine"] = list(paired.mean(axis=1))
    measured = augmented.over_augmentations(values)
    circle = {"circle": np.concatenate([plain[None], single])} if plain.shape[1] == 2 else {}
    arrays = {**measured.arrays, "cosines": cosines, "positive_cosines": paired, **circle}
    missing = {} if len(paired) else {"positive_cosine": "a pair needs two augmentations"}
    return measured._replace(arrays=arrays, missing={**measured.missing, **missing})


CARD = Card(
    name="invariance",
    measure=_measure,
    outputs=(
        # No direction: a rotational role gives up invariance on purpose.
        Output("invariance_error", "Invariance error", headline=True),
        Output("positive_cosine", "Cosine of positive pairs"),
        Output("cosine_variance", "Variance of the cosine"),
    ),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    rank=40,
)
