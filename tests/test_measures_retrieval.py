"""Neighbours equal a loop; their change is measured between nothing and everything."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from eqssl_jax.measures.retrieval import neighbours as retrieval
from eqssl_jax.measures.retrieval.neighbours import (
    hue_distance,
    hue_draw,
    neighbour_change,
    neighbours,
)
from eqssl_jax.transforms.base import Transform


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    # Far from the origin, where float32 products would lose the distances.
    return rng.normal(size=(30, 6)) + 300, rng.normal(size=(200, 6)) + 300


@pytest.mark.parametrize("chunk", [2**24, 1400])
def test_equal_scikit_learn(rows, chunk, monkeypatch):
    monkeypatch.setattr(retrieval, "_DISTANCES", chunk)
    queries, bank = rows
    expected = NearestNeighbors(n_neighbors=5).fit(bank).kneighbors(queries)[1]
    np.testing.assert_array_equal(neighbours(queries, bank), expected)


def test_no_change_and_full_change(rows):
    queries, bank = rows
    same = neighbour_change(queries, queries, bank)
    assert (same.overlap, same.rank) == (1, 0)
    clusters = np.concatenate([bank, bank + 50])
    moved = neighbour_change(queries, queries + 50, clusters)
    assert (moved.overlap, moved.rank) == (0, 5)
    np.testing.assert_array_equal(moved.before + 200, moved.after)


def test_change_equals_a_loop(rows):
    queries, bank = rows
    after = queries + 0.5 * np.random.default_rng(1).normal(size=queries.shape)
    found = neighbour_change(queries, after, bank, k=4)
    jaccard, ranks = [], []
    for one, two in zip(found.before.tolist(), found.after.tolist(), strict=True):
        jaccard.append(len(set(one) & set(two)) / len(set(one) | set(two)))
        ranks.append(two.index(one[0]) if one[0] in two else 4)
    assert found.overlap == pytest.approx(np.mean(jaccard))
    assert found.rank == pytest.approx(np.mean(ranks))
    assert 0 < found.overlap < 1


def test_hue_distance_is_circular():
    rng = np.random.default_rng(2)
    assert hue_distance(np.array([0.0]), np.array([[0.5, 0.5]])) == 0.5
    assert hue_distance(np.array([1.2]), np.array([[0.2]])) == pytest.approx(0)  # a shifted hue
    unrelated = hue_distance(rng.uniform(size=4000), rng.uniform(size=(4000, 5)))
    assert unrelated == pytest.approx(0.25, abs=0.01)


def test_hue_draw_changes_the_hue_alone():
    identity = {
        "crop": {"top": jnp.zeros(())},
        "jitter": {"hue": jnp.zeros(()), "contrast": jnp.ones(())},
    }
    transform = Transform(lambda key: identity, lambda params, x: x, identity)
    draw = hue_draw(transform, 0.25)
    assert float(draw["jitter"]["hue"]) == 0.25
    assert float(draw["jitter"]["contrast"]) == 1 and float(draw["crop"]["top"]) == 0
    assert float(identity["jitter"]["hue"]) == 0
    assert hue_draw(transform._replace(identity={"crop": identity["crop"]}), 0.25) is None


@pytest.mark.parametrize(
    ("queries", "bank", "k", "message"),
    [
        (np.ones((2, 3)), np.ones((4, 3)), 5, "k must lie in 1 … 4"),
        (np.ones((2, 3)), np.ones((4, 2)), 1, r"\[Q, D\]"),
        (np.ones((0, 3)), np.ones((4, 3)), 1, "empty"),
    ],
)
def test_bad_input_is_named(queries, bank, k, message):
    with pytest.raises(ValueError, match=message):
        neighbours(queries, bank, k=k)
