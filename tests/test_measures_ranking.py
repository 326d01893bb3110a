"""Ranks equal a count by hand; means have the values that their definitions fix."""

import numpy as np
import pytest

from eqssl_jax.measures.retrieval import neighbours


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal(size=(40, 9)).round(1)  # rounded: some are equal


def test_ranks_equal_a_double_loop(scores):
    targets = np.random.default_rng(1).integers(0, 9, size=40)
    expected = []
    for row, target in zip(scores, targets, strict=True):
        # Mean place of the target over both orders that ties can be put in.
        first = 1 + sum(s > row[target] for s in row)
        last = sum(s >= row[target] for s in row)
        expected.append((first + last) / 2)
    assert any(rank % 1 for rank in expected)  # ties there are
    np.testing.assert_array_equal(neighbours.target_ranks(scores, targets), expected)


def test_extremes(scores):
    scores = scores + 1e-3 * np.arange(9)  # no ties
    best, worst = scores.argmax(axis=1), scores.argmin(axis=1)
    ranks = neighbours.target_ranks(scores, best)
    assert neighbours.reciprocal_rank(ranks) == neighbours.hits_at(ranks, 1) == 1
    ranks = neighbours.target_ranks(scores, worst)
    assert neighbours.reciprocal_rank(ranks) == pytest.approx(1 / 9)
    assert neighbours.hits_at(ranks, 8) == 0 and neighbours.hits_at(ranks, 9) == 1


def test_a_collapsed_encoder_gains_nothing_from_ties():
    ranks = neighbours.target_ranks(np.ones((5, 50)), np.arange(5))
    assert (ranks == 25.5).all()
    assert neighbours.hits_at(ranks, 5) == 0
    assert neighbours.reciprocal_rank(ranks) < neighbours.chance_reciprocal_rank(50)


def test_chance_is_what_random_scores_give():
    drawn = np.random.default_rng(2).uniform(size=(20_000, 10))
    ranks = neighbours.target_ranks(drawn, np.zeros(20_000, int))
    chance = neighbours.chance_reciprocal_rank(10)
    assert neighbours.reciprocal_rank(ranks) == pytest.approx(chance, abs=0.01)
    assert neighbours.hits_at(ranks, 3) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: neighbours.target_ranks(np.ones(3), np.zeros(3, int)), r"found shapes \(3,\)"),
        (lambda: neighbours.target_ranks(np.ones((0, 3)), np.zeros(0, int)), "a query"),
        (lambda: neighbours.target_ranks(np.ones((2, 3)), np.array([0, 3])), r"0 … 2"),
        (lambda: neighbours.target_ranks(np.full((1, 3), np.nan), np.array([0])), "diverged"),
        (lambda: neighbours.reciprocal_rank(np.array([0.0])), "from 1"),
        (lambda: neighbours.reciprocal_rank(np.array([])), "from 1"),
        (lambda: neighbours.hits_at(np.ones(3), 0), "k=0"),
        (lambda: neighbours.chance_reciprocal_rank(0), "found 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
