"""Nearest neighbours, and how they change when the query does."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.measures.checks import TooFew, check_finite

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
    one, two = neighbours(before, bank, k=k), neighbours(after, bank, k=k)
    shared = np.sum(one[:, :, None] == two[:, None, :], axis=(1, 2))  # [Q]
    found = one[:, :1] == two  # [Q, k]
    rank = np.where(found.any(axis=1), found.argmax(axis=1), k)
    return NeighbourChange(float(np.mean(shared / (2 * k - shared))), float(rank.mean()), one, two)


@partial(jax.jit, static_argnames=("k", "chunk"))
def _nearest(queries: Array, bank: Array, *, k: int, chunk: int) -> Int[Array, "q k"]:
    norms = jnp.sum(bank * bank, axis=1)

    def nearest(query: Float[Array, " d"]) -> Int[Array, " k"]:
        product = jnp.matmul(bank, query, precision=jax.lax.Precision.HIGHEST)  # [N]
        return jax.lax.top_k(2 * product - norms, k)[1]

    return jax.lax.map(nearest, queries, batch_size=chunk)
