"""Order is counted triplet by triplet, and is 1, ½ or 0 exactly when it should be."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from eqssl_jax.measures import kendall_tau, order_accuracy, sequence_orders
from eqssl_jax.measures.order.accuracy import ladder_orders

V, N, D = 5, 7, 3


@pytest.fixture
def ladders():
    rng = np.random.default_rng(0)
    magnitude = np.sort(rng.uniform(size=(V, N)), axis=0)
    # Coarse steps, so that some distances tie.
    return rng.integers(0, 3, size=(V, N, D)).astype(np.float32), magnitude


def score(near, far):
    return 1.0 if near < far else 0.5 if near == far else 0.0


def distance(a, b):
    return float(np.sqrt(np.sum((a.astype(float) - b.astype(float)) ** 2)))


def test_equals_a_triple_loop(ladders):
    z, magnitude = ladders
    scores = [
        score(distance(z[i, n], z[j, n]), distance(z[i, n], z[k, n]))
        for n in range(N)
        for i in range(V)
        for j in range(V)
        for k in range(V)
        if i < j < k or k < j < i
    ]
    assert len(set(scores)) == 3  # ties are among them
    assert order_accuracy(z, magnitude) == pytest.approx(np.mean(scores))


def test_tau_is_tau_a_and_without_ties_every_tau(ladders):
    z, magnitude = ladders
    pairs = [(a, b) for a in range(1, V) for b in range(a + 1, V)]
    expected = [
        np.mean([np.sign(distance(z[b, n], z[0, n]) - distance(z[a, n], z[0, n]))
                 for a, b in pairs])
        for n in range(N)
    ]  # fmt: skip
    np.testing.assert_allclose(ladder_orders(z, magnitude).tau, expected)
    smooth = np.random.default_rng(1).normal(size=(V, N, D))
    taus = [
        kendalltau([distance(x, smooth[0, n]) for x in smooth[1:, n]], magnitude[1:, n]).statistic
        for n in range(N)
    ]
    assert kendall_tau(smooth, magnitude) == pytest.approx(np.mean(taus))
    assert -1 < np.mean(taus) < 1


def test_ends_of_the_scale(ladders):
    magnitude = ladders[1]
    line = magnitude[..., None] * np.array([2.0, -1.0, 0.5])[None, None]
    assert order_accuracy(line, magnitude) == kendall_tau(line, magnitude) == 1
    # Back and forth: the farther rung is always the nearer one, from the lowest.
    falling = np.concatenate([np.zeros((1, N, 1)), 2 - magnitude[1:, :, None]])
    assert kendall_tau(falling, magnitude) == -1
    constant = np.ones((V, N, D))
    assert order_accuracy(constant, magnitude) == 0.5
    assert kendall_tau(constant, magnitude) == 0


def test_three_rungs_can_be_all_wrong():
    magnitude = np.array([0.0, 0.5, 1.0])[:, None]
    for middle, expected in ((5.0, 0), (2.0, 0.25), (1.5, 0.5), (1.0, 0.75), (0.5, 1)):
        z = np.array([0.0, middle, 1.0])[:, None, None]
        assert order_accuracy(z, magnitude) == expected


def test_a_reversed_ladder_keeps_its_order(ladders):
    """Triplets look both ways: the order is that of the rungs, not of where one starts."""
    z, magnitude = ladders
    back = order_accuracy(z[::-1], 1 - magnitude[::-1])
    assert back == pytest.approx(order_accuracy(z, magnitude))


def test_invariances():
    rng = np.random.default_rng(2)
    z, magnitude = rng.normal(size=(V, N, D)), np.sort(rng.uniform(size=(V, N)), axis=0)
    turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
    order = rng.permutation(N)
    for measure in (order_accuracy, kendall_tau):
        value = measure(z, magnitude)
        assert 0 < abs(value) < 1
        assert measure(3 * z @ turn + 1, magnitude) == pytest.approx(value)
        assert measure(z[:, order], magnitude[:, order]) == pytest.approx(value)
        assert measure(z, magnitude**2) == pytest.approx(value)


def test_images_that_were_not_changed_do_not_count(ladders):
    z, magnitude = ladders
    some = magnitude.copy()
    some[:, [1, 4]] = 0
    kept = [0, 2, 3, 5, 6]
    for measure in (order_accuracy, kendall_tau):
        assert measure(z, some) == pytest.approx(measure(z[:, kept], magnitude[:, kept]))
    none = np.zeros_like(magnitude)
    assert ladder_orders(z, none).accuracy.shape == (0,)
    for measure in (order_accuracy, kendall_tau):
        with pytest.raises(ValueError, match="all 7 images are 0"):
            measure(z, none)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z, s: (z[:2], s[:2]), r"V ≥ 3 rungs, found \(2, 7, 3\)"),
        (lambda z, s: (z, s[:, :3]), r"\(5, 7, 3\) and \(5, 3\)"),
        (lambda z, s: (z[..., 0], s), r"\(5, 7\) and"),
        (lambda z, s: (z, s[::-1]), "image 0 has"),
        (lambda z, s: (z, np.where(np.arange(N) == 2, 0.5, s)), "image 2 has .*none twice"),
        (lambda z, s: (np.where(z == 1, np.nan, z), s), "NaN"),
        (lambda z, s: (z, np.where(s == s.max(), np.inf, s)), "infinite"),
    ],
)
def test_bad_ladders_are_named(ladders, change, message):
    for measure in (order_accuracy, kendall_tau):
        with pytest.raises(ValueError, match=message):
            measure(*change(*ladders))


def turns(counts=(6, 9), seed=0):
    rng = np.random.default_rng(seed)
    sequence = np.repeat(np.arange(len(counts)), counts)
    return rng.uniform(-10, 10, len(sequence)), sequence


def test_turns_equal_a_loop():
    angle, sequence = turns()
    z = np.random.default_rng(1).normal(size=(len(angle), 2))
    window, by_sequence = 2.0, []
    for name in (0, 1):
        rows, scores = np.flatnonzero(sequence == name), []
        for i in rows:
            for j in rows:
                for k in rows:
                    a, b = (np.angle(np.exp(1j * (angle[m] - angle[i]))) for m in (j, k))
                    if a * b > 0 and abs(a) < abs(b) <= window:
                        scores.append(score(distance(z[i], z[j]), distance(z[i], z[k])))
        by_sequence.append(np.mean(scores))
    assert sequence_orders(z, angle, sequence, window=window) == pytest.approx(by_sequence)


def test_a_circle_keeps_the_order_of_turns():
    angle, sequence = turns((12, 20, 15))
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    assert sequence_orders(circle, angle, sequence).tolist() == [1, 1, 1]
    # Half a turn brings an object with this symmetry back: order holds for a quarter only.
    twice = np.stack([np.cos(2 * angle), np.sin(2 * angle)], axis=1)
    assert sequence_orders(twice, angle, sequence).min() == 1
    assert sequence_orders(twice, angle, sequence, window=np.pi).mean() < 0.9
    assert sequence_orders(np.ones((47, 2)), angle, sequence).tolist() == [0.5, 0.5, 0.5]
    shuffled = np.random.default_rng(0).permutation(47)
    same = sequence_orders(twice[shuffled], angle[shuffled], sequence[shuffled], window=3)
    assert same == pytest.approx(sequence_orders(twice, angle, sequence, window=3))


def test_equal_angles_have_no_order():
    angle = np.array([0.0, 0.2, 0.2 + 2 * np.pi])
    sequence, z = np.zeros(3, int), np.arange(3.0)[:, None]
    assert sequence_orders(z, angle.astype(np.float32), sequence).shape == (0,)


def test_sequences_without_a_triplet_are_passed_over():
    angle, sequence = turns((2, 9))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert sequence_orders(circle, angle, sequence).tolist() == [1]
    assert sequence_orders(circle[:2], angle[:2], sequence[:2]).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"angle": np.array([0, np.nan, 1, np.nan])}, "2 of 4 frames have no angle"),
        ({"angle": np.zeros(3)}, r"\(4, 2\), \(3,\) and \(4,\)"),
        ({"sequence": np.zeros(5)}, r"and \(5,\)"),
        ({"window": 0.0}, "window"),
        ({"window": 90.0}, "radians, found 90"),
        ({"z": np.full((4, 2), np.nan)}, "diverged"),
    ],
)
def test_bad_turns_are_named(change, message):
    given = {"z": np.ones((4, 2)), "angle": np.arange(4.0), "sequence": np.zeros(4)} | change
    with pytest.raises(ValueError, match=message):
        sequence_orders(**given)
