"""How many directions embeddings use."""

import numpy as np

from eqssl_jax.measures.cards import Card, Measured, Output
from eqssl_jax.measures.checks import TooFew, check_finite
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.rotation.pairs import Rows
from eqssl_jax.measures.subjects import Seen


def effective_rank(z: Rows) -> float:
    """exp(entropy of the normalised squared singular values of Z), in [1, d].

    Read beside W: a collapsed encoder is rotated onto itself perfectly. Rows are not centred: n
    images have a rank of at most n.

    Raises:
      ValueError: for embeddings that are not [n, d] or not finite; `TooFew` for fewer than 2
        examples, or if all are 0.

    Source: after Roy and Vetterli 2007, on squared singular values.
    """
    z64 = np.asarray(z, np.float64)
    if z64.ndim != 2:
        raise ValueError(f"An effective rank is of embeddings [n, d], found shape {z64.shape}.")
    check_finite(z=z64)
    if len(z64) < 2:
        raise TooFew(f"The effective rank of {len(z64)} image says nothing: it needs at least 2.")
    if not z64.any():
        raise TooFew("An effective rank needs embeddings of a length, and all of these are 0.")
    values = np.maximum(np.linalg.eigvalsh(z64.T @ z64), 0)
    share = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def _measure(seen: Seen) -> Measured:
    plain = seen.shared(augmented.augmented).plain
    name = "effective_rank"
    return augmented.where_enough(seen, ((name,), 2, lambda: {name: [effective_rank(plain)]}))


CARD = Card(
    name="effective_rank",
    measure=_measure,
    outputs=(Output("effective_rank", "Effective rank", None, ".1f", headline=True),),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    rank=30,
    source="after Roy and Vetterli 2007",
)
