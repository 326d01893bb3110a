"""Nearest neighbours, how they change when the query does, and where the right answer stands.

In a ranked list a query (the embedding that a predictor or a steered rotation gives) is compared
with candidates, one of which is the target; `target_ranks` gives its place, and `hits_at` and
`reciprocal_rank` are means over queries. `view_ranks` and what follows ask whether a method's own
predictor, from one view of an object and the code of the change to another, leads to the right view
among the object's views or among all images, ranked as in SIE (Garrido et al. 2023,
arXiv:2302.10283; facebookresearch/SIE at 54541cf).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.measures.cards import TooFew, check_finite

Rows = Float[Array | np.ndarray, "n d"]

_DISTANCES = 2**24  # entries of one chunk's distance matrix: 64 MB


class NeighbourChange(NamedTuple):
    """How the k nearest neighbours of Q queries change.

    Attributes:
      overlap: mean Jaccard index of the two sets of neighbours, in [0, 1]; 1: nothing changed.
      rank: mean position, from 0, of the first neighbour before in the list after (k if it left).
      before, after: indices into the bank, nearest first, [Q, k].
    """

    overlap: float
    rank: float
    before: Int[np.ndarray, "q k"]
    after: Int[np.ndarray, "q k"]


def neighbours(queries: Rows, bank: Rows, *, k: int = 5) -> Int[np.ndarray, "q k"]:
    """Rows of the bank nearest to each query in Euclidean distance, nearest first.

    >>> import numpy as np
    >>> neighbours(np.array([[0.9]]), np.array([[0.0], [1.0], [3.0]]), k=2).tolist()
    [[1, 0]]

    Raises:
      ValueError: for k outside 1 … N (`TooFew`), widths that differ, or values that are not finite.
    """
    shapes = np.shape(queries), np.shape(bank)
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"Queries and bank must be [Q, D] and [N, D], found {shapes}.")
    if not 1 <= k <= shapes[1][0]:
        raise TooFew(f"k must lie in 1 … {shapes[1][0]}, the size of the bank, found k={k}.")
    if not shapes[0][0]:
        raise ValueError("There is no query: the query set is empty.")
    check_finite(queries=queries, bank=bank)
    # From the middle of the bank: distances stay, and float32 keeps the digits that tell them.
    middle = np.asarray(bank, np.float32).mean(axis=0)
    chunk = max(1, min(shapes[0][0], _DISTANCES // shapes[1][0]))
    q, b = (jnp.asarray(np.asarray(a, np.float32) - middle) for a in (queries, bank))
    return np.asarray(_nearest(q, b, k=k, chunk=chunk))


def neighbour_change(before: Rows, after: Rows, bank: Rows, *, k: int = 5) -> NeighbourChange:
    """Compare the neighbours of queries before and after a change of their images.

    Args:
      before, after: embeddings of the same Q images, [Q, D].
      bank: embeddings of the images that are searched, [N, D]; it should not hold the queries.
      k: neighbours.

    Raises:
      ValueError: as `neighbours`.

    Source: after Figure 9 of Gupta et al. 2024 (arXiv:2306.13924).
    """
    first, second = neighbours(before, bank, k=k), neighbours(after, bank, k=k)
    shared = np.sum(first[:, :, None] == second[:, None, :], axis=(1, 2))  # [Q]
    equal = first[:, :1] == second  # [Q, k]
    rank = np.where(equal.any(axis=1), equal.argmax(axis=1), k)
    return NeighbourChange(
        float(np.mean(shared / (2 * k - shared))), float(rank.mean()), first, second
    )


@partial(jax.jit, static_argnames=("k", "chunk"))
def _nearest(queries: Array, bank: Array, *, k: int, chunk: int) -> Int[Array, "q k"]:
    norms = jnp.sum(bank * bank, axis=1)

    def nearest(query: Float[Array, " d"]) -> Int[Array, " k"]:
        product = jnp.matmul(bank, query, precision=jax.lax.Precision.HIGHEST)  # [N]
        return jax.lax.top_k(2 * product - norms, k)[1]

    return jax.lax.map(nearest, queries, batch_size=chunk)


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
    of_target = np.take_along_axis(score, target[:, None], axis=1)  # [Q, 1]
    better = np.sum(score - of_target > tie, axis=1)
    equal = np.sum(np.abs(score - of_target) <= tie, axis=1)
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
    values = np.asarray(ranks, np.float64)
    if not values.size or not values.min() >= 1:  # NaN too
        raise ValueError(f"Ranks count from 1 and there must be one, found {values.tolist()[:5]}.")
    return values


Sets = Float[Array | np.ndarray, "o v d"]

_CANDIDATE_FLOOR = 1e-8  # added to the norms of candidates, as SIE does
_SCORES = 2**23  # scores held at a time: 64 MB
_UNIT = 1e-3  # how far the norm of a quaternion may be from 1


def view_ranks(
    predicted: Sets, embeddings: Sets, *, normalised: bool = True
) -> Float[np.ndarray, "o v"]:
    """Place of each predicted view's true embedding among those of its object, from 1, [O, V].

    MRR and H@k are `reciprocal_rank` and `hits_at` of these ranks. SIE predicts every view from
    view 0, view 0 itself included by the code of the identity: one query in V asks for the image it
    was made from. `ranks[:, 1:]` are those of the other queries, among the same V candidates.

    Args:
      predicted: predicted embeddings of O objects' V views, the query of each.
      embeddings: the views' embeddings, the candidates.
      normalised: rank by cosines; False: by dot products.

    Raises:
      ValueError: for arrays that are not [O, V, D], differ in shape, or are not finite.

    >>> import numpy as np
    >>> views = np.eye(3)[None]
    >>> view_ranks(views, views).tolist()
    [[1.0, 1.0, 1.0]]
    """
    queries, candidates = np.asarray(predicted, np.float64), np.asarray(embeddings, np.float64)
    if queries.ndim != 3 or queries.shape != candidates.shape or not queries.size:
        raise ValueError(
            f"Ranks of views need predictions and embeddings of one shape [O, V, D], found "
            f"{queries.shape} and {candidates.shape}."
        )
    check_finite(predicted=queries, embeddings=candidates)
    targets = np.arange(queries.shape[1])
    objects = zip(queries, candidates, strict=True)
    return np.stack([target_ranks(_scores(*pair, normalised), targets) for pair in objects])


def nearest_views(predicted: Rows, bank: Rows, *, normalised: bool = True) -> Int[np.ndarray, " q"]:
    """Row of the bank with the highest cosine (or dot product) to each prediction, [Q].

    In SIE the bank is the whole training set, the whole validation set, or the one followed by the
    other; it holds the image that a prediction started from, too.

    Raises:
      ValueError: for shapes that do not fit or values that are not finite.
    """
    queries, candidates = np.asarray(predicted, np.float64), np.asarray(bank, np.float64)
    shapes = queries.shape, candidates.shape
    if {len(shape) for shape in shapes} != {2} or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"Predictions and bank must be [Q, D] and [N, D], found {shapes}.")
    if not queries.size or not candidates.size:
        raise ValueError(f"There is nothing to look for or to find, found shapes {shapes}.")
    check_finite(predicted=queries, bank=candidates)
    chunk = max(1, _SCORES // len(candidates))
    return np.concatenate(
        [
            np.argmax(_scores(queries[start : start + chunk], candidates, normalised), axis=1)
            for start in range(0, len(queries), chunk)
        ]
    )


def prediction_retrieval_error(
    nearest: Float[Array | np.ndarray, "q 4"], true: Float[Array | np.ndarray, "q 4"]
) -> float:
    """PRE, the mean of 1 − ⟨q, q′⟩² over predictions, in [0, 1]; 0: every pose is right.

    The square makes q and −q the same; of an angle θ between the poses it is sin²(θ/2).

    Args:
      nearest: unit quaternions of the poses of the images found (`nearest_views`).
      true: those of the poses that were to be found. Both are absolute poses, not changes.

    Raises:
      ValueError: for shapes that differ, or quaternions that are not of length 1.

    >>> import numpy as np
    >>> prediction_retrieval_error(np.eye(4), -np.eye(4))
    0.0
    """
    a, b = np.asarray(nearest, np.float64), np.asarray(true, np.float64)
    if a.ndim != 2 or a.shape != b.shape or a.shape[1] != 4 or not len(a):
        raise ValueError(
            f"Poses must be quaternions [Q, 4] in both arrays, found {a.shape} and {b.shape}."
        )
    for name, poses in (("nearest", a), ("true", b)):
        lengths = np.linalg.norm(poses, axis=1)
        if not np.abs(lengths - 1).max() < _UNIT:  # NaN too
            worst = lengths[np.argmax(np.abs(lengths - 1))]
            raise ValueError(
                f"Poses must be unit quaternions, but {name} holds one of length {worst:.4g}: "
                f"divide each by its length."
            )
    return float(np.mean(1 - np.sum(a * b, axis=1) ** 2))


def _scores(queries: np.ndarray, candidates: np.ndarray, normalised: bool) -> np.ndarray:
    if normalised:
        # A query of length 0 scores 0 everywhere: it ranks its target in the middle.
        queries = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)
        lengths = np.linalg.norm(candidates, axis=1, keepdims=True)
        candidates = candidates / (lengths + _CANDIDATE_FLOOR)
    return np.asarray(queries @ candidates.T)
