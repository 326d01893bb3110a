"""RankMe: how many directions the embeddings of the training images use."""

import numpy as np

from eqssl_jax.measures.cards import Card, Number, Output
from eqssl_jax.measures.checks import TooFew, check_finite
from eqssl_jax.measures.rotation.pairs import Rows
from eqssl_jax.measures.subjects import Seen


def entropy_rank(values: Rows, *, floor: float = 1e-7) -> float:
    """exp(−Σ p log p) with p = values / Σ values + floor: how many of them count; at least 1."""
    shares = np.asarray(values, np.float64)
    shares = shares / shares.sum() + floor
    return float(np.exp(-np.sum(shares * np.log(shares))))


def rankme(z: Rows) -> float:
    """exp of the entropy of p_k = σ_k / Σ σ + 1e-7, the singular values σ of Z; in [1, min(n, d)].

    Rows are embeddings as they come, neither centred nor brought to length 1. Up to the floor 1e-7:
    1 where all embeddings are multiples of one, d where all directions are used alike.

    Raises:
      ValueError: for embeddings that are not [n, d] or not finite; `TooFew` for fewer than 2, or if
        all are 0.

    Source: Garrido, Balestriero, Najman and LeCun 2023, arXiv:2210.02885.
    """
    z64 = np.asarray(z, np.float64)
    if z64.ndim != 2:
        raise ValueError(f"RankMe is of embeddings [n, d], found shape {z64.shape}.")
    check_finite(z=z64)
    if len(z64) < 2 or not z64.any():
        raise TooFew(f"RankMe needs two embeddings or more that are not all 0, found {len(z64)}.")
    small = z64 if len(z64) < z64.shape[1] else z64.T
    return entropy_rank(np.sqrt(np.maximum(np.linalg.eigvalsh(small @ small.T), 0)))


def _measure(seen: Seen) -> dict[str, Number]:
    z = seen.rows("train").embeddings
    return {"rankme": Number(rankme(z), n=len(z))}


CARD = Card(
    name="rankme",
    measure=_measure,
    outputs=(Output("rankme", "RankMe", None, ".1f"),),
    needs=("train",),
    rank=10,
    source="Garrido et al. 2023, arXiv:2210.02885",
)
