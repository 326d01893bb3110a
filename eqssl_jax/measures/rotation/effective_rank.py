"""How many directions embeddings use."""

import numpy as np

from eqssl_jax.measures.cards import Card, Measured, Output
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.rotation.pairs import Rows
from eqssl_jax.measures.subjects import Seen


def effective_rank(z: Rows) -> float:
    """exp(entropy of the normalised squared singular values of Z), in [1, d].

    Read beside W: a collapsed encoder is rotated onto itself perfectly.
    Source: after Roy and Vetterli 2007, on squared singular values.
    """
    z64 = np.asarray(z, np.float64)
    values = np.maximum(np.linalg.eigvalsh(z64.T @ z64), 0)
    share = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def _measure(seen: Seen) -> Measured:
    rank = effective_rank(seen.shared(augmented.augmented).plain)
    return augmented.over_augmentations({"effective_rank": [rank]})


CARD = Card(
    name="effective_rank",
    measure=_measure,
    outputs=(Output("effective_rank", "Effective rank", None, ".1f"),),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    rank=60,
    source="after Roy and Vetterli 2007",
)
