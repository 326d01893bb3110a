"""Roles as numbers give the views and weights that `methods.build` gives, part by part."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from eqssl_jax import methods, presets
from eqssl_jax.advice.candidates import gated_method, gates
from eqssl_jax.methods import ROLES, build_recipe, resolve
from eqssl_jax.objectives.base import Views

IMAGES, SPLITS = 12, 3
KEY = jax.random.key(5)
# Together: every role, every sharing it may have, several ordered and rotational parts, and none.
TABLES = {
    "invariant": {},
    "one ordered": {"rotate": ("ordered", "auto"), "hue": ("off", "auto")},
    "two ordered": {"hue": ("ordered", "fixed"), "crop": ("ordered", "auto")},
    "rotational": {"crop": ("rotational", "auto"), "hue": ("rotational", "shared")},
    "all": {
        "rotate": ("ordered", "shared"), "crop": ("rotational", "fixed"),
        "hue": ("predicted", "auto"),
    },
}  # fmt: skip
TABLES["all"]["contrast"] = ("off", "auto")


def settings(table, **changes):
    config = presets.factored("shapes")
    options = config.recipe.options
    options.size, options.flip, options.brightness, options.saturation = 8, 0.5, 0.0, 0.0
    config.roles, config.sharing, config.role_weights = ConfigDict(), ConfigDict(), ConfigDict()
    for part, (role, sharing) in TABLES[table].items():
        config.roles[part], config.sharing[part] = role, sharing
    config.objectives.equivariance.splits = SPLITS
    config.objectives.prediction.hidden = (4,)
    config.objectives.order.images = 0
    config.objectives.alignment = ConfigDict(methods.entry("alignment", weight=0.0))
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def built(config):
    """The static method, the gated one, and the table."""
    recipe = build_recipe(config.recipe.name, config.recipe.options)
    table = resolve(config, recipe)
    return methods.build(config), gated(config, recipe, numbers(table)), table


def numbers(table):
    return jax.tree.map(lambda leaf: leaf[0], gates([table]))


def gated(config, recipe, gate):
    """All roles are in use somewhere, but prediction, which costs time for each part, for hue."""
    used = {(part, role) for part in recipe.identity for role in ROLES if role != "predicted"}
    return gated_method(config, recipe, gate, used | {("hue", "predicted")})


@functools.cache
def program(name):
    """The draws of a view set as one program for all tables."""
    config = settings("invariant")
    recipe = build_recipe(config.recipe.name, config.recipe.options)

    def draw(gate):
        spec = gated(config, recipe, gate).views[name]
        return spec.pattern.draw(KEY, spec.transform, IMAGES)

    return jax.jit(draw)


def drawn(spec):
    draw = jax.jit(lambda key: spec.pattern.draw(key, spec.transform, IMAGES))
    return jax.device_get(draw(KEY))


def kinds(params, identity):
    """How each part is shared: by leaf, whether views are equal, images are equal, and at rest."""
    kinds_of = {}
    for part, leaves in params.items():
        for name, leaf in leaves.items():
            leaf = np.asarray(leaf, np.float64)
            kinds_of[part, name] = (
                bool((leaf == leaf[:1]).all()),
                bool((leaf == leaf[:, :1]).all()),
                bool((leaf == np.asarray(identity[part][name])).all()),
            )
    return kinds_of


@pytest.mark.parametrize("table", TABLES)
def test_contrast_views_share_what_the_table_says(table):
    config = settings(table)
    recipe = build_recipe(config.recipe.name, config.recipe.options)
    roles = resolve(config, recipe)
    gated = jax.device_get(program("contrast")(numbers(roles)))
    for part, line in roles.items():
        seen = [v for (p, _), v in kinds(gated.params, recipe.identity).items() if p == part]
        equal, still = all(s[0] for s in seen), all(s[2] for s in seen)
        expected = {"independent": (False, False), "shared": (True, False), "fixed": (True, True)}
        assert (equal, still) == expected[line.sharing], part
    assert gated.magnitude is None
    if table in ("all", "rotational"):
        spec = methods.build(config).views["contrast"]
        static = drawn(spec)
        assert kinds(static.params, recipe.identity) == kinds(gated.params, recipe.identity)
        for tree in (jax.tree.map(np.shape, (static, gated)), jax.tree.map(_type, (static, gated))):
            assert tree[0] == tree[1]


def _type(leaf):
    return leaf.dtype


@pytest.mark.parametrize(("variant", "reference"), [("paper", "augmented"), ("code", "identity")])
def test_the_views_of_care_are_shared_within_groups_as_in_the_static_method(variant, reference):
    changes = dict(
        objectives__equivariance__variant=variant, objectives__equivariance__reference=reference
    )
    static, roles, _ = built(settings("rotational", **changes))
    identity = static.views["equivariance"].transform.identity
    expected, gated = (drawn(m.views["equivariance"]).params for m in (static, roles))
    assert kinds(expected, identity) == kinds(gated, identity)
    for params in (expected, gated):
        distinct = [len(np.unique(row)) for row in params["hue"]["hue"]]
        draws = SPLITS if variant == "paper" else 1
        assert distinct == ([1, draws] if reference == "identity" else [draws, draws])
        groups = params["hue"]["hue"].reshape(2, SPLITS, -1)
        assert (groups == groups[:, :, :1]).all()
        assert (params["rotate"]["angle"] == 0).all()
    assert static.views["equivariance"][2:] == roles.views["equivariance"][2:]


def test_without_rotational_parts_the_views_of_care_are_the_images_themselves():
    config = settings("one ordered")
    _, roles, table = built(config)
    assert float(roles.objectives["equivariance"][0]) == 0
    params = jax.device_get(program("equivariance")(numbers(table)).params)
    identity = roles.views["equivariance"].transform.identity
    assert all(at_identity for _, _, at_identity in kinds(params, identity).values())


@pytest.mark.slow
def test_one_ordered_part_is_walked_by_all_images_and_all_else_stays():
    static, roles, table = built(settings("one ordered"))
    identity = static.views["contrast"].transform.identity
    expected, gated = drawn(static.views["ladder_rotate"]), program("ladder")(numbers(table))
    assert kinds(expected.params, identity) == kinds(gated.params, identity)
    angle, magnitude = gated.params["rotate"]["angle"], gated.magnitude
    assert (np.diff(magnitude, axis=0) > 0).all() and (np.diff(np.abs(angle), axis=0) > 0).all()
    ratio = angle / np.where(magnitude == 0, 1, magnitude)  # the draw of each image
    np.testing.assert_allclose(ratio[1:], np.broadcast_to(ratio[-1], ratio[1:].shape), rtol=1e-4)
    assert (gated.params["hue"]["hue"] == 0).all()  # off
    assert len(np.unique(gated.params["contrast"]["contrast"])) == IMAGES
    assert static.views["ladder_rotate"][2:] == roles.views["ladder"][2:]  # images, joint


def test_ordered_parts_take_turns_and_the_other_stays_still():
    _, _, table = built(settings("two ordered"))
    params, magnitude = jax.device_get(program("ladder")(numbers(table)))
    walked = {
        part: np.stack([(np.diff(leaf, axis=0) != 0).any(0) for leaf in params[part].values()]).any(
            0
        )
        for part in params
    }
    n = np.arange(IMAGES)
    # In the order of the recipe: crop first, then hue.
    np.testing.assert_array_equal(walked.pop("crop"), n % 2 == 0)
    np.testing.assert_array_equal(walked.pop("hue"), n % 2 == 1)
    assert not any(row.any() for row in walked.values())
    assert (np.diff(magnitude, axis=0) > 0).all()
    hue = params["hue"]["hue"]
    assert (np.diff(np.abs(hue[:, 1::2]), axis=0) > 0).all()
    assert (hue[:, ::2] != 0).all()  # held at a draw, not at rest: as in a ladder of the crop alone


def test_without_ordered_parts_nobody_walks_and_the_loss_weighs_nothing():
    _, roles, table = built(settings("invariant"))
    params, magnitude = jax.device_get(program("ladder")(numbers(table)))
    assert not magnitude.any()
    assert all((leaf == leaf[:1]).all() for leaf in jax.tree.leaves(params))
    weight, objective = roles.objectives["order"]
    assert float(weight) == 0
    z = jax.random.normal(KEY, (4, IMAGES, 3))

    def loss(z):
        return objective.loss((), Views(z, z, magnitude=jnp.asarray(magnitude)))[0]

    value, slope = jax.jit(jax.value_and_grad(loss))(z)
    assert jnp.isfinite(value) and jnp.isfinite(slope).all()  # 0 · ∞ would be NaN


@pytest.mark.parametrize("table", TABLES)
def test_weights_are_those_of_the_static_method(table):
    config = settings(
        table,
        objectives__info_nce__weight=0.7,
        objectives__alignment__weight=0.2,
        objectives__order__weight=0.5,
        objectives__prediction__weight=3.0,
    )
    if table == "all":
        config.role_weights.rotate, config.role_weights.hue = 0.5, 0.25
    static, roles, _ = built(config)
    expected = {name: float(weight) for name, (weight, _) in static.objectives.items()}
    other = {name: float(weight) for name, (weight, _) in roles.objectives.items()}
    ladders = [expected.pop(name) for name in list(expected) if name.startswith("order_")]
    assert other.pop("order") == pytest.approx(sum(ladders))
    assert {name: w for name, w in other.items() if w} == pytest.approx(expected)


def test_the_order_loss_of_one_part_is_that_of_the_static_method():
    """The same numbers from the same embeddings and magnitudes, whatever else could be ordered."""
    static, roles, _ = built(settings("one ordered"))
    z = jax.random.normal(KEY, (4, IMAGES, 3))
    magnitude = jnp.sort(jax.random.uniform(KEY, (4, IMAGES)), axis=0)
    seen = Views(z, z, magnitude=magnitude)
    expected = static.objectives["order_rotate"]
    other = roles.objectives["order"]
    np.testing.assert_allclose(
        expected[0] * expected[1].loss((), seen)[0],
        other[0] * other[1].loss((), seen)[0],
        rtol=1e-6,
    )
    assert roles.views["ladder"].joint


@pytest.mark.slow
def test_many_tables_are_one_program():
    """vmap over the numbers gives each table the draws that it has alone."""
    config = settings("invariant")
    recipe = build_recipe(config.recipe.name, config.recipe.options)
    tables = [resolve(settings(name), recipe) for name in ("invariant", "two ordered")]
    together = jax.jit(jax.vmap(program("ladder")))(gates(tables))
    for k, table in enumerate(tables):
        alone = program("ladder")(numbers(table))
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[k], b, rtol=1e-5, atol=1e-6)
    assert program("ladder")._cache_size() == 1
