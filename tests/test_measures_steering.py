"""R(p): a rotation for any p, found where there is one, and of no help where there is none."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from eqssl_jax.data.base import Split
from eqssl_jax.measures import (
    Drawn,
    fit_steering,
    steering_errors,
    steering_rotations,
    steering_study,
)
from eqssl_jax.measures.cards import Number
from eqssl_jax.measures.steering import study as study_file
from eqssl_jax.measures.steering.basis import basis, coefficients, magnitude
from eqssl_jax.measures.steering.steering import CARD
from eqssl_jax.measures.steering.views import among_images, among_views, draw_part
from eqssl_jax.tabular.metrics import describe, member
from eqssl_jax.transforms.base import Transform

D = 4
STILL = {"angle": np.zeros(())}
FAST = {"penalties": (1e-4,), "iterations": 30}
LINEAR = {**FAST, "families": ("linear",)}


def generator():
    """Two planes that turn once and twice with the angle, in oblique coordinates."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
    plane = np.array([[0.0, -1], [1, 0]])
    return q @ linalg.block_diag(plane, 2 * plane) @ q.T


def rows(seed, n):
    f = np.random.default_rng(seed).normal(size=(n, D))
    return f / np.linalg.norm(f, axis=1, keepdims=True)


def turned(seed, draws, n=30, *, most=np.pi, shuffle=False):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-most, most, draws)
    f = rows(seed + 100, n)
    after = f @ linalg.expm(angle[:, None, None] * generator()).mT
    return Drawn(f, after, {"angle": rng.permutation(angle) if shuffle else angle})


@pytest.fixture(scope="module")
def fitted():
    return fit_steering(turned(1, 40), turned(2, 12), STILL, **FAST)


def test_an_equivariant_encoder_is_steered_on_draws_and_images_never_seen(fitted):
    test = turned(3, 20)
    assert steering_errors(fitted, test).max() < 0.02
    still = np.linalg.norm(test.after - test.before, axis=(1, 2)) / np.sqrt(30)
    assert still.mean() > 0.8
    assert fitted.family == "linear"  # the group is exp(angle G); the simplest of equals


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0, 50.0])
def test_a_rotation_for_any_parameter(fitted, scale):
    angles = scale * np.random.default_rng(0).normal(size=6)
    r = steering_rotations(fitted, {"angle": angles})
    np.testing.assert_allclose(r @ r.mT, np.broadcast_to(np.eye(D), r.shape), atol=1e-10)
    np.testing.assert_allclose(np.linalg.det(r), 1, atol=1e-10)
    np.testing.assert_array_equal(fitted.generators, -fitted.generators.swapaxes(1, 2))


def test_the_identity_is_exact(fitted):
    r = steering_rotations(fitted, {"angle": np.zeros(3)})
    np.testing.assert_array_equal(r, np.broadcast_to(np.eye(D), r.shape))


def test_rotations_compose(fitted):
    first, second, composed = steering_rotations(fitted, {"angle": np.array([0.7, -1.9, -1.2])})
    np.testing.assert_allclose(second @ first, composed, atol=0.02)


def test_beyond_the_range_of_the_fit():
    fit = fit_steering(turned(1, 40, most=1.5), turned(2, 12, most=1.5), STILL, **LINEAR)
    far = turned(3, 20)
    far = Drawn(far.before, far.after[abs(far.params["angle"]) > 1.5], {
        "angle": far.params["angle"][abs(far.params["angle"]) > 1.5]})  # fmt: skip
    assert steering_errors(fit, far).max() < 0.05


def test_shuffled_parameters_do_not_help():
    fit = fit_steering(turned(1, 150, shuffle=True), turned(2, 12), STILL, **LINEAR)
    test = turned(3, 20)
    still = np.linalg.norm(test.after - test.before, axis=(1, 2)) / np.sqrt(30)
    assert steering_errors(fit, test).mean() > 0.85 * still.mean()


def test_coefficients_by_hand():
    identity = {"gain": np.ones(()), "flip": np.bool_(False), "hue": np.zeros(()),
                "order": np.arange(4)}  # fmt: skip
    draws = {"gain": np.array([1.0, 3.0]), "flip": np.array([True, False]),
             "hue": np.array([0.25, 0.0]), "order": np.arange(8).reshape(2, 4)}  # fmt: skip
    fitted_basis = basis(draws, identity)
    raw = coefficients(fitted_basis, draws) * fitted_basis.scale
    # gain, hue | flip | sin, cos − 1 of one and two phases | gain², hue², hue flip
    expected = [[0, 0.25, 1, 1, -1, 0, -2, 0, 0.0625, 0.25], [2, 0, 0, 0, 0, 0, 0, 4, 0, 0]]
    kept = np.array(expected)[:, np.any(np.abs(expected) > 0, axis=0)]
    np.testing.assert_allclose(raw[:, np.any(np.abs(raw) > 1e-9, axis=0)], kept, atol=1e-9)
    still = {name: np.asarray(value)[None] for name, value in identity.items()}
    np.testing.assert_array_equal(coefficients(fitted_basis, still), np.zeros((1, raw.shape[1])))
    assert magnitude(fitted_basis, still) == 0 and (magnitude(fitted_basis, draws) > 0).all()
    np.testing.assert_allclose(np.mean(coefficients(fitted_basis, draws) ** 2, axis=0), 1)


def test_ranks_are_those_of_a_double_loop():
    rng = np.random.default_rng(0)
    query, after = rng.normal(size=(2, 3, 7, D))
    retrieval, views = among_images(query, after), among_views(query, after)
    for t in range(3):
        ranks = [
            1 + sum(query[t, i] @ after[t, j] > query[t, i] @ after[t, i] for j in range(7))
            for i in range(7)
        ]
        assert retrieval.measures["mrr"][t] == pytest.approx(np.mean(1 / np.array(ranks)))
        assert retrieval.measures["hit5"][t] == pytest.approx(np.mean(np.array(ranks) <= 5))
        ranks = [
            1 + sum(query[t, i] @ after[s, i] > query[t, i] @ after[t, i] for s in range(3))
            for i in range(7)
        ]
        assert views.measures["hit1"][t] == pytest.approx(np.mean(np.array(ranks) <= 1))
    assert retrieval.chance == pytest.approx({"mrr": 2.592857 / 7, "hit1": 1 / 7, "hit5": 5 / 7})


def test_one_query_for_all_draws_is_at_chance_and_ties_are_no_gain():
    after = np.random.default_rng(0).normal(size=(5, 6, D))
    same = np.broadcast_to(after[0], after.shape)
    retrieval = among_views(same, after)
    assert retrieval.measures["mrr"].mean() == pytest.approx(retrieval.chance["mrr"])
    constant = among_images(np.ones((1, 7, D)), np.ones((1, 7, D)))
    assert constant.measures["mrr"][0] == pytest.approx(1 / 4)  # the middle of seven places
    exact = among_images(after, after / np.linalg.norm(after, axis=-1, keepdims=True))
    assert exact.measures["hit5"].min() > 0.5


# A study: images are four numbers, which a draw turns; the embedding is the image.
POOL = jnp.asarray(rows(7, 90), jnp.float32)
SPLITS = {
    name: Split(30, POOL[start : start + 30], lambda pool, i: pool[i].reshape(-1, 2, 2, 1))
    for name, start in (("train", 0), ("validation", 30), ("test", 60))
}
G = jnp.asarray(generator(), jnp.float32)


def turn(params, x):
    r = jax.scipy.linalg.expm(params["turn"]["angle"] * G, max_squarings=6)
    return (r @ x.reshape(-1) + params["noise"]["by"]).reshape(x.shape)


TURN = Transform(
    lambda key: {
        "turn": {"angle": jax.random.uniform(key, minval=-2.0, maxval=2.0)},
        "noise": {"by": 0.1 * jax.random.normal(jax.random.fold_in(key, 1))},
        "flip": {"flip": jax.random.bernoulli(key)},
    },
    turn,
    {
        "turn": {"angle": np.float32(0)},
        "noise": {"by": np.float32(0)},
        "flip": {"flip": np.bool_(False)},
    },
)


def image(x):
    flat = x.reshape(len(x), -1)
    return flat, flat


def scrambled(x):
    """A random function of the image: no rotation leads from one value to another."""
    flat = jnp.sin(900 * x.reshape(len(x), -1) @ jnp.asarray(rows(9, D), jnp.float32))
    return flat, flat


def wide(x):
    flat = jnp.tile(x.reshape(len(x), -1), (1, 10))
    return flat, flat


def dead(x):
    flat = jnp.zeros((len(x), D))
    return flat, flat


@pytest.fixture(scope="module")
def studies():
    with pytest.MonkeyPatch.context() as patch:  # all families and penalties, in fewer iterations
        patch.setattr(study_file, "fit_steering", partial(fit_steering, iterations=30))
        return steering_study(
            {"image": image, "scrambled": scrambled, "wide": wide, "dead": dead}, SPLITS, TURN,
            jax.random.key(0), part="turn", draws=24, images=30, batch=30,
        )  # fmt: skip


def test_a_study_of_an_equivariant_encoder(studies):
    means = {name: values.mean() for name, values in studies["image"].measures.items()}
    assert means["error"] < 0.05 < 0.5 < means["error_identity"]
    assert means["error_wahba"] < 1e-3 and means["error_wahba_test"] < 1e-3
    assert means["error_mean"] > 0.3
    assert means["mrr"] > 0.98 > means["mrr_unsteered"]
    assert means["view_hit1"] > 0.9
    assert means["view_mrr_unsteered"] == pytest.approx(studies["image"].chance["view_mrr"])
    assert means["composition"] < 0.1 < 0.5 < means["composition_identity"]
    assert means["composition_wahba"] < 1e-3 and means["composition_on_data"] < 0.1
    assert means["beyond"] < 0.2 < means["beyond_identity"]


def test_a_study_of_a_random_encoder(studies):
    means = {name: values.mean() for name, values in studies["scrambled"].measures.items()}
    assert means["error"] > 0.95 * min(means["error_identity"], means["error_mean"])
    assert means["mrr"] < 2 * studies["scrambled"].chance["mrr"]


def test_what_cannot_be_steered_has_a_reason(studies):
    assert studies["dead"] == "some embeddings are 0, which no rotation moves"
    assert studies["wide"] == "needs more than 40 images, the dimension of embeddings; found 30"


def test_draws_of_a_part_alone_are_those_it_has_together():
    alone, together = (draw_part(TURN, jax.random.key(0), part, 32) for part in ("turn", "all"))
    for part_draws, all_draws in zip(alone, together, strict=True):
        np.testing.assert_array_equal(part_draws["turn"]["angle"], all_draws["turn"]["angle"])
        assert not part_draws["noise"]["by"].any() and all_draws["noise"]["by"].all()
        assert not part_draws["flip"]["flip"].any()
    assert [len(part_draws["turn"]["angle"]) for part_draws in alone] == [32, 8, 8]


def test_public_names_and_the_share_closed(studies):
    seen = {
        name: SimpleNamespace(shared=lambda work, study=study: {"turn": study})
        for name, study in studies.items()
    }
    image, other, no = (CARD.measure(seen[name]) for name in ("image", "scrambled", "wide"))
    assert image.numbers["steering_closed_turn"].value > 0.95
    assert image.numbers["steering_composition_closed_turn"].value > 0.9
    assert other.numbers.get("steering_closed_turn", Number(0.0)).value < 0.1
    assert not no.numbers and "more than 40 images" in no.missing["steering_turn"]
    measures = studies["image"].measures
    number = image.numbers["steering_error_turn"]
    assert number.n == 8 and number.value == pytest.approx(measures["error"].mean())
    expected = 1 - number.value / measures["error_identity"].mean()  # Wahba's error is 0 here
    assert image.numbers["steering_closed_turn"].value == pytest.approx(expected, abs=1e-3)
    for name in image.numbers:
        assert member(name).part == "turn" and "turn" in describe(name).title, name
    assert image.chance["steering_mrr_turn"] == pytest.approx(np.mean(1 / np.arange(1, 31)))
    plain = image.details["steering"]["turn"]
    assert len(plain["measures"]["error"]) == len(plain["magnitude"]) == 8
    assert no.details["steering"] == {}


def bad(which):
    train, validation = turned(1, 10), turned(2, 8)
    if which == "images":
        return Drawn(train.before[:D], train.after[:, :D], train.params), validation
    if which == "draws":
        return turned(1, 5), validation
    if which == "nan":
        return Drawn(train.before, train.after * np.nan, train.params), validation
    if which == "length":
        return Drawn(2 * train.before, 2 * train.after, train.params), validation
    if which == "params":
        return Drawn(train.before, train.after, {"angle": np.zeros(3)}), validation
    if which == "still":
        return Drawn(train.before, train.after, {"angle": np.zeros(10)}), validation
    return Drawn(train.before, train.after, {"angle": np.full(10, np.nan)}), validation


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("images", "4 images do not determine rotations of 4 dimensions"),
        ("draws", "at least 8 draws"),
        ("nan", "NaN or infinite"),
        ("length", "lengths 2"),
        ("params", "needs its parameters"),
        ("still", "real number and differs"),
        ("unknown", "Draws hold NaN"),
    ],
)
def test_bad_input_is_named(which, message):
    with pytest.raises(ValueError, match=message):
        fit_steering(*bad(which), STILL)


def test_discrete_parameters_alone_are_refused():
    draws = {"flip": np.array([True, False] * 5), "order": np.arange(40).reshape(10, 4)}
    with pytest.raises(ValueError, match=r"flip \(bool\), order \(int64\) over 10 draws"):
        basis(draws, {"flip": np.bool_(False), "order": np.arange(4)})


def test_bad_studies_are_named():
    with pytest.raises(ValueError, match=r"'spin',\): choose from 'all'"):
        steering_study({"image": image}, SPLITS, TURN, jax.random.key(0), part="spin")
    with pytest.raises(ValueError, match="at least 8 draws and the splits train and test"):
        steering_study({"image": image}, {}, TURN, jax.random.key(0), draws=8)
    why = steering_study({"image": image}, SPLITS, TURN, jax.random.key(0), part="flip", draws=8)
    assert "needs a parameter that is a real number" in why["image"]
    with pytest.raises(ValueError, match="takes families of"):
        fit_steering(turned(1, 10), turned(2, 8), STILL, families=("cubic",))
    with pytest.raises(ValueError, match="same transformation"):
        fitted_basis = basis(turned(1, 10).params, STILL)
        coefficients(fitted_basis, {"a": np.zeros(3), "b": np.zeros(3)})
