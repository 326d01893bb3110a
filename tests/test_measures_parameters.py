"""R² has the meaning its name says, and factors are recovered exactly when they are there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference
from sklearn.metrics import r2_score

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures import evaluate, settings
from eqssl_jax.measures.features import Features
from eqssl_jax.measures.regression.factors import factor_r2, factor_targets, r2, ridge
from eqssl_jax.measures.regression.parameters import CARD, parameter_changes
from eqssl_jax.transforms.base import Transform, chain


def brightness_and_blur():
    """A recipe whose draws are added to two pixels, where an encoder can see them."""

    def sample(key):
        low, high = jax.random.uniform(key, (2,))
        return {"sigma": 2 * low, "brightness": 0.5 + high, "contrast": 1 + low, "hue": high,
                "saturation": 1 + high}  # fmt: skip

    def apply(draw, x):
        return x.at[0, 0].add(draw["sigma"]).at[0, 1].add(draw["brightness"])

    identity = {"sigma": 0.0, "brightness": 1.0, "contrast": 1.0, "hue": 0.0, "saturation": 1.0}
    return chain(both=Transform(sample, apply, identity))


@pytest.mark.slow
def test_changes_of_parameters_are_read_off_an_encoder_that_shows_them_and_no_other():
    images = jnp.zeros((300, 2, 2, 1))
    split = Split(300, images, lambda pool, rows: pool[rows])
    held = split._replace(size=100)
    data = Dataset("flat", (2, 2, 1), (), (0.0,), (1.0,),
                   {"train": split, "validation": held, "test": held})  # fmt: skip
    encoders = {
        "shows": lambda x: (x.reshape(len(x), 4),) * 2,
        "hides": lambda x: (0 * x.reshape(len(x), 4),) * 2,
    }
    options = {"parameter_images": 300, "relative_hidden": 16, "relative_steps": 300}
    chosen = settings("quick", cards=(CARD,), **options)
    result = evaluate(encoders, data, brightness_and_blur(), None, settings=chosen, cards=(CARD,))[
        0
    ]
    shown, hidden = (result["encoders"][name] for name in encoders)
    for name in ("parameters_r2_blur", "parameters_r2_jitter", "parameters_r2_jitter_validation"):
        assert shown[name]["value"] > 0.3 > 0.2 > hidden[name]["value"], name
    other = shown["parameters_r2_jitter"]["value"]  # of draws that no choice of weights looks at
    assert shown["parameters_r2_jitter_validation"]["value"] != other
    assert shown["parameters_mse_jitter"]["value"] < hidden["parameters_mse_jitter"]["value"]
    assert "parameters_r2_crop" not in shown  # the recipe has none


def test_scaled_changes_are_those_of_parameters_over_their_norm():
    a, b = np.array([1.0, 3.0]), np.array([2.0, -1.0])
    change = parameter_changes({"b": {"sigma": np.stack([a, b])}})["blur"]
    np.testing.assert_allclose(change[:, 0], (b - a) / np.hypot(a, b), rtol=1e-6)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(80, 3)) * [1, 5, 0.2] + [0, 4, 1]
    return target, target + rng.normal(size=(80, 3)) * [0.5, 0.5, 0.5]


def test_both_averages_equal_their_definitions(pair):
    target, prediction = pair
    assert r2(target, prediction, average="per_dimension") == pytest.approx(
        r2_score(target, prediction, multioutput="uniform_average")
    )
    joint = 1 - np.sum((target - prediction) ** 2) / np.sum((target - target.mean()) ** 2)
    assert r2(target, prediction) == pytest.approx(joint)
    assert abs(joint - r2_score(target, prediction)) > 0.1  # they are not the same number


@pytest.mark.parametrize("average", ["joint", "per_dimension"])
def test_ends_of_the_scale(pair, average):
    target = pair[0][:, :1]
    assert r2(target, target, average=average) == 1
    assert r2(target, np.full_like(target, target.mean()), average=average) == pytest.approx(0)
    assert r2(target, -target, average=average) < 0
    assert r2(target[:, 0], target[:, 0], average=average) == 1


@pytest.mark.parametrize(
    ("target", "prediction", "average", "message"),
    [
        (np.ones((4, 2)), np.zeros((4, 2)), "joint", "without variance"),
        (np.eye(3)[:, [0, 0]] * [1, 0], np.zeros((3, 2)), "per_dimension", "without variance"),
        (np.ones(4), np.ones((4, 1)), "joint", "one shape"),
        (np.arange(3.0), np.arange(3.0), "mean", "found 'mean'"),
    ],
)
def test_bad_input_is_named(target, prediction, average, message):
    with pytest.raises(ValueError, match=message):
        r2(target, prediction, average=average)


@pytest.mark.parametrize(("count", "width"), [(200, 10), (30, 60)])
def test_ridge_equals_scikit_learn(count, width):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(count, width)) * np.logspace(-2, 2, width) + 3
    y = x @ rng.normal(size=(width, 2)) + rng.normal(size=(count, 2))
    half = count // 2
    fit = ridge(x[:half], y[:half], x[half:], y[half:], l2=[0.1])
    mean, std = x.mean(axis=0), x.std(axis=0)
    reference = Reference(alpha=0.1 * count).fit((x - mean) / std, y)
    np.testing.assert_allclose(
        x @ fit.weight + fit.bias, reference.predict((x - mean) / std), rtol=1e-6, atol=1e-6
    )
    assert fit.l2 == 0.1


def test_validation_chooses_the_weight():
    rng = np.random.default_rng(2)
    x, noise = rng.normal(size=(60, 50)), rng.normal(size=(60, 1))
    pure = ridge(x[:55], noise[:55], x[55:], noise[55:])
    clear = ridge(x[:55], x[:55, :1], x[55:], x[55:, :1])
    assert pure.l2 > clear.l2


@pytest.fixture
def world():
    """Features that hold hue and angle linearly (turned and scaled), and nothing of size."""
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0] * 3
    features, splits = {}, {}
    for seed, (name, low) in enumerate(
        [("train", 0.0), ("validation", 0.0), ("test", 0.0), ("out_of_range", 0.75)]
    ):
        rng = np.random.default_rng(seed)
        high = 1.0 if low else 0.75
        hue, angle = rng.uniform(low, high, 300), rng.uniform(low, high, 300) * 2 * np.pi
        factors = {"hue": hue, "angle": angle, "size": rng.uniform(size=300)}
        held = [np.cos(2 * np.pi * hue), np.sin(2 * np.pi * hue), np.cos(angle), np.sin(angle)]
        x = np.stack([*held, *rng.normal(size=(2, 300))], axis=1) @ turn + 5
        indices = rng.permutation(300)[:200]
        split = Split(300, (), lambda pool, i: i, None, factors)
        splits[name] = split
        features[name] = Features(x[indices].astype(np.float32), x[indices], indices)
    return features, splits


def test_known_factors_are_read_in_and_out_of_range(world):
    scores = factor_r2(*world)
    for name in ("r2_hue", "r2_angle", "r2_hue_out_of_range", "r2_angle_out_of_range"):
        assert scores[name] > 0.999, name
        assert scores[f"{name}_per_dimension"] > 0.999
    assert abs(scores["r2_size"]) < 0.15
    assert scores["r2_size"] == pytest.approx(scores["r2_size_per_dimension"])


def test_what_is_not_held_is_not_found(world):
    features, splits = world
    rng = np.random.default_rng(9)
    noise = {k: f._replace(features=rng.normal(size=(200, 6))) for k, f in features.items()}
    scores = factor_r2(noise, splits)
    assert scores["r2_hue_per_dimension"] < 0.01
    # The scalar mean: hues of [0, ¾) have a mean sine, and knowing it counts.
    assert 0.02 < scores["r2_hue"] < 0.1


def test_only_factors_that_all_splits_know(world):
    features, splits = world
    del features["out_of_range"]
    splits["test"] = splits["test"]._replace(factors={"hue": splits["test"].factors["hue"]})
    assert set(factor_r2(features, splits)) == {"r2_hue", "r2_hue_per_dimension"}
    splits["test"] = splits["test"]._replace(factors={})
    assert factor_r2(features, splits) == {}
    del features["validation"]
    with pytest.raises(ValueError, match="validation"):
        factor_r2(features, splits)


def test_cyclic_factors_have_no_seam():
    split = Split(2, (), lambda pool, i: i, None, {"hue": [1e-4, 1 - 1e-4], "size": [1.0, 2.0]})
    targets = factor_targets(split, np.arange(2))
    assert np.abs(targets["hue"][0] - targets["hue"][1]).max() < 2e-3
    np.testing.assert_array_equal(targets["size"], [[1], [2]])


@pytest.mark.parametrize("value", [2.3, 1 / 3, 0.1, np.float32(0.7)])
@pytest.mark.parametrize("average", ["joint", "per_dimension"])
def test_equal_targets_are_refused_whatever_their_mean_rounds_to(value, average):
    """The variance of equal numbers is not 0 in floating point, but 1e-31."""
    target = np.full((50, 1), value)
    if average == "per_dimension":
        target = np.concatenate([target, np.arange(50.0)[:, None]], axis=1)
    with pytest.raises(ValueError, match="without variance"):
        r2(target, np.zeros_like(target), average=average)
