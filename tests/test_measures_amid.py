"""Order amid other changes: 1 for who holds the part, ½ for who sees only the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import read, recipe

from eqssl_jax.data.base import Split
from eqssl_jax.measures import ladder_study
from eqssl_jax.measures.order.ladders import draw_ladders

# Every image is this one, of two channels: their difference tells the factor, and then the shift.
PLAIN = np.tile(np.array([1.0, 0.0], np.float32), (1000, 2, 2, 1))


def position(images):
    x = images[:, 0, 0]
    factor = x[:, 0] - x[:, 1]
    return x[:, 1] / factor, jnp.log(factor)  # ((1 + by) · factor, by · factor) undone


def on_a_circle(angle):
    # Of length 1, as the study makes them; within half a turn the order of angles is kept.
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)


def by_shift(images):
    row = on_a_circle(position(images)[0])
    return row, jnp.ones_like(row)


def by_scale(images):
    row = on_a_circle(position(images)[1])
    return row, images.reshape(len(images), -1)


def by_both(images):
    shift, scale = position(images)
    weak = on_a_circle(shift + 0.02 * scale)
    return weak, on_a_circle(shift + 2 * scale)


@pytest.fixture(scope="module")
def studies():
    splits = {"test": Split(len(PLAIN), jnp.asarray(PLAIN), read)}
    encoders = {"shift": by_shift, "scale": by_scale, "both": by_both}
    return ladder_study(encoders, splits, recipe(), jax.random.key(0), rungs=5, batch=500)


def test_who_holds_the_part_alone_keeps_its_order_amid_others(studies):
    for name, column in (("shift", 0), ("scale", 1)):
        study = studies[name]
        assert study.parts == ("shift", "scale") and study.order_accuracy_amid.shape == (2, 2)
        assert study.order_accuracy_amid[0, column] == study.order_accuracy[0, column] == 1


def test_who_sees_only_the_others_is_at_chance_and_who_sees_nothing_exactly(studies):
    for name, column in (("shift", 1), ("scale", 0)):
        # The others at rest leave float noise or ties; drawn anew they are in no order.
        assert studies[name].order_accuracy_amid[0, column] == pytest.approx(0.5, abs=0.03)
    assert (studies["shift"].order_accuracy_amid[1] == 0.5).all()


def test_only_amid_others_is_near_invariance_told_from_order(studies):
    study = studies["both"]
    assert study.order_accuracy[0].min() > 0.999  # a fiftieth of the change is enough at rest
    assert study.order_accuracy_amid[0, 0] > 0.9
    assert study.order_accuracy_amid[0, 1] == pytest.approx(0.5, abs=0.03)
    assert study.order_accuracy_amid[1, 0] < 0.6 and study.order_accuracy_amid[1, 1] > 0.7


def test_the_same_ladders_are_walked_and_all_others_are_drawn_anew():
    counts = {"train": 20, "validation": 10, "test": 30}
    walks = draw_ladders(recipe(), jax.random.key(1), ("shift", "scale"), 4, counts)
    for part, leaf, other, name in (("shift", "by", "scale", "factor"),
                                    ("scale", "factor", "shift", "by")):  # fmt: skip
        clean, amid = walks.clean[part]["test"], walks.amid[part]
        np.testing.assert_array_equal(amid.magnitude, clean.magnitude)
        np.testing.assert_array_equal(amid.params[part][leaf], clean.params[part][leaf])
        walk = clean.params[part][leaf]
        identity = float(recipe().identity[part][leaf])
        even = np.linspace(0, 1, 4)[:, None]
        np.testing.assert_allclose(walk, identity + even * (walk[-1:] - identity), rtol=1e-5)
        np.testing.assert_array_equal(clean.magnitude, np.broadcast_to(even, (4, 30)).astype("f4"))
        assert np.unique(clean.params[other][name]).size == 1
        assert np.unique(amid.params[other][name]).size == 4 * 30
