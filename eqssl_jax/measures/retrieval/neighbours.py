"""Nearest neighbours, and whether they change when the colour of the query does."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.measures.cards import Card, Measured, Number, Output
from eqssl_jax.measures.features import extract, subset
from eqssl_jax.measures.subjects import Seen, unit
from eqssl_jax.settings import number, whole
from eqssl_jax.transforms.base import Params, Transform

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
      ValueError: for k outside 1 … N, or widths that differ.
    """
    shapes = np.shape(queries), np.shape(bank)
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"Queries and bank must be [Q, D] and [N, D], found {shapes}.")
    if not 1 <= k <= shapes[1][0]:
        raise ValueError(f"k must lie in 1 … {shapes[1][0]}, the size of the bank, found k={k}.")
    if not shapes[0][0]:
        raise ValueError("There is no query: the query set is empty.")
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


def hue_distance(query: Float[np.ndarray, " q"], retrieved: Float[np.ndarray, "q k"]) -> float:
    """Mean circular distance between the hues of queries and of what they retrieved, in turns.

    In [0, ½]. Unrelated, uniform hues are ¼ apart on average.

    >>> hue_distance(np.array([0.95]), np.array([[0.05, 0.85]])).__round__(6)
    0.1
    """
    gap = np.abs(np.asarray(query)[:, None] - np.asarray(retrieved)) % 1.0
    return float(np.mean(np.minimum(gap, 1 - gap)))


def hue_draw(transform: Transform, shift: float) -> Params | None:
    """The draw that shifts the hue by `shift` turns and does nothing else; None if it cannot.

    The hue is looked for by name in the transformation's parameters.
    """
    found = []

    def replace(params: Mapping[str, Any]) -> Params:
        out: dict[str, Any] = {}
        for name, value in params.items():
            if isinstance(value, Mapping):
                out[name] = replace(value)
            elif name == "hue":
                found.append(name)
                # The first one only: two of them would shift twice.
                out[name] = jnp.full_like(value, shift) if len(found) == 1 else value
            else:
                out[name] = value
        return out

    draw = replace(transform.identity)
    return draw if found else None


@partial(jax.jit, static_argnames=("k", "chunk"))
def _nearest(queries: Array, bank: Array, *, k: int, chunk: int) -> Int[Array, "q k"]:
    norms = jnp.sum(bank * bank, axis=1)

    def nearest(query: Float[Array, " d"]) -> Int[Array, " k"]:
        product = jnp.matmul(bank, query, precision=jax.lax.Precision.HIGHEST)  # [N]
        return jax.lax.top_k(2 * product - norms, k)[1]

    return jax.lax.map(nearest, queries, batch_size=chunk)


def _measure(seen: Seen) -> Measured:
    budget, bank, asked = seen.settings, seen.rows("train"), seen.rows(seen.held_out)
    if not budget.queries:
        raise ValueError("left out: queries is 0")
    transform = seen.conditions.transform
    hue = hue_draw(transform, budget.hue_shift)
    if hue is None:
        raise ValueError("the transformation has no hue")
    rows = subset(len(asked.indices), budget.queries)
    queries = asked.indices[rows]
    shifted = extract(
        seen.subject.encode, seen.splits[seen.held_out], batch=budget.batch, indices=queries,
        transform=transform, params=hue,
    )  # fmt: skip
    change = neighbour_change(
        unit(asked.embeddings[rows]),
        unit(shifted.embeddings),
        unit(bank.embeddings),
        k=min(budget.neighbours, len(bank.indices)),
    )
    before, after = bank.indices[change.before], bank.indices[change.after]
    numbers = {
        "neighbour_overlap": Number(change.overlap, n=len(rows)),
        "neighbour_rank": Number(change.rank, n=len(rows)),
    }
    arrays = {"queries": queries, "before": before, "after": after, "hue": hue}
    stored = [seen.splits[split].factors.get("hue") for split in (seen.held_out, "train")]
    if stored[0] is None or stored[1] is None:
        missing = dict.fromkeys(_DISTANCES_OF_HUES, "the data set does not know its hues")
        return Measured(numbers, missing, arrays=arrays)
    hues, bank_hues = np.asarray(stored[0])[queries], np.asarray(stored[1])
    distances = (
        hue_distance(hues + budget.hue_shift, bank_hues[after]),
        hue_distance(hues, bank_hues[before]),
    )
    for name, distance in zip(_DISTANCES_OF_HUES, distances, strict=True):
        numbers[name] = Number(distance, n=len(rows))
    return Measured(numbers, arrays=arrays)


_DISTANCES_OF_HUES = ("retrieved_hue_distance", "retrieved_hue_distance_before")
CARD = Card(
    name="neighbours",
    measure=_measure,
    outputs=(
        Output("neighbour_overlap", "Overlap of neighbours before and after a hue shift"),
        Output("neighbour_rank", "Rank of the first neighbour after a hue shift"),
        Output("retrieved_hue_distance", "Hue distance of neighbours, from the shifted hue",
               unit="turns"),
        Output("retrieved_hue_distance_before", "Hue distance of neighbours, before the shift",
               unit="turns"),
    ),
    needs=("train",),
    settings={
        "neighbours": whole(5, "nearest neighbours; lowered to the size of a small bank", low=1),
        "queries": whole(1000, "images whose neighbours are compared; 0 leaves it out"),
        "hue_shift": number(1 / 3, "of the queries, in turns", low=-0.5, high=1),
    },
    quick={"queries": 128},
    cost=lambda conditions: conditions.settings.queries,
    source="after Figure 9 of Gupta et al. 2024, arXiv:2306.13924",
)  # fmt: skip
