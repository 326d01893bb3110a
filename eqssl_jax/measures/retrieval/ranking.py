"""Where the right answer stands in a ranked list.

A query (the embedding a predictor or a steered rotation gives) is compared with candidates, one of
which is the target; `target_ranks` gives its place, and the rest are means over queries.
"""

import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.measures.checks import check_finite

Scores = Float[Array | np.ndarray, "q c"]
Ranks = Float[Array | np.ndarray, " q"]


def target_ranks(
    scores: Scores, targets: Int[Array | np.ndarray, " q"], *, tie: float = 0.0
) -> Float[np.ndarray, " q"]:
    """Place of each query's target among its C candidates, from 1 (the highest score), [Q].

    Candidates that score the same share the mean of their places: an encoder that maps everything
    to one point ranks every target in the middle, (C + 1) / 2, not first.

    Args:
      scores: [Q, C], higher is nearer; dot products of unit embeddings for the published MRR.
      targets: [Q], column of the right candidate of each query.
      tie: scores that differ by no more are the same.

    Raises:
      ValueError: for scores that are not [Q, C] with Q, C ≥ 1 or not finite, or targets outside
        the candidates.

    >>> import numpy as np
    >>> target_ranks(np.array([[0.9, 0.1, 0.5], [0.2, 0.2, 0.2]]), np.array([2, 0])).tolist()
    [2.0, 2.0]
    """
    score, target = np.asarray(scores, np.float64), np.asarray(targets)
    if score.ndim != 2 or not score.size or target.shape != (len(score),):
        raise ValueError(
            f"Ranks need scores [Q, C] and targets [Q] with a query and a candidate, found shapes "
            f"{score.shape} and {target.shape}."
        )
    if target.min() < 0 or target.max() >= score.shape[1]:
        raise ValueError(
            f"Targets must lie in 0 … {score.shape[1] - 1}, the columns of the scores, found "
            f"{target.min()} … {target.max()}."
        )
    check_finite(scores=score)
    own = np.take_along_axis(score, target[:, None], axis=1)  # [Q, 1]
    better = np.sum(score - own > tie, axis=1)
    equal = np.sum(np.abs(score - own) <= tie, axis=1)
    return better + (equal + 1) / 2


def reciprocal_rank(ranks: Ranks) -> float:
    """Mean reciprocal rank, MRR = mean 1 / rank, in (0, 1]; 1: every target came first.

    Source: as used by Garrido et al. 2023 (SIE, arXiv:2302.10283), among the views of one object.

    >>> reciprocal_rank(np.array([1.0, 2.0]))
    0.75

    Raises:
      ValueError: without ranks, or for one below 1.
    """
    return float(np.mean(1 / _checked(ranks)))


def hits_at(ranks: Ranks, k: int) -> float:
    """H@k, the share of queries whose target stands among the first k, in [0, 1].

    Source: as used by Garrido et al. 2023 (SIE, arXiv:2302.10283), k 1, 2, 5, 10.

    >>> hits_at(np.array([1.0, 2.0, 7.0, 1.5]), 1)
    0.25

    Raises:
      ValueError: for k < 1, without ranks, or for one below 1.
    """
    if k < 1:
        raise ValueError(f"H@k counts targets among the first k ≥ 1 candidates, found k={k}.")
    return float(np.mean(_checked(ranks) <= k))


def chance_reciprocal_rank(candidates: int) -> float:
    """MRR of targets ranked at random among C candidates, (1 / C) Σ 1 / i: the floor.

    >>> chance_reciprocal_rank(2)
    0.75

    Raises:
      ValueError: for fewer than 1 candidate.
    """
    if candidates < 1:
        raise ValueError(f"A ranking needs at least 1 candidate, found {candidates}.")
    return float(np.mean(1 / np.arange(1, candidates + 1)))


def _checked(ranks: Ranks) -> np.ndarray:
    found = np.asarray(ranks, np.float64)
    if not found.size or not found.min() >= 1:  # NaN too
        raise ValueError(f"Ranks count from 1 and there must be one, found {found.tolist()[:5]}.")
    return found
