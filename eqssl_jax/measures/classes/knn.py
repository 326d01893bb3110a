"""Weighted nearest-neighbour classification: a probe without training."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.measures.cards import HIGHER, Card, Number, Output, TooFew, check_finite
from eqssl_jax.measures.subjects import Conditions, Seen
from eqssl_jax.settings import number, whole

NEIGHBOURS = 200
_SIMILARITIES = 2**24  # entries of one chunk's similarity matrix: 64 MB


def knn_accuracy(
    bank: Float[Array | np.ndarray, "n h"],
    bank_labels: Int[Array | np.ndarray, " n"],
    queries: Float[Array | np.ndarray, "q h"],
    query_labels: Int[Array | np.ndarray, " q"],
    *,
    k: int = 200,
    temperature: float = 0.5,
    classes: int | None = None,
) -> float:
    """Share of queries whose k nearest neighbours in the bank vote for the right class, in [0, 1].

    The vote for class c is Σ over the k neighbours i of that class of exp(cos(q, b_i) / τ); ties go
    to the lower class number. Features are L2-normalised here.

    Args:
      bank, bank_labels: labelled features that vote (the training split).
      queries, query_labels: features to classify.
      k: number of neighbours.
      temperature: τ > 0.
      classes: number of classes; None takes the largest bank label plus one.

    Raises:
      ValueError: for k outside 1 … N (`TooFew`), τ ≤ 0, shapes that do not match, labels outside
        the classes, or features that are not finite.

    Source: the monitor of Wu et al. 2018 (arXiv:1805.01978), as used by Gupta et al. 2024
    (arXiv:2306.13924).

    >>> import numpy as np
    >>> bank, labels = np.array([[1.0, 0], [0, 1]]), np.array([0, 1])
    >>> knn_accuracy(bank, labels, np.array([[2.0, 1], [1, 3]]), labels, k=1)
    1.0
    """
    predicted = knn_classes(
        bank, bank_labels, queries, query_labels, k=k, temperature=temperature, classes=classes
    )
    return float(np.mean(predicted == np.asarray(query_labels)))


def knn_classes(
    bank: Float[Array | np.ndarray, "n h"],
    bank_labels: Int[Array | np.ndarray, " n"],
    queries: Float[Array | np.ndarray, "q h"],
    query_labels: Int[Array | np.ndarray, " q"],
    *,
    k: int = 200,
    temperature: float = 0.5,
    classes: int | None = None,
) -> Int[np.ndarray, " q"]:
    """The class that the neighbours of each query vote for; arguments as of `knn_accuracy`.

    Raises:
      ValueError: as `knn_accuracy`.
    """
    labels = np.asarray(bank_labels)
    _check(bank, labels, queries, np.asarray(query_labels), k, temperature)
    classes = int(labels.max()) + 1 if classes is None else classes
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"Bank labels must lie in 0 … {classes - 1}, found {labels.min()} … {labels.max()}: "
            f"leave unlabeled examples out of the bank, or set classes."
        )
    chunk = max(1, min(len(queries), _SIMILARITIES // len(bank)))
    predicted = _predict(
        jnp.asarray(bank, jnp.float32),
        jnp.asarray(labels, jnp.int32),
        jnp.asarray(queries, jnp.float32),
        temperature,
        k=k,
        classes=classes,
        chunk=chunk,
    )
    return np.asarray(predicted)


def most_frequent(conditions: Conditions, name: str, *, most: int = 1) -> float | None:
    """Accuracy without knowing the image: the share of the most frequent classes, if labelled."""
    del name
    labels, classes = conditions.labels(conditions.held_out), conditions.dataset.classes
    if labels is None or len(classes) <= most > 1:
        return None
    return float(np.sort(np.bincount(labels) / len(labels))[::-1][:most].sum())


def _settled(conditions: Conditions) -> dict[str, int]:
    """No more neighbours than there are training images, as during training."""
    k, bank = conditions.settings.knn_neighbours, conditions.labels("train")
    available = k if bank is None else min(len(bank), conditions.limit("train") or len(bank))
    return {"knn_neighbours": min(k, available)}


def _measure(seen: Seen) -> dict[str, Number]:
    labels = seen.labels(seen.held_out)
    accuracy = knn_accuracy(
        seen.features("train"),
        seen.labels("train"),
        seen.features(seen.held_out),
        labels,
        k=seen.settings.knn_neighbours,
        temperature=seen.settings.knn_temperature,
        classes=len(seen.dataset.classes),
    )
    return {"knn": Number(accuracy, n=len(labels))}


CARD = Card(
    name="knn",
    measure=_measure,
    outputs=(
        Output("knn", "kNN accuracy", HIGHER, ".1%", chance=most_frequent, headline=True),
    ),
    needs=("labels",),
    settings={
        "knn_neighbours": whole(NEIGHBOURS, "that vote; fewer if there are fewer images", low=1),
        "knn_temperature": number(0.5, "of the votes of kNN", above=0),
    },
    check=_settled,
    rank=10,
    source="Wu et al. 2018, arXiv:1805.01978",
)  # fmt: skip


@partial(jax.jit, static_argnames=("k", "classes", "chunk"))
def _predict(
    bank: Array, labels: Array, queries: Array, temperature: float, *, k: int, classes: int,
    chunk: int,
) -> Int[Array, " q"]:  # fmt: skip
    bank = _unit(bank)

    def vote(query: Float[Array, " h"]) -> Int[Array, ""]:
        cosine = jnp.matmul(bank, query, precision=jax.lax.Precision.HIGHEST)  # [N]
        nearest, where = jax.lax.top_k(cosine, k)
        # Relative to the nearest: the same order of votes, and no overflow at small temperatures.
        weights = jnp.exp((nearest - nearest[0]) / temperature)
        return jnp.argmax(jnp.zeros(classes).at[labels[where]].add(weights))

    return jax.lax.map(vote, _unit(queries), batch_size=chunk)


def _unit(x: Float[Array, "n h"]) -> Float[Array, "n h"]:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _check(
    bank: Array | np.ndarray,
    labels: np.ndarray,
    queries: Array | np.ndarray,
    query_labels: np.ndarray,
    k: int,
    temperature: float,
) -> None:
    shapes = {"bank": np.shape(bank), "queries": np.shape(queries)}
    if len(shapes["bank"]) != 2 or len(shapes["queries"]) != 2 or bank.shape[1] != queries.shape[1]:
        raise ValueError(f"Bank and queries must be [N, H] and [Q, H], found {shapes}.")
    if labels.shape != (len(bank),) or query_labels.shape != (len(queries),):
        raise ValueError(
            f"One label for each row is needed: {len(bank)} and {len(queries)} rows, found labels "
            f"of shape {labels.shape} and {query_labels.shape}."
        )
    if not len(queries):
        raise ValueError("There is no query to classify: the query set is empty.")
    if not 1 <= k <= len(bank):
        raise TooFew(
            f"k must lie in 1 … {len(bank)}, the size of the bank, found k={k}: lower k or enlarge "
            f"the bank."
        )
    check_finite(bank=bank, queries=queries)
    if temperature <= 0:
        raise ValueError(f"The temperature must be positive, found {temperature}.")
