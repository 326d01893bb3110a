"""Ladders walk one part at a time; what is known of a change is read off, and no more."""

from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from toys import read

from eqssl_jax.data.base import Split
from eqssl_jax.measures import Changes, change_r2, ladder_study, order_accuracy
from eqssl_jax.measures.order.ladders import embed_views
from eqssl_jax.measures.regression.change import change_targets
from eqssl_jax.transforms import Transform, chain, maybe

COUNTS = {"train": 90, "validation": 40, "test": 50}


def lift():
    """Adds a number to the first channel."""
    return Transform(
        lambda key: {"by": jax.random.uniform(key, (), minval=0.2, maxval=0.5)},
        lambda p, x: x.at[..., 0].add(p["by"]),
        {"by": jnp.zeros(())},
    )


def turn():
    """Turns the plane of the second and third channel about 0 by an angle of either sign."""

    def apply(p, x):
        cos, sin = jnp.cos(p["angle"]), jnp.sin(p["angle"])
        a, b = x[..., 1], x[..., 2]
        return jnp.stack([x[..., 0], cos * a - sin * b, sin * a + cos * b], axis=-1)

    return Transform(
        lambda key: {"angle": jax.random.uniform(key, (), minval=-2.0, maxval=2.0)},
        apply,
        {"angle": jnp.zeros(())},
    )


def mirror():
    return Transform(
        lambda key: {"flip": jax.random.bernoulli(key)},
        lambda p, x: jnp.where(p["flip"], x[:, ::-1], x),
        {"flip": np.bool_(False)},
    )


def fixed():
    return Transform(
        lambda key: {"by": jnp.zeros(())}, lambda p, x: x + p["by"], {"by": jnp.zeros(())}
    )


RECIPE = chain(mirror=mirror(), lift=maybe(0.5, lift()), still=fixed(), turn=turn())


def split(name):
    count, rng = COUNTS[name], np.random.default_rng(len(name))
    images = rng.uniform(0.1, 0.3, size=(count, 2, 2, 3)).astype(np.float32)
    images[..., 1:] += np.array([0.5, 0.0], np.float32)
    return Split(count, jnp.asarray(images), read)


def seeing(images):
    mean = jnp.mean(images, axis=(1, 2))
    return mean, mean[:, 1:]


def blind(images):
    ones = jnp.ones((images.shape[0], 2))
    return ones, ones


def deep(images):
    """A layer that sees all, then the first channel only, then nothing."""
    flat = images.reshape(images.shape[0], -1)
    level = jnp.mean(images, axis=(1, 2))[:, :1]
    first = jnp.concatenate([level, jnp.ones_like(level)], axis=1)
    return OrderedDict(stem=flat, features=first, embedding=0 * first + 1)


ENCODERS = {"seeing": seeing, "blind": blind, "deep": deep}
BUDGET = dict(rungs=4, images=48, batch=16)


@pytest.fixture(scope="module")
def splits():
    return {name: split(name) for name in COUNTS}


@pytest.fixture(scope="module")
def studies(splits):
    key = jax.random.key(0)
    return ladder_study(ENCODERS, splits, RECIPE, key, **BUDGET)


def test_only_parts_with_numbers_that_move(studies):
    for study in studies.values():
        assert study.parts == ("lift", "turn")
        assert study.images[1] == 48 and 12 < study.images[0] < 36  # a half of them was lifted
        assert study.order_accuracy.shape == (len(study.layers), 2)
    assert studies["seeing"].layers == ("features", "embedding")
    assert studies["deep"].layers == ("stem", "features", "embedding")


def test_who_sees_a_part_keeps_its_order(studies):
    seeing, blind, deep = (studies[name] for name in ENCODERS)
    # Rows of length 1: along 2 radians of a circle, and towards the first axis, angles grow.
    assert seeing.order_accuracy[0].min() > 0.99 and seeing.kendall_tau[0].min() > 0.99
    assert deep.order_accuracy[0].min() > 0.99
    assert (blind.order_accuracy == 0.5).all() and (blind.kendall_tau == 0).all()
    assert (deep.order_accuracy[2] == 0.5).all()
    # The first channel says all of the lift and nothing of the turn, and only one part walks.
    assert deep.order_accuracy[1, 0] == 1 and deep.order_accuracy[1, 1] == 0.5
    assert seeing.order_accuracy[1, 0] == 0.5


def test_changes_are_read_from_before_and_after(studies):
    seeing, blind = studies["seeing"], studies["blind"]
    assert seeing.magnitude_r2[0, 0] > 0.5  # not 1: a share of a draw that is not known
    assert blind.magnitude_r2.max() < 0.05
    assert set(seeing.change_r2) == {"turn_angle", "turn_angle_per_dimension"}
    assert seeing.change_r2["turn_angle_per_dimension"].min() > 0.8
    assert blind.change_r2["turn_angle_per_dimension"].max() < 0.05
    assert not seeing.skipped


def test_draws_are_the_same_for_all_and_again(splits, studies):
    again = ladder_study({"seeing": seeing}, splits, RECIPE, jax.random.key(0), **BUDGET)["seeing"]
    for drawn, expected in zip(again[2:6], studies["seeing"][2:6], strict=True):
        np.testing.assert_array_equal(drawn, expected)


def test_without_other_splits_there_is_order_but_no_regression(splits):
    two_splits = {"validation": splits["validation"], "train": splits["train"]}
    options = BUDGET | dict(parts=("still", "turn"), held_out="validation")
    study = ladder_study({"seeing": seeing}, two_splits, RECIPE, jax.random.key(0), **options)[
        "seeing"
    ]
    assert study.order_accuracy[0, 1] > 0.99 and np.isnan(study.order_accuracy[0, 0])
    assert np.isnan(study.magnitude_r2).all() and not study.change_r2
    assert set(study.skipped) == {"still", "magnitude_r2_turn"}
    assert "none of 40 draws" in study.skipped["still"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoders": {}}, "needs encoders"),
        ({"rungs": 2}, "rungs=2"),
        ({"held_out": "tests"}, "split 'tests'"),
        ({"parts": ("spin",)}, r"no parts \['spin'\]"),
    ],
)
def test_bad_studies_are_named(splits, options, message):
    given = dict(encoders={"seeing": seeing}, splits=splits, transform=RECIPE) | options
    with pytest.raises(ValueError, match=message):
        ladder_study(**given, key=jax.random.key(0))


def test_untouched_views_are_encoded_once_and_others_always(splits):
    """The first view of a part may be mirrored already: it is then no plain image."""
    recipe = chain(lift=lift(), mirror=mirror())
    chosen, calls = np.arange(50), []

    def corner(images):
        jax.debug.callback(lambda: calls.append(1))
        return images[:, 0, 0], images[:, 0, 1]

    def embed(flip, by, plain):
        params = {
            "mirror": {"flip": np.full((2, 50), flip)},
            "lift": {"by": np.tile(by, (50, 1)).T},
        }
        embedded = embed_views({"corner": Partial(corner)}, splits["test"], recipe, params, chosen,
                            batch=25, plain=plain)  # fmt: skip
        jax.effects_barrier()
        return embedded["corner"]

    by, plain = np.array([0, 0.3], np.float32), {}
    pool = np.asarray(splits["test"].pool)
    for _ in range(2):
        layers = embed(False, by, plain)
        np.testing.assert_array_equal(layers["features"][0], pool[:, 0, 0])
        np.testing.assert_allclose(layers["features"][1, :, 0], pool[:, 0, 0, 0] + 0.3, rtol=1e-6)
    assert len(calls) == 2 + 2 + 2  # two batches: plain once, lifted twice
    layers = embed(True, by, plain)
    np.testing.assert_array_equal(layers["features"][0], pool[:, 0, 1])
    np.testing.assert_array_equal(layers["embedding"][0], pool[:, 0, 0])


def changes(seed, count=200):
    """Features that move by s along ±v; a linear map of both cannot tell s."""
    rng = np.random.default_rng(seed)
    before = rng.normal(size=(count, 4))
    s, sign = rng.uniform(size=count), rng.choice([-1, 1], count)
    after = before + (s * sign)[:, None] * np.array([1.0, 0, -1, 0])[None]
    phase = np.stack([np.cos(s * sign), np.sin(s * sign)], axis=1)
    return Changes(before, after, {"magnitude": s[:, None], "angle": phase})


def test_magnitudes_of_either_sign_are_read():
    scores = change_r2(changes(0), changes(1, 60), changes(2))
    assert set(scores) == {"magnitude", "angle", "angle_per_dimension"}
    assert scores["magnitude"] > 0.999
    assert scores["angle_per_dimension"] > 0.95
    noise = [c._replace(after=np.random.default_rng(9).normal(size=c.after.shape))
             for c in (changes(0), changes(1, 60), changes(2))]  # fmt: skip
    assert change_r2(*noise)["magnitude"] < 0.05


def test_targets_have_no_seam_and_skip_what_is_not_cyclic():
    params = {"part": {"angle": np.array([1e-4, 2 * np.pi - 1e-4]), "by": np.ones(2)}}
    targets = change_targets(params, [0.5, 1.0])
    assert set(targets) == {"magnitude", "angle"}
    assert np.abs(targets["angle"][0] - targets["angle"][1]).max() < 1e-3


def test_bad_changes_are_named():
    good = changes(0, 30)
    level = good._replace(targets={"magnitude": np.ones((30, 1))})
    with pytest.raises(ValueError, match="without variance"):
        change_r2(level, level, level)
    with pytest.raises(ValueError, match=r"same targets.*\['magnitude'\]"):
        change_r2(good, level, good)
    with pytest.raises(ValueError, match=r"\(30, 4\) and \(30, 2\)"):
        change_r2(good._replace(after=good.after[:, :2]), good, good)


def test_the_study_is_its_parts(splits):
    """Order accuracy again, from views rendered by hand."""
    only = chain(turn=turn())
    study = ladder_study({"seeing": seeing}, splits, only, jax.random.key(3), rungs=3, images=50,
                         batch=64)["seeing"]  # fmt: skip
    pool = splits["test"].pool
    for scale in (0.4, 1.0, 2.0):  # all draws keep order here, whichever they were
        angles = jnp.array([0.0, 0.5, 1.0]) * scale
        rendered = [jax.vmap(lambda x, a=a: turn().apply({"angle": a}, x))(pool) for a in angles]
        z = np.stack([np.asarray(seeing(x)[0]) for x in rendered])
        z /= np.linalg.norm(z, axis=-1, keepdims=True)
        magnitude = np.broadcast_to(np.array([0.0, 0.5, 1.0])[:, None], (3, 50))
        assert study.order_accuracy[0, 0] == order_accuracy(z, magnitude) == 1


def test_far_features_cannot_throw_a_prediction_out_of_range():
    test = changes(2)
    far = test._replace(after=1000 * test.after)
    scores = change_r2(changes(0), changes(1, 60), far)
    assert -4 < scores["magnitude"] < 0.5  # in [0, 1], as all magnitudes are
