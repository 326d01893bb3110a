"""EquiMod's gain: equal to a double loop, and 0 (1) exactly where the prediction is no move."""

import math

import numpy as np
import pytest

from eqssl_jax.measures import displacement_gain


@pytest.fixture
def embeddings():
    """y_t, ŷ_t and y_0, of any length: the measure is of directions."""
    return np.random.default_rng(0).normal(size=(3, 30, 5)) * 3


def cosine(a, b):
    inner = sum(x * y for x, y in zip(a, b, strict=True))
    return inner / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_equal_to_a_double_loop(embeddings):
    after, guess, before = embeddings
    rows = list(zip(after, guess, before, strict=True))
    gains = [cosine(t, p) - cosine(t, o) for t, p, o in rows]
    ratios = [(1 - cosine(t, o)) / (1 - cosine(t, p)) for t, p, o in rows]
    gain = displacement_gain(after, guess, before)
    assert gain.absolute == pytest.approx(sum(gains) / 30)
    assert gain.relative == pytest.approx(sum(ratios) / 30)
    assert gain.dropped == 0


def test_no_move_gains_nothing(embeddings):
    after, _, before = embeddings
    gain = displacement_gain(after, 2 * before, before)
    assert gain.absolute == pytest.approx(0, abs=1e-15)
    assert gain.relative == pytest.approx(1)


def test_a_better_prediction_gains_and_a_worse_one_loses(embeddings):
    after, noise, before = embeddings
    near = displacement_gain(after, after + 0.1 * noise, before)
    assert near.absolute > 0 and near.relative > 1
    far = displacement_gain(after, -after, before)
    assert far.absolute < 0 and far.relative < 1


def test_exact_predictions_are_counted_not_divided_by(embeddings):
    after, guess, before = embeddings
    half = np.concatenate([after[:15], guess[15:]])
    gain = displacement_gain(after, half, before)
    of_others = displacement_gain(after[15:], guess[15:], before[15:])
    assert gain.dropped == 15 and gain.relative == pytest.approx(of_others.relative)
    exact = displacement_gain(after, after, before)
    assert exact.dropped == 30 and math.isnan(exact.relative) and exact.absolute > 0


def test_bad_input_is_named(embeddings):
    after, guess, before = embeddings
    with pytest.raises(ValueError, match=r"\(30, 5\), \(29, 5\)"):
        displacement_gain(after, guess[:29], before)
    with pytest.raises(ValueError, match="must all be"):
        displacement_gain(*embeddings[:, :0])
    with pytest.raises(ValueError, match="floor"):
        displacement_gain(after, guess, before, floor=0)
    with pytest.raises(ValueError, match="predicted has an embedding without a direction"):
        displacement_gain(after, 0 * guess, before)
    with pytest.raises(ValueError, match="y_0 has"):
        displacement_gain(after, guess, before * np.nan)
