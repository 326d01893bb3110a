"""Does a predicted embedding lead to the right view: among the object's views, among all images.

The predictions are those of a method's own predictor, from one view of an object and the code of
the change to another. What is ranked where is as in SIE (Garrido et al. 2023, arXiv:2302.10283;
facebookresearch/SIE at 54541cf).
"""

import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.measures.checks import check_finite
from eqssl_jax.measures.retrieval.ranking import target_ranks

Rows = Float[Array | np.ndarray, "n d"]
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
    return np.stack([target_ranks(_scores(*one, normalised), targets) for one in objects])


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
