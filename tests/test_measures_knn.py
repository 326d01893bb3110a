"""The weighted vote equals a loop, and scikit-learn's."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from eqssl_jax.measures.classes import knn
from eqssl_jax.measures.classes.knn import knn_accuracy


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 12))
    labels, query_labels = rng.integers(0, 5, 300), rng.integers(0, 5, 120)
    bank = centres[labels] + 1.5 * rng.normal(size=(300, 12))
    queries = centres[query_labels] + 1.5 * rng.normal(size=(120, 12))
    return bank.astype(np.float32), labels, queries.astype(np.float32), query_labels


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def loop(bank, labels, queries, query_labels, k, temperature):
    right = 0
    for query, label in zip(unit(queries), query_labels, strict=True):
        cosines = unit(bank) @ query
        votes = np.zeros(labels.max() + 1)
        for i in np.argsort(-cosines)[:k]:
            votes[labels[i]] += np.exp(cosines[i] / temperature)
        right += votes.argmax() == label
    return right / len(queries)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.5), (7, 0.07), (50, 0.5), (300, 0.1)])
def test_equals_a_loop(problem, k, temperature):
    accuracy = knn_accuracy(*problem, k=k, temperature=temperature)
    assert accuracy == pytest.approx(loop(*problem, k, temperature), abs=1e-6)
    assert 0.2 < accuracy < 1  # neither chance nor trivial


def test_equals_scikit_learn(problem):
    bank, labels, queries, query_labels = problem
    # For unit vectors, cos = 1 − distance² / 2.
    reference = KNeighborsClassifier(20, weights=lambda d: np.exp((1 - d**2 / 2) / 0.5))
    score = reference.fit(unit(bank), labels).score(unit(queries), query_labels)
    assert knn_accuracy(*problem, k=20) == pytest.approx(score, abs=1e-6)


def test_length_does_not_matter(problem):
    bank, labels, queries, query_labels = problem
    scale = np.random.default_rng(1).uniform(0.1, 10, (len(bank), 1)).astype(np.float32)
    assert knn_accuracy(bank * scale, labels, 5 * queries, query_labels, k=20) == knn_accuracy(
        *problem, k=20
    )


def test_chunks_do_not_matter(problem, monkeypatch):
    whole = knn_accuracy(*problem, k=20)
    monkeypatch.setattr(knn, "_SIMILARITIES", 300 * 7)  # 7 does not divide 120
    assert knn_accuracy(*problem, k=20) == whole


def test_the_weight_decides_against_the_count():
    bank = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    query = np.array([[1.0, 0.2]])
    assert knn_accuracy(bank, [0, 1, 1], query, [0], k=3, temperature=0.1) == 1
    assert knn_accuracy(bank, [0, 1, 1], query, [0], k=3, temperature=10.0) == 0


def test_small_temperatures_do_not_overflow(problem):
    assert knn_accuracy(*problem, k=20, temperature=1e-3) == pytest.approx(
        knn_accuracy(*problem, k=1), abs=0.05
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 301}, "k must lie in 1 … 300"),
        ({"k": 0}, "k must lie in"),
        ({"temperature": 0.0}, "positive"),
        ({"classes": 3}, "must lie in 0 … 2"),
        ({"bank_labels": np.full(300, -1)}, "unlabeled"),
        ({"bank_labels": np.zeros(4, int)}, "One label for each row"),
        ({"queries": np.zeros((120, 3))}, r"\[N, H\]"),
        ({"queries": np.zeros((0, 12)), "query_labels": np.zeros(0, int)}, "empty"),
    ],
)
def test_bad_input_is_named(problem, change, message):
    names = ("bank", "bank_labels", "queries", "query_labels")
    arguments = {**dict(zip(names, problem, strict=True)), "k": 5, **change}
    with pytest.raises(ValueError, match=message):
        knn_accuracy(**arguments)
