"""Roles of the parts of a recipe: the view sets, objectives and plan that they become."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys
from ml_collections import ConfigDict

from eqssl_jax import methods, presets
from eqssl_jax.methods import resolve
from eqssl_jax.objectives import Views
from eqssl_jax.training.plan import _groups, _role, _view_set
from eqssl_jax.training.setup import setup


def factored(**changes):
    """Roles for every factor on a few shapes, with parts that have no magnitude."""
    config = presets.factored("shapes")
    config.data.options = ConfigDict({"train_size": 160, "test_size": 16, "out_of_range_size": 16})
    config.recipe.options.flip = 0.5
    config.roles.flip = "invariant"
    config.train.batch_size, config.objectives.order.images = 16, 8
    config.lock()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def test_ordered_without_a_magnitude_is_refused_with_what_has_one():
    with pytest.raises(ValueError, match=r"draw of flip has no magnitude.*order one of rotate"):
        setup(factored(roles__flip="ordered"))
    config = factored(roles__hue="ordered")
    with config.unlocked():
        config.recipe.options.max_angle = 0.0  # leaves the part out
    with pytest.raises(ValueError, match="'rotate', which is not a part"):
        setup(config)


def test_predicted_without_anything_that_varies_is_refused():
    with pytest.raises(ValueError, match="'predicted', but its draws never differ"):
        methods.build(presets_with_still_crop())


def presets_with_still_crop():
    config = factored(roles__crop="predicted")
    with config.unlocked():
        config.recipe.options.scale = (1.0, 1.0)
        config.recipe.options.ratio = (1.0, 1.0)
    return config


def test_roles_become_view_sets_and_objectives():
    config = factored(
        roles__rotate="ordered", roles__crop="rotational", roles__hue="predicted",
        roles__brightness="off", roles__flip="predicted", role_weights__rotate=0.5,
        role_weights__hue=0.25, objectives__equivariance__splits=4,
    )  # fmt: skip
    built = methods.build(config)
    weights = {name: weight for name, (weight, _) in built.objectives.items()}
    assert weights == {
        "info_nce": 1.0, "equivariance": 0.1, "order_rotate": 0.5, "prediction_flip": 1.0,
        "prediction_hue": 0.25,
    }  # fmt: skip
    drawn = {name: toys.drawn(spec, 8) for name, spec in built.views.items()}
    contrast, ladder = drawn["contrast"].params, drawn["ladder_rotate"].params
    turned = np.asarray(contrast["rotate"]["angle"])
    assert np.array_equal(turned[0], turned[1])  # ordered: one draw for both views
    assert np.abs(turned).min() > 0
    for part, leaf in (("crop", "height"), ("hue", "hue")):
        assert (np.asarray(contrast[part][leaf])[0] != np.asarray(contrast[part][leaf])[1]).all()
    assert (np.asarray(contrast["brightness"]["brightness"]) == 1).all()
    assert (np.asarray(ladder["brightness"]["brightness"]) == 1).all()
    for part, leaves in ladder.items():
        for leaf in leaves.values():
            along = np.asarray(leaf, np.float32)
            same = (along == along[:1]).all()
            assert same == (part != "rotate"), part  # only the rotation changes on its ladder
    assert (np.diff(np.abs(np.asarray(ladder["rotate"]["angle"])), axis=0) > 0).all()
    assert (np.diff(drawn["ladder_rotate"].magnitude, axis=0) > 0).all()


@pytest.mark.parametrize(
    ("sharing", "expected"), [("shared", "equal"), ("fixed", "fixed"), ("auto", "differ")]
)
def test_sharing_of_a_rotational_part(sharing, expected):
    config = factored(roles__hue="rotational", objectives__equivariance__splits=4)
    with config.unlocked():
        config.sharing.hue = sharing
    spec = methods.build(config).views["contrast"]
    first, second = np.asarray(toys.drawn(spec, 8).params["hue"]["hue"])
    relation = "equal" if (first == second).all() else "differ"
    assert ("fixed" if not first.any() else relation) == expected


def seen(embeddings, features=None, **more):
    features = embeddings if features is None else features
    return Views(features=jnp.asarray(features), embeddings=jnp.asarray(embeddings), **more)


def test_the_order_objective_looks_at_directions_not_lengths():
    built = methods.build(factored(roles__rotate="ordered"))
    loss = built.objectives["order_rotate"][1].loss
    z = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)
    s = jnp.broadcast_to(jnp.linspace(0, 1, 4)[:, None], (4, 6))
    lengths = np.linspace(0.5, 9, 24).reshape(4, 6, 1).astype(np.float32)
    first, second = (loss((), seen(x, magnitude=s))[0] for x in (z, z * lengths))
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert first > 0.01


def test_the_prediction_objective_reads_differences_from_either_order_of_the_views():
    """With a head that shows its first input: the loss is that of both differences, scaled."""
    config = factored(roles__brightness="predicted", recipe__options__brightness=0.3)
    with config.unlocked():
        config.objectives.prediction.hidden = ()
    built = methods.build(config)
    objective = built.objectives["prediction_brightness"][1]
    draws = toys.drawn(built.views["contrast"], 4000)
    ratio = np.asarray(draws.params["brightness"]["brightness"])  # [2, N]
    view = seen(np.zeros((2, 4000, 1), np.float32), ratio[..., None], params=draws.params)
    weights = jax.jit(objective.init)(jax.random.key(1), view)
    loss = jax.jit(lambda dense: objective.loss({**weights, "dense1": dense}, view)[0])
    variance = 2 * 0.6**2 / 12  # of the difference of two uniform draws of width 0.6

    def value(first, second):
        kernel = np.array([[first], [second]], np.float32)
        return float(loss({"kernel": kernel, "bias": np.zeros(1, np.float32)}))

    np.testing.assert_allclose(value(-1, 1), 0, atol=1e-10)  # second − first, for both orders
    np.testing.assert_allclose(value(0, 0), 1, rtol=0.06)
    expected = np.mean((ratio[1] - ratio[0]) ** 2) / variance
    np.testing.assert_allclose(value(0, 0), expected, rtol=0.06)


def test_a_ladder_costs_its_rungs_and_no_more():
    built = methods.build(factored(roles__rotate="ordered", objectives__order__images=0))
    views_of = {name: spec.pattern.views for name, spec in built.views.items()}
    assert views_of == {"contrast": 2, "ladder_rotate": 4}  # V rungs and the two of the contrast


def test_weight_zero_leaves_an_objective_out():
    built = methods.build(factored(roles__rotate="ordered", role_weights__rotate=0.0))
    assert set(built.objectives) == {"info_nce"}
    built = methods.build(factored(roles__rotate="predicted", objectives__info_nce__weight=0.0))
    assert (set(built.views), set(built.objectives)) == ({"contrast"}, {"prediction_rotate"})


def test_the_plan_says_what_every_role_does():
    config = factored(
        roles__rotate="ordered", roles__hue="predicted", roles__crop="off",
        role_weights__hue=0.0,
    )  # fmt: skip
    run = setup(config)
    lines = {part: _role(part, line, run) for part, line in resolve(config, run.recipe).items()}
    assert lines["rotate"] == "ordered; order_rotate × 1"
    assert lines["hue"] == "predicted; prediction_hue has weight 0"
    assert lines["crop"] == "off"
    assert lines["flip"] == "invariant"
    contrast = _view_set(run, "contrast")
    assert contrast.startswith("2 views of 16 images: ")
    assert "rotate drawn for each image, shared by its views" in contrast
    assert "crop at its identity" in contrast
    assert "brightness, contrast, saturation, hue drawn for each image and each view" in contrast
    ladder = _view_set(run, "ladder_rotate")
    assert "rotate drawn for each image, approached in 4 steps from its identity" in ladder


def test_the_plan_says_whether_groups_of_care_lie_whole_on_devices():
    changes = {"roles__rotate": "rotational", "objectives__equivariance__splits": 8}
    run = setup(factored(**changes))  # on the eight devices of these tests
    batch = run.config.train.batch_size
    text = f"8 of {batch // 8} images, 1 whole on each device"
    assert _groups(run) == {"groups of equivariance": text}
    with run.config.unlocked():
        run.config.objectives.equivariance.splits = 4
    assert "not whole on 8 devices" in _groups(run)["groups of equivariance"]
    assert _groups(setup(factored())) == {}
