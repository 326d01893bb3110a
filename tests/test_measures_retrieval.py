"""Neighbours equal a loop; their change is measured between nothing and everything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from eqssl_jax import transforms
from eqssl_jax.data.base import Split
from eqssl_jax.measures.retrieval import neighbours as retrieval
from eqssl_jax.measures.retrieval.colour import (
    hue_distance,
    hue_draw,
    hue_followed,
    hues_of,
    mean_hues,
    trained_shift,
)
from eqssl_jax.measures.retrieval.neighbours import neighbour_change, neighbours
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
    change = neighbour_change(queries, after, bank, k=4)
    jaccard, ranks = [], []
    for first, second in zip(change.before.tolist(), change.after.tolist(), strict=True):
        jaccard.append(len(set(first) & set(second)) / len(set(first) | set(second)))
        ranks.append(second.index(first[0]) if first[0] in second else 4)
    assert change.overlap == pytest.approx(np.mean(jaccard))
    assert change.rank == pytest.approx(np.mean(ranks))
    assert 0 < change.overlap < 1


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


def test_following_the_colour_lies_between_staying_and_going():
    rng = np.random.default_rng(3)
    query, bank = rng.uniform(size=500), rng.uniform(size=4000)
    near = 0.02 * rng.normal(size=(500, 5))
    for shift in (0.1, 1 / 3, -0.25):
        gone = hue_followed(query, shift, query[:, None] + shift + near, bank)
        stayed = hue_followed(query, shift, query[:, None] + near, bank)
        deaf = hue_followed(query, shift, rng.choice(bank, (500, 5)), bank)
        assert gone.share > 0.97 and stayed.share < 0.03
        assert gone.chance == pytest.approx(0.5, abs=0.02) and gone.queries == 500
        assert deaf.share == pytest.approx(deaf.chance, abs=0.04)
    # A bank of one colour is followed as often as chance, whatever was retrieved.
    red = hue_followed(query, 0.25, np.zeros((500, 5)), np.zeros(10))
    assert red.share == pytest.approx(red.chance)
    some = hue_followed(np.array([0.0, np.nan]), 0.25, np.array([[0.25], [0.0]]), bank)
    assert some.share == 1 and some.queries == 1
    with pytest.raises(ValueError, match=r"shift of 1\.0 turns changes no hue"):
        hue_followed(query, 1.0, near, bank)


def test_the_mean_hue_of_a_photograph_moves_with_the_shift():
    rng = np.random.default_rng(4)
    tint = rng.uniform(size=(6, 1, 1, 3)) * 0.7
    images = jnp.asarray(tint + 0.3 * rng.uniform(size=(6, 8, 8, 3)), jnp.float32)
    jitter = transforms.color_jitter(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.5)
    before = np.asarray(jax.jit(mean_hues)(images))
    assert np.isfinite(before).sum() >= 4

    @jax.jit
    def shifted(shift):
        return mean_hues(
            jax.vmap(lambda x: jitter.apply({**jitter.identity, "hue": shift}, x))(images)
        )

    for shift in (0.1, -0.3):
        after = np.asarray(shifted(np.float32(shift)))
        with_hue = np.isfinite(before) & np.isfinite(after)
        assert with_hue.sum() >= 4
        assert hue_distance(before[with_hue] + shift, after[with_hue][:, None]) < 2e-3
    grey = jnp.full((1, 4, 4, 3), 0.4)
    assert np.isnan(mean_hues(grey)).all()
    split = Split(6, images, lambda pool, rows: pool[rows])
    np.testing.assert_allclose(hues_of(split, np.array([4, 1]), batch=2), before[[4, 1]])
    with_hue = split._replace(factors={"hue": np.arange(6) / 6})
    np.testing.assert_array_equal(hues_of(with_hue, np.array([3])), [0.5])
    single = Split(2, jnp.zeros((2, 4, 4, 1)), lambda pool, rows: pool[rows])
    assert np.isnan(hues_of(single, np.arange(2), batch=2)).all()


def test_the_default_shift_is_one_that_the_recipe_draws():
    for most, expected in ((0.1, 0.1), (0.5, 1 / 3), (0.0, 0.0)):
        recipe = transforms.chain(
            jitter=transforms.maybe(0.8, transforms.color_jitter(hue=most)),
            flip=transforms.horizontal_flip(),
        )
        shift = trained_shift(recipe)
        assert shift <= most and shift == pytest.approx(expected, rel=0.05)
    assert trained_shift(transforms.chain(flip=transforms.horizontal_flip())) == 0


@pytest.mark.parametrize(
    ("queries", "bank", "k", "message"),
    [
        (np.ones((2, 3)), np.ones((4, 3)), 5, "k must lie in 1 … 4"),
        (np.ones((2, 3)), np.ones((4, 2)), 1, r"\[Q, D\]"),
        (np.ones((0, 3)), np.ones((4, 3)), 1, "empty"),
        (np.full((2, 3), np.nan), np.ones((4, 3)), 1, "queries holds NaN .* in 2 of 2 rows"),
    ],
)
def test_bad_input_is_named(queries, bank, k, message):
    with pytest.raises(ValueError, match=message):
        neighbours(queries, bank, k=k)
