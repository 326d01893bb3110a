"""Principal axes read off features, trajectories of a whole turn, and both in the suite."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from eqssl_jax import figures, tabular
from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures import evaluate, regularity, settings, trajectories
from eqssl_jax.measures.clouds import axis
from eqssl_jax.measures.clouds import trajectories as turning
from eqssl_jax.measures.clouds.axis import axis_error, principal_axes, principal_axis_errors, turned
from eqssl_jax.measures.clouds.trajectories import planar
from eqssl_jax.transforms import recipes

POINTS = 10


def some_clouds(count: int, seed: int) -> np.ndarray:
    """Ellipsoids of POINTS or fewer points, longest in a direction of their own."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, POINTS, 3)) * np.array([3.0, 1.0, 0.5])
    frames = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    there = np.arange(POINTS) < rng.integers(6, POINTS + 1, count)[:, None]
    x = np.einsum("npc,ncd->npd", points, frames) * there[..., None]
    x -= x.sum(1, keepdims=True) / there.sum(1)[:, None, None]
    return np.concatenate([x * there[..., None], there[..., None]], axis=2).astype(np.float32)


def read(pool, inputs):
    return pool[inputs]


def make_split(count: int, seed: int) -> Split:
    return Split(count, jnp.asarray(some_clouds(count, seed)), read)


@pytest.fixture(scope="module")
def splits():
    sizes = {"train": 120, "validation": 40, "test": 60}
    return {name: make_split(n, i) for i, (name, n) in enumerate(sizes.items())}


def second_moments(x):
    """The covariance, whose first eigenvector is the axis: equivariant, but not v vᵀ itself."""
    flat = jnp.einsum("npi,npj->nij", x[..., :3], x[..., :3]).reshape(len(x), 9)
    return flat, flat


def projector(x):
    """v vᵀ itself."""
    moments = second_moments(x)[0].reshape(-1, 3, 3)
    v = jnp.linalg.eigh(moments)[1][..., -1]
    flat = (v[:, :, None] * v[:, None, :]).reshape(len(x), 9)
    return flat, v * jnp.sign(v[:, :1])  # as an embedding: the axis, of a sign that says nothing


def size_alone(x):
    """Invariant: the trace of the covariance and another invariant."""
    moments = second_moments(x)[0].reshape(-1, 3, 3)
    trace = jnp.trace(moments, axis1=1, axis2=2)
    return jnp.stack([trace, jnp.linalg.det(moments)], axis=1), jnp.stack([trace, 1 + trace], 1)


def errors(encode, splits, turns=3):
    seen = {
        name: turned(
            encode, split, jax.random.fold_in(jax.random.key(0), i), turns=turns, images=None,
            batch=64,
        )
        for i, (name, split) in enumerate(splits.items())
    }  # fmt: skip
    return seen, principal_axis_errors(seen)


def test_axes_of_masked_clouds_equal_a_plain_decomposition():
    x = some_clouds(5, 3)
    for cloud, direction in zip(x, principal_axes(x), strict=True):
        points = cloud[cloud[:, 3] == 1, :3].astype(float)
        wanted = np.linalg.svd(points - points.mean(0))[2][0]
        assert abs(wanted @ direction) > 1 - 1e-9
        dirty = cloud.copy()
        dirty[cloud[:, 3] == 0, :3] = 50  # padding says nothing
        assert abs(principal_axes(dirty[None])[0] @ direction) > 1 - 1e-9


def test_the_error_has_no_sign_and_known_values():
    x, y = np.eye(3)[:2]
    diagonal = (x + y) / np.sqrt(2)
    deviation = axis_error(np.stack([x, x, -x, x]), np.stack([x, -x, x, y]))
    np.testing.assert_allclose(deviation.error, [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(deviation.degrees, [0, 0, 0, 90], atol=1e-6)
    half = axis_error(x[None], diagonal[None])
    assert half.error == pytest.approx(0.5) and half.degrees == pytest.approx(45)


def test_chance_is_what_a_fixed_axis_scores_against_uniform_ones():
    v = np.random.default_rng(0).normal(size=(200_000, 3))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    deviation = axis_error(v, np.broadcast_to([0.0, 0.6, 0.8], v.shape))
    assert deviation.error.mean() == pytest.approx(axis.CHANCE, abs=3e-3)
    assert deviation.degrees.mean() == pytest.approx(axis.CHANCE_DEGREES, abs=0.3)


def test_axes_turn_with_their_clouds(splits):
    seen = turned(projector, splits["test"], jax.random.key(1), turns=2, images=None, batch=64)
    assert seen.axes.shape == (120, 3) and seen.features.shape == (120, 9)
    outer = (seen.axes[:, :, None] * seen.axes[:, None, :]).reshape(120, 9)
    np.testing.assert_allclose(outer, seen.features, atol=1e-3)
    assert np.abs(seen.axes[:60] - seen.axes[60:]).max() > 0.5  # each turn is another


@pytest.mark.slow
def test_features_that_hold_the_axis_have_no_error_and_invariant_ones_are_at_chance(splits):
    _, readings = errors(projector, splits)
    assert readings[""].error.max() < 1e-4 and readings[""].degrees.max() < 1
    # A vector of either sign is linear in v, so v vᵀ is in its products alone.
    assert (
        readings["embedding_products"].error.mean()
        < 1e-3
        < 0.02
        < readings["embedding"].error.mean()
    )
    _, readings = errors(size_alone, splits)
    for reading in readings.values():
        assert reading.error.mean() == pytest.approx(axis.CHANCE, abs=0.12)
        assert reading.degrees.mean() == pytest.approx(axis.CHANCE_DEGREES, abs=10)
    _, readings = errors(second_moments, splits)
    assert readings[""].error.mean() < 0.2


def test_a_task_without_splits_or_turns_is_refused(splits):
    seen = turned(projector, splits["test"], jax.random.key(0), turns=1, images=None, batch=64)
    with pytest.raises(ValueError, match=r"\['validation'\]"):
        principal_axis_errors({"train": seen, "test": seen})
    with pytest.raises(ValueError, match="at least one rotation"):
        turned(projector, splits["test"], jax.random.key(0), turns=0, images=None, batch=64)


def circle(count=100, *, turns=1.0, dimension=5):
    t = 2 * np.pi * turns * np.arange(count) / count
    frame = np.linalg.qr(np.random.default_rng(0).normal(size=(dimension, dimension)))[0]
    return np.stack([np.cos(t), np.sin(t)], axis=1) @ frame[:2]


def test_a_circle_is_perfectly_regular_and_a_broken_one_is_not():
    whole = regularity(circle())
    assert whole.length == pytest.approx(2 * np.pi, rel=1e-3)
    assert max(whole.closure_error, whole.step_variation, whole.rotation_residual) < 1e-9
    # Two frequencies at once: still one rotation of R⁴, and even steps.
    double = np.concatenate([circle(dimension=2), 0.5 * circle(turns=3, dimension=2)], axis=1)
    assert max(regularity(double)[1:]) < 1e-9
    broken = regularity(circle(turns=0.75))  # jumps back over the missing quarter
    assert broken.closure_error > 10 and broken.step_variation > 1
    jittered = circle() + 0.05 * np.random.default_rng(1).normal(size=(100, 5))
    noisy = regularity(jittered)
    assert noisy.step_variation > 0.2 and noisy.rotation_residual > 0.2
    # An ellipse closes evenly, but is neither of even steps nor one rotation.
    ellipse = regularity(circle(dimension=2) @ np.diag([1.0, 0.3]))
    assert ellipse.step_variation > 0.2 and ellipse.rotation_residual > 0.05


def test_a_curve_that_does_not_move_has_no_shape():
    shape = regularity(np.ones((100, 4)))
    assert shape.length == 0 and all(math.isnan(value) for value in shape[1:])
    few = regularity(circle(5))  # 5 points in R⁵ determine no rotation
    assert few.step_variation < 1e-9 and math.isnan(few.rotation_residual)
    for refuse in (lambda x: regularity(x), lambda x: axis_error(x, x)):
        with pytest.raises(ValueError, match="holds NaN or infinite values in 4 of 4 rows"):
            refuse(np.full((4, 3), np.nan))
    with pytest.raises(ValueError, match="at least 3 points"):
        regularity(np.ones((2, 4)))


def test_trajectories_are_rotations_of_the_cloud(splits):
    """The encoder gives one point of the cloud, which runs along circles around the axes."""

    def first_point(x):
        return x[:, 0, :3], x[:, 0, :3]

    curves = trajectories(first_point, splits["test"], np.array([4, 7]), steps=8, batch=16)
    assert curves.shape == (2, 3, 8, 3)
    start = np.asarray(splits["test"].pool)[[4, 7], 0, :3].astype(float)
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    for k in range(8):
        c, s = np.cos(2 * np.pi * k / 8), np.sin(2 * np.pi * k / 8)
        around_z = start @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
        np.testing.assert_allclose(curves[:, 2, k], around_z, atol=1e-5)
        around_x = start @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T
        np.testing.assert_allclose(curves[:, 0, k], around_x, atol=1e-5)
    assert max(regularity(curves[0, 1])[1:]) < 1e-4
    plane = planar(curves[0])
    assert plane.shape == (3, 8, 2) and np.abs(plane.mean(axis=(0, 1))).max() < 1e-9
    with pytest.raises(ValueError, match="at least 3 steps"):
        trajectories(first_point, splits["test"], np.array([0]), steps=2)


@pytest.fixture(scope="module")
def evaluated(splits):
    dataset = Dataset("toy", (POINTS, 4), (), (0.0,) * 4, (1.0,) * 4, splits)
    budget = settings(
        "quick", batch=64, augmentations=3, pairs=1, ladder_rungs=3, ladder_images=30,
        axis_turns=2, trajectory_clouds=2, trajectory_steps=12,
    )  # fmt: skip
    encoders = {"trained": projector, "random": size_alone}
    return evaluate(encoders, dataset, recipes.rotation3d(), jax.random.key(0), settings=budget)


def test_the_suite_measures_clouds_and_says_what_it_leaves_out(evaluated):
    result, arrays = evaluated
    json.dumps(result, allow_nan=False)
    trained, random = (result["encoders"][name] for name in ("trained", "random"))
    assert trained["principal_axis_error"]["value"] < 1e-3
    assert trained["principal_axis_error"]["n"] == 2
    assert random["principal_axis_error"]["value"] == pytest.approx(2 / 3, abs=0.15)
    assert trained["trajectory_length"]["n"] == 6
    assert result["chance"]["principal_axis_error"] == 2 / 3
    assert result["chance"]["principal_axis_degrees_embedding"] == pytest.approx(57.2958, abs=1e-3)
    # Nothing moves an invariant encoder, so its curves have no shape.
    assert "trajectory_step_variation" not in random
    assert "random: not defined" in result["skipped"]["trajectory_step_variation"]
    assert result["skipped"]["knn"] == "toy has no labels"
    assert result["skipped"]["neighbour_overlap"] == "the transformation never shifts the hue"
    assert not len(arrays.queries) and arrays.hue is None
    assert arrays.trajectories["trained"].shape == (2, 3, 12, 2)
    assert np.shape(result["trajectories"]["random"]) == (2, 3, 12, 2)


def test_measurements_are_described(evaluated):
    table = tabular.as_text(tabular.comparison_table({"run": evaluated[0]}).sheet())
    for title in (
        "Principal axis error",
        "Variation of steps of a turn",
        "Closure error of a turn",
    ):
        assert title in table
    assert tabular.describe("principal_axis_error_embedding").better == "lower"


def test_budgets_of_clouds():
    for name in ("axis_turns", "trajectory_clouds"):
        with pytest.raises(ValueError, match=rf"options.{name} is 0; it must be a whole number"):
            settings("quick", **{name: 0})
    with pytest.raises(ValueError, match="trajectory_steps is 2"):
        settings("quick", trajectory_steps=2)


def test_the_figure_names_its_axes_once(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("eqssl_jax.figures.walks.save", lambda figure, path: seen.append(figure))
    figures.trajectories({"one": np.ones((3, 4, 2)), "two": np.ones((3, 4, 2))}, "")
    titles = [axes.get_title() for axes in seen[0].axes]
    assert titles == ["around x", "around y", "around z", "", "", ""]


def test_the_figure_of_trajectories(tmp_path):
    curve = np.stack([circle(40, dimension=2)] * 3)
    still = np.zeros((3, 40, 2))
    path = tmp_path / "turns.png"
    figures.trajectories({"one": curve, "collapsed": still}, path)
    with Image.open(path) as picture:
        assert min(picture.size) > 300
    first = path.read_bytes()
    figures.trajectories({"one": curve, "collapsed": still}, path)
    assert path.read_bytes() == first


def test_without_a_test_split_the_axis_is_left_out():
    splits = {"train": make_split(20, 0), "validation": make_split(8, 1)}
    dataset = Dataset("toy", (POINTS, 4), (), (0.0,) * 4, (1.0,) * 4, splits)
    budget = settings("quick", batch=16, trajectory_clouds=1, trajectory_steps=4)
    result, _ = evaluate(
        {"trained": projector}, dataset, recipes.rotation3d(), jax.random.key(0), settings=budget,
        cards=(axis.CARD, turning.CARD),
    )  # fmt: skip
    assert "tested on test" in result["skipped"]["principal_axis_error"]
    assert next(iter(result["encoders"]["trained"])) == "trajectory_length"
