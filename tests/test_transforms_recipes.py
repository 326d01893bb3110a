"""Recipes hold the published parts and strengths, take others, and refuse bad ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import data
from eqssl_jax.transforms import recipes
from eqssl_jax.views import render

PARTS = {
    "simclr_cifar": ["crop", "flip", "jitter", "gray", "blur"],
    "moco_imagenet": ["crop", "jitter", "gray", "blur", "flip"],
    "care_imagenet_equivariant": ["crop", "jitter", "gray", "blur", "flip"],
    "crop_flip": ["crop", "flip"],
    "shapes": ["rotate", "crop", "jitter"],
    "factors": ["rotate", "crop", "brightness", "contrast", "saturation", "hue"],
    "rotation3d": ["rotate"],
    "solids": ["turn", "floor", "light"],
    "stored_views": ["turn", "floor", "light"],
}


def draws(transform, count=3000):
    params = jax.jit(jax.vmap(transform.sample))(jax.random.split(jax.random.key(0), count))
    return jax.tree.map(np.asarray, params)


@functools.cache
def standard(name):
    return draws(recipes.RECIPES[name]())


def test_every_recipe_is_listed_with_its_parts_in_order():
    assert set(recipes.RECIPES) == set(PARTS)
    for name, parts in PARTS.items():
        assert list(recipes.RECIPES[name]().identity) == parts


@pytest.mark.parametrize(
    ("name", "area"), [("simclr_cifar", 0.08), ("moco_imagenet", 0.2), ("shapes", 0.3)]
)
def test_crops_reach_down_to_their_scale(name, area):
    crop = standard(name)["crop"]
    smallest = (crop["height"] * crop["width"]).min()
    assert area - 1e-5 <= smallest < area + 0.02


@pytest.mark.parametrize("name", ["simclr_cifar", "moco_imagenet", "care_imagenet_equivariant"])
def test_probabilities_and_strengths_are_the_papers(name):
    drawn = standard(name)
    used = {
        "flip": (drawn["flip"]["flip"], 0.5),
        "jitter": (drawn["jitter"]["brightness"] != 1, 0.8),
        "gray": (drawn["gray"]["gray"], 0.2),
        "blur": (drawn["blur"]["sigma"] > 0, 0.5),
    }
    for share, probability in used.values():
        assert abs(share.mean() - probability) < 0.035
    assert 1.35 < drawn["jitter"]["contrast"].max() <= 1.4
    assert 0.09 < drawn["jitter"]["hue"].max() <= 0.1
    assert 1.9 < drawn["blur"]["sigma"].max() <= 2


def test_blur_kernels_are_the_papers_and_the_identity_does_nothing():
    point = jnp.zeros((32, 32, 3)).at[16, 16].set(1.0)
    for name, size, kernel in (("simclr_cifar", 32, 3), ("moco_imagenet", 32, 5)):
        recipe = recipes.RECIPES[name](size)
        apply = jax.jit(recipe.apply)
        np.testing.assert_array_equal(apply(recipe.identity, point), point)
        params = {**recipe.identity, "blur": {"sigma": jnp.float32(2)}}
        seen = np.asarray(apply(params, point))[..., 0] > 0
        assert seen.any(axis=0).sum() == seen.any(axis=1).sum() == kernel


def test_equivariant_branch_cuts_the_centre_of_larger_images():
    x = jax.random.uniform(jax.random.key(0), (20, 20, 3))
    recipe = recipes.care_imagenet_equivariant(16)
    np.testing.assert_array_equal(jax.jit(recipe.apply)(recipe.identity, x), x[2:18, 2:18])
    assert recipe.sample(jax.random.key(0))["crop"] == {}


def test_shapes_turn_within_their_range():
    angle = standard("shapes")["rotate"]["angle"]
    assert np.pi / 6 - 0.01 < np.abs(angle).max() <= np.pi / 6


def test_strengths_can_be_set():
    drawn = draws(
        recipes.simclr_cifar(
            16,
            scale=[0.5, 0.6],
            ratio=[1, 1],
            flip=1,
            jitter=[0, 0, 0, 0.5],
            jitter_probability=1,
            gray=0,
            blur_kernel=5,
            blur_sigma=[1, 1.5],
            blur_probability=1,
        )
    )
    area = drawn["crop"]["height"] * drawn["crop"]["width"]
    assert area.min() + 1e-5 >= 0.5 and area.max() <= 0.6 + 1e-5
    assert drawn["flip"]["flip"].all() and not drawn["gray"]["gray"].any()
    assert (drawn["jitter"]["brightness"] == 1).all() and drawn["jitter"]["hue"].max() > 0.45
    assert drawn["blur"]["sigma"].min() >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size"),
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"ratio": (2.0, 1.0)}, "ratio"),
        ({"flip": 2}, "probability"),
        ({"jitter": (0.4, 0.4)}, "four"),
        ({"jitter": (0.4, 0.4, 0.4, 0.7)}, "hue"),
        ({"jitter_probability": -1}, "probability"),
        ({"gray": 1.2}, "probability"),
        ({"blur_kernel": 2}, "odd"),
        ({"blur_sigma": (0.0, 1.0)}, "sigma"),
        ({"blur_probability": 3}, "probability"),
    ],
)
def test_bad_strengths_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        recipes.simclr_cifar(**options)


def test_factors_leave_out_what_has_no_strength():
    everything = recipes.factors(flip=0.5, gray=0.2, blur_sigma=(0.1, 1.0), solarize=(0.2, 1.0))
    assert list(everything.identity) == [
        "rotate", "crop", "flip", "brightness", "contrast", "saturation", "hue", "gray", "blur",
        "solarize",
    ]  # fmt: skip
    nothing = dict.fromkeys(("max_angle", "brightness", "contrast", "saturation", "hue"), 0.0)
    assert list(recipes.factors(**nothing).identity) == ["crop"]


def examples(name, count):
    random = np.random.default_rng(0)
    if name == "solids":
        return (
            data.load(name="solids", train_objects=24, test_objects=12)
            .splits["objects"]
            .pool[:count]
        )
    shape = (6, 4) if name == "rotation3d" else (12, 12, 3)
    return jnp.asarray(random.random((count, *shape)), jnp.float32)


RENDERED = [name for name in recipes.RECIPES if name != "stored_views"]  # which show no draws


@pytest.mark.parametrize("views", [1, 4])
@pytest.mark.parametrize(
    "name",
    [name if name == "solids" else pytest.param(name, marks=pytest.mark.slow) for name in RENDERED],
)
def test_views_of_a_step_are_those_of_one_draw_at_a_time(name, views):
    """A step renders [V, N] views as one program, which XLA may rearrange; one view otherwise."""
    transform = recipes.RECIPES[name](**({} if name in ("solids", "rotation3d") else {"size": 12}))
    images = examples(name, 3)
    sample = jax.jit(jax.vmap(jax.vmap(transform.sample)))
    params = sample(jax.random.split(jax.random.key(1), (views, 3)))
    rendered = jax.jit(functools.partial(render, transform))(params, images)
    alone = jax.jit(transform.apply)
    for v, n in np.ndindex(views, 3):
        draw = jax.tree.map(lambda leaf, v=v, n=n: leaf[v, n], params)
        np.testing.assert_allclose(rendered[v, n], alone(draw, images[n]), atol=5e-6)
