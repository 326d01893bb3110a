"""Rendered objects: scenes that transformations act on, split by objects, and what they show."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eqssl_jax import data, objectives, rotations, scene, transforms, views
from eqssl_jax.data import rendering, solids

RECIPE = transforms.recipes.solids()


@functools.cache
def small(poses="box"):
    options = {"train_objects": 48, "test_objects": 24, "views_each": 3}
    return data.load(name="solids", poses=poses, **options)


@functools.cache
def draws():
    return jax.jit(jax.vmap(RECIPE.sample))(jax.random.split(jax.random.key(0), 24))


apply = jax.jit(jax.vmap(RECIPE.apply))


def poses_of(examples):
    return Rotation.from_quat(np.asarray(examples)[:, scene.POSE])


def test_the_identity_is_exact_and_draws_compose():
    scenes = np.asarray(small().splits["test"].pool)[:24]
    still = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (24, *leaf.shape)), RECIPE.identity)
    np.testing.assert_array_equal(apply(still, scenes), scenes)
    first, second = draws(), jax.tree.map(lambda leaf: np.asarray(leaf)[::-1], draws())

    @jax.jit
    def composed(first, second):
        product = rotations.quaternion_product(
            *(rotations.quaternion_from_vector(d["turn"]["rotation"]) for d in (second, first))
        )
        hues = {
            part: {"hue": first[part]["hue"] + second[part]["hue"]} for part in ("floor", "light")
        }
        return {"turn": {"rotation": rotations.vector_from_quaternion(product)}, **hues}

    once = np.array(apply(composed(first, second), scenes))
    twice = np.array(apply(second, apply(first, scenes)))
    sign = np.sign(np.sum(twice[:, scene.POSE] * once[:, scene.POSE], axis=1, keepdims=True))
    once[:, scene.POSE] *= sign
    hues = [scene.FLOOR, scene.LIGHT]
    gap = np.abs(twice - once)
    gap[:, hues] = np.minimum(gap[:, hues], 1 - gap[:, hues])
    assert gap.max() < 1e-6


def test_draws_stay_in_the_box_and_ladders_follow_the_geodesic():
    upright = small().splits["objects"].pool[:24]
    angles = poses_of(apply(draws(), upright)).as_euler("xyz")
    assert np.abs(angles).max() <= np.pi / 2 + 1e-5
    ladder = views.mix(views.fixed(5), turn=views.ladder(5, spacing="even"))

    @jax.jit
    def walk(examples):
        return views.render(RECIPE, ladder.draw(jax.random.key(1), RECIPE, 4).params, examples)

    rungs = np.asarray(walk(upright[:4]))  # [5, 4, S]
    steps = [(poses_of(b) * poses_of(a).inv()).as_rotvec() for a, b in itertools.pairwise(rungs)]
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], np.shape(steps)), atol=1e-5)


def test_splits_have_other_objects_and_the_stated_poses():
    splits = small().splits
    objects = {name: set(split.factors["object"].tolist()) for name, split in splits.items()}
    assert objects["objects"] == objects["train"]
    apart = ("train", "validation", "test", "out_of_range")
    assert sum(len(objects[name]) for name in apart) == len(set.union(*(objects[n] for n in apart)))
    for name in ("test", "out_of_range"):
        q = splits[name].factors["rotation"]
        np.testing.assert_array_equal(q, splits[name].pool[:, scene.POSE])
        assert (q[:, 3] >= 0).all()
        assert splits[name].labels.tolist() == [int(n) % 12 for n in splits[name].factors["object"]]
    angles = np.abs(poses_of(splits["test"].pool).as_euler("xyz"))
    assert angles.max() <= np.pi / 2 + 1e-6
    a, b, c = poses_of(splits["out_of_range"].pool).as_euler("xyz").T
    for other in ((a, b, c), (a - np.pi, np.pi - b, c - np.pi)):  # one rotation, two triples
        wrapped = (np.stack(other) + np.pi) % (2 * np.pi) - np.pi
        assert (np.abs(wrapped) > np.pi / 2 - 1e-6).any(axis=0).all()
    assert "out_of_range" not in small("full").splits
    alone = solids.scenes(np.array([7]), seed=0, views=3)
    together = solids.scenes(np.arange(9), seed=0, views=3)
    np.testing.assert_array_equal(alone, together[21:24])


def test_images_show_pose_hues_shadow_and_quarter_turns():
    original = np.asarray(small().splits["test"].pool[3])
    changed = np.tile(original, (8, 1))
    changed[1, scene.FLOOR] = (original[scene.FLOOR] + 0.5) % 1
    changed[2, scene.LIGHT] = (original[scene.LIGHT] + 0.5) % 1
    changed[3, scene.POSE] = [0, 0, 0, 1]
    changed[4, scene.QUARTERS] = 1
    changed[5, scene.POSE] *= -1
    changed[6, scene.SIDE] += np.pi  # the shadow falls to the other side
    images = np.asarray(jax.jit(rendering.renderer(32))(changed))
    assert images.shape == (8, 32, 32, 3) and 0 <= images.min() < images.max() <= 1
    np.testing.assert_allclose(images * 255, np.round(images * 255), atol=1e-4)
    moved = np.abs(images - images[0]).mean(axis=(1, 2, 3))
    assert (moved[[1, 2, 3]] > 0.02).all() and moved[6] > 0.005
    assert moved[5] < 1e-4 and moved[7] == 0
    np.testing.assert_array_equal(images[4], np.rot90(images[0]))


def test_a_ray_meets_a_box_a_ball_and_a_cone_where_they_are():
    """Silhouettes against sampled points: a primitive is seen exactly where it is."""
    rng = np.random.default_rng(0)
    for kind, taper in ((0, 1.0), (1, 1.0), (2, 0.2), (2, 1.0)):
        parts = np.zeros((6, 12), np.float32)
        parts[:, scene.HALF] = 1
        half = np.array([0.15, 0.3, 0.5]) / 1.2
        parts[0, :4], parts[0, scene.HALF] = (kind, 0.05, 0, 0), half
        parts[0, 7:] = (0.3, 0.2, 0.1, taper, 0.9)
        scenes = np.zeros((8, scene.SIZE), np.float32)
        scenes[:, :72], scenes[:, scene.POSE] = parts.reshape(-1), [0, 0.6, 0, 0.8]
        eye, rays = rendering._camera(64)
        image = np.asarray(jax.jit(rendering.renderer(64))(scenes))[0]
        points = rng.uniform(-1, 1, (40_000, 3))
        radius = {0: np.full(40_000, 9.0), 1: np.sqrt(np.maximum(0, 1 - points[:, 2] ** 2))}.get(
            kind, (1 + taper + points[:, 2] * (taper - 1)) / 2
        )
        points = points[np.hypot(points[:, 0], points[:, 1]) <= radius] * half
        world = Rotation.from_rotvec([0.3, 0.2, 0.1]).apply(points) + np.array([0.05, 0, 0])
        world = Rotation.from_quat([0, 0.6, 0, 0.8]).apply(world) - eye
        back = -rays.reshape(3, 64, 64)[:, 31:33, 31:33].mean(axis=(1, 2))
        depth = -world @ back
        across = world[:, 0] / depth / rendering.HALF_WIDTH
        up = world @ np.array([0, np.sin(rendering.ELEVATION), np.cos(rendering.ELEVATION)])
        rows = ((1 - up / depth / rendering.HALF_WIDTH) * 32).astype(int)
        columns = ((1 + across) * 32).astype(int)
        seen = np.zeros((64, 64), bool)
        seen[rows, columns] = True
        # Hue 0: the floor is red, and redder still in red light, the object grey.
        shown = image[..., 0] < 2.1 * image[..., 1]
        assert (shown != seen).mean() < 0.03, (kind, taper)


def test_differences_of_rotations_are_one_after_the_other_undone():
    first, second = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    differences = objectives.parameter_differences(
        {"turn": {"rotation": jnp.stack([first, second])}}
    )
    true = (Rotation.from_rotvec(second) * Rotation.from_rotvec(first).inv()).as_quat()
    np.testing.assert_allclose(differences, true * np.where(true[:, 3:] < 0, -1, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": 48}, "found 48"),
        ({"poses": "sphere"}, "poses"),
        ({"train_objects": 23}, "train_objects"),
        ({"directory": "somewhere"}, "take no directory"),
        ({"views": 3, "views_each": 1}, "views_each"),
    ],
)
def test_what_cannot_be_rendered_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        data.load(name="solids", **options)


def test_scenes_and_images_have_recipes_of_their_own():
    with pytest.raises(ValueError, match="recipe solids is for"):
        RECIPE.apply(RECIPE.identity, np.zeros((8, 8, 3), np.float32))
