"""Measures of rendered objects: perfect poses are read off, and nothing of nothing."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy.spatial.transform import Rotation

from eqssl_jax import data, methods, scene, transforms
from eqssl_jax.experiment import subjects
from eqssl_jax.experiment.subjects import read_scenes, turn_features
from eqssl_jax.measures import Subject, evaluate, settings
from eqssl_jax.measures.regression import relative
from eqssl_jax.measures.retrieval import object_views
from eqssl_jax.measures.steering import object_views as steered_views
from eqssl_jax.rotations import vector_from_quaternion

CARDS = (relative.CARD, object_views.CARD)
BUDGET = {
    "relative_objects": 240, "relative_hidden": 64, "relative_steps": 1500, "predicted_objects": 24,
    "batch": 480,
}  # fmt: skip


@functools.cache
def solids():
    return data.load(name="solids", train_objects=320, test_objects=64, views_each=4)


def nothing(examples):
    features = jnp.stack([examples[:, scene.HEIGHT], examples[:, scene.SIDE]], axis=1)
    return features, features


def still(before, after, draw):
    return after, before, before


@functools.cache
def measured():
    subjects = {
        "poses": Subject(read_scenes, {"perfect": turn_features}),
        "nothing": Subject(nothing),
    }
    chosen = settings("quick", cards=CARDS, **BUDGET)
    recipe = transforms.recipes.solids()
    return evaluate(subjects, solids(), recipe, None, settings=chosen, cards=CARDS)[0]


def value(subject, name):
    return measured()["encoders"][subject][name]["value"]


@pytest.mark.slow
def test_an_mlp_reads_relative_rotations_off_perfect_poses_and_ridge_does_not():
    floor = measured()["chance"]["rotation_r2_mlp"]
    assert 0.1 < floor < 0.4  # the pooled R² of a constant is not 0
    for frame in ("", "_world"):
        mlp, linear = (value("poses", f"rotation_r2_{probe}{frame}") for probe in ("mlp", "ridge"))
        assert mlp > 0.75 and floor < linear < mlp - 0.1, (mlp, linear)
        apart = mlp - value("poses", f"rotation_r2_mlp{frame}_per_dimension")
        assert apart > 0.02  # dimensions have different means
    # Of other objects: what a choice of weights may look at.
    validated = value("poses", "rotation_r2_mlp_validation")
    assert 0 < abs(validated - value("poses", "rotation_r2_mlp")) < 0.1
    assert value("nothing", "rotation_r2_mlp_validation") < floor + 0.05
    assert value("poses", "rotation_error") < 40
    assert value("nothing", "rotation_r2_mlp") < floor + 0.05
    assert abs(value("nothing", "rotation_r2_mlp_per_dimension")) < 0.1
    assert value("nothing", "rotation_error") > 60
    assert 60 < measured()["chance"]["rotation_error"] < 180  # of the mean quaternion of training
    for hue in ("floor", "light"):
        assert value("poses", f"r2_{hue}_hue") > 0.999 > 0.2 > value("nothing", f"r2_{hue}_hue")


@pytest.mark.slow
def test_a_perfect_predictor_finds_every_view_and_none_is_found_without():
    assert value("poses", "predicted_mrr") == value("poses", "predicted_h1_with_own") == 1
    assert value("poses", "predicted_pre") < 1e-6
    chance = measured()["chance"]
    assert chance["predicted_mrr"] == pytest.approx(np.mean(1 / np.arange(1, 5)))
    assert "no embeddings" in measured()["skipped"]["predicted_mrr"]


GENERATORS = np.random.default_rng(0).standard_normal((3, 6, 6))
GENERATORS = np.float32((GENERATORS - GENERATORS.swapaxes(1, 2)) / 5)


def steerable(examples):
    """R(p) u with R(p) = exp(Σ p_k G_k) of the draw p from upright and u of the object.

    These G_k do not commute as turns about the axes do: R(p) is no group, and R of the draw that
    leads from one posed view to another is no rotation between their embeddings.
    """
    p = vector_from_quaternion(examples[:, scene.POSE])
    phases = jnp.stack([examples[:, scene.HEIGHT], examples[:, scene.SIDE]], axis=1)
    of_object = jnp.concatenate([jnp.sin(k * phases) for k in (1, 2, 3)], axis=1)
    rotations = jax.vmap(jax.scipy.linalg.expm)(jnp.einsum("nk,kde->nde", p, GENERATORS))
    z = jnp.einsum("nde,ne->nd", rotations, of_object)
    return z, z


def unlike(examples):
    """Poses and hues, of each object mirrored in other dimensions: no rotation is theirs."""
    z = read_scenes(examples)[1]
    numbers = jnp.arange(1.0, z.shape[1] + 1)
    signs = jnp.sign(jnp.sin(1e3 * examples[:, scene.HEIGHT, None] * numbers[None]))
    return z * signs, z * signs


@functools.cache
def small(**budget):
    """Few objects, and what the cards of retrieval and steering say of encoders that rotate."""
    cards = (object_views.CARD, steered_views.CARD)
    chosen = settings("quick", cards=cards, predicted_objects=8, steered_objects=8, **budget)
    subjects = {
        "poses": Subject(read_scenes, rotates=True),
        "steerable": Subject(steerable, rotates=True),
        "unlike": Subject(unlike, rotates=True),
        "nothing": Subject(nothing, rotates=True),
        "others": Subject(read_scenes),
        "still": Subject(read_scenes, {"still": still}),
    }
    splits = data.load(name="solids", train_objects=48, test_objects=12, views_each=4)
    return evaluate(subjects, splits, transforms.recipes.solids(), jax.random.key(0),
                    settings=chosen, cards=cards)[0]  # fmt: skip


def test_a_steered_embedding_finds_its_view_where_draws_rotate_embeddings():
    """Poses and hues as features turn by R(p) exactly; what no draw changes finds by chance."""
    result = small(steered_draws=24, steered_images=32)
    steered = result["encoders"]
    for encoder in ("poses", "steerable"):
        for name in ("steered_mrr", "steered_h1", "steered_mrr_with_own"):
            assert steered[encoder][name]["value"] > 0.95, (encoder, name)
        assert steered[encoder]["steered_left"]["value"] < 0.15
    chance = result["chance"]["steered_mrr"]
    assert steered["nothing"]["steered_mrr"]["value"] <= chance  # all views tie
    assert steered["nothing"]["steered_pre"]["value"] > 0.2
    assert "steered_left" not in steered["nothing"]  # it does not move
    assert "steered_mrr" not in steered["others"]  # no method of it trains rotations


def test_a_prediction_that_stays_where_it_came_from_ranks_that_view_first():
    """So the other three of the four views share the places 2 to 4, whichever is asked for."""
    of_still = small(steered_draws=24, steered_images=32)["encoders"]["still"]
    exact = {
        "predicted_mrr": (1 / 2 + 1 / 3 + 1 / 4) / 3,
        "predicted_mrr_with_own": (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4,
        "predicted_h1": 0.0,
        "predicted_h1_with_own": 1 / 4,
        "predicted_h5": 1.0,
    }
    for name, number in exact.items():
        assert of_still[name]["value"] == pytest.approx(number), name
    assert of_still["predicted_pre"]["value"] > 0.2


def test_of_encoders_that_turn_each_object_otherwise_the_fit_leaves_most_of_the_way():
    result = small(steered_draws=24, steered_images=32)
    assert result["encoders"]["unlike"]["steered_left"]["value"] > 0.5
    assert result["encoders"]["unlike"]["steered_mrr"]["value"] < 0.9
    assert result["chance"]["steered_left"] == 1


def test_without_upright_objects_no_view_is_steered_to():
    seen = SimpleNamespace(
        conditions=SimpleNamespace(transform=transforms.recipes.solids(), key=jax.random.key(0)),
        settings=SimpleNamespace(steered_objects=2, batch=48),
        subject=Subject(read_scenes, rotates=True),
        name="poses",
        splits={"test": solids().splits["test"]},
    )
    with pytest.raises(ValueError, match="no upright objects"):
        steered_views.CARD.measure(seen)


def test_embeddings_of_methods_with_a_rotational_role_rotate():
    entries = {name: methods.entry(name) for name in ("simclr", "care", "two_view_care", "sie")}
    entries |= {"none": methods.entry("care", weight=0.0)}
    entries |= {"others": methods.entry("care", form="symplectic")}
    rotating = [name for name, entry in entries.items() if subjects._rotates(ConfigDict(entry))]
    assert rotating == ["care", "two_view_care"]


def test_steering_needs_more_images_than_dimensions():
    result = small(steered_draws=8, steered_images=9)
    assert "13 dimensions needs more than 13 objects" in result["skipped"]["steered_mrr"]


def test_a_predictor_is_asked_for_translations_where_views_have_them(monkeypatch):
    """3DIEBench-T: beside pose and hues a draw holds t_v − t_0, as in training."""
    split = solids().splits["test"]
    shift = np.random.default_rng(0).uniform(-0.5, 0.5, (split.size, 3)).astype(np.float32)
    split = split._replace(factors={**split.factors, "translation": shift})
    rows = np.arange(24)
    features = np.concatenate([read_scenes(jnp.asarray(split.pool)[rows])[0], shift[rows]], axis=1)
    views = relative.ObjectViews(features, features, rows, np.zeros((0, 2), int))
    monkeypatch.setattr(object_views, "object_views", lambda *_: views)

    def head(before, after, draw):
        turned = turn_features(before[:, :13], after, draw)[1]
        predicted = np.concatenate([turned, before[:, 13:] + draw["shift"]["translation"]], axis=1)
        return after, predicted, before

    def seen(split):
        return SimpleNamespace(
            conditions=SimpleNamespace(transform=transforms.recipes.stored_views(translation=True)),
            subject=SimpleNamespace(heads={"mine": head}),
            splits={"test": split},
            settings=SimpleNamespace(predicted_objects=6),
        )

    numbers = object_views.CARD.measure(seen(split)).numbers
    assert numbers["predicted_mrr"].value == numbers["predicted_h1"] == 1
    with pytest.raises(ValueError, match="does not know translation of its test images"):
        object_views.CARD.measure(seen(solids().splits["test"]))


def test_an_mlp_is_never_worse_than_the_mean_on_validation():
    random = np.random.default_rng(0)
    x, vx = random.standard_normal((2, 128, 16)).astype(np.float32)
    y, vy = (3 + random.standard_normal((2, 128, 2))).astype(np.float32)

    def missed(y, vy):  # as a share of what the constant misses
        layers = relative.fit_mlp((x, y), (vx, vy), hidden=32, steps=600)
        read = np.asarray(relative.apply_mlp(layers, vx))
        return np.mean((read - vy) ** 2) / np.mean((y.mean(axis=0) - vy) ** 2)

    assert missed(y, vy) <= 1.00001  # noise
    assert missed(x[:, :2], vx[:, :2]) < 0.9


def test_the_median_angle_is_that_of_directions_whatever_their_length():
    quarter = np.array([np.cos(np.pi / 4), np.sin(np.pi / 4), 0, 0])
    true = np.array([[1.0, 0, 0, 0], [1, 0, 0, 0], quarter])
    predicted = np.array([5 * quarter, quarter, quarter])  # 90, 90 and 0 degrees
    assert relative.median_angle(predicted, true) == pytest.approx(90, abs=1e-2)


def test_pairs_are_of_one_object_however_many_views_it_has():
    objects = np.array([3.0, 1.0, 3.0, 3.0, 2.0])
    pairs = relative.view_pairs(objects)
    assert sorted(map(tuple, pairs)) == [(a, b) for a in (0, 2, 3) for b in (0, 2, 3) if a != b]


def test_relative_targets_are_those_of_matrices():
    q = solids().splits["test"].factors["rotation"][:4]
    pairs = np.array([[0, 1], [2, 3]])
    targets = relative.relative_targets(q, pairs)
    first, second = Rotation.from_quat(q[[0, 2]]), Rotation.from_quat(q[[1, 3]])
    for frame, true in (("", first.inv() * second), ("_world", second * first.inv())):
        np.testing.assert_allclose(
            Rotation.from_quat(targets[frame]).as_matrix(), true.as_matrix(), atol=1e-5
        )
        assert (targets[frame][:, 3] >= 0).all()


def test_quaternions_that_are_not_of_length_one_are_refused():
    split = solids().splits["test"]
    split = split._replace(factors={**split.factors, "rotation": 2 * split.factors["rotation"]})
    broken = solids()._replace(splits={**solids().splits, "test": split})
    chosen = settings("quick", cards=CARDS, **BUDGET)
    result, _ = evaluate({"a": nothing}, broken, transforms.recipes.solids(), None,
                        settings=chosen, cards=CARDS[:1])  # fmt: skip
    assert "no unit quaternions: one has length 2" in result["skipped"]["rotation_r2_mlp"]
