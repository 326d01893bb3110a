"""Cards: what each must say, how entries become complete, and one from outside that is trained."""

import json
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import toys
from ml_collections import ConfigDict

from eqssl_jax import methods, presets, settings
from eqssl_jax.config import checked, load, plain
from eqssl_jax.experiment.run import expand
from eqssl_jax.methods.stored import converted
from eqssl_jax.objectives import GEOMETRIES
from eqssl_jax.tabular.published import published


def small(**entries) -> ConfigDict:
    """A few shapes of 16 pixels with roles, and these entries beside SimCLR and those of roles."""
    config = presets.factored("shapes")
    config.data.options = ConfigDict({"train_size": 64, "test_size": 16, "out_of_range_size": 16})
    config.data.size = config.recipe.options.size = 16
    config.data.validation = 0.25
    config.model.encoder, config.model.stem, config.model.projector = (
        "conv_tiny",
        "imagenet",
        (8, 4),
    )
    config.train.batch_size, config.train.steps = 8, 3
    config.optimizer.warmup_epochs = 0.0
    for key, entry in entries.items():
        config.objectives[key] = ConfigDict(entry)
    return config


@pytest.mark.parametrize("name", methods.cards())
def test_a_card_says_what_others_rely_on(name):
    card = methods.find(name)
    assert card.name == name
    assert card.title and card.source
    assert card.role in ("", "rotational", "ordered", "predicted")
    assert set(card.needs) <= set(methods.card.NEEDS)
    assert set(card.geometries) <= set(GEOMETRIES)
    rows = {row for table in published().values() for row, _ in table.cells}
    assert not card.published or card.published in rows
    entry = methods.entry(name)
    assert settings.check(entry, {"method": settings.text("", ""), **methods.entries.schema(card)})


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"needs": ("label",)}, r"needs has 'label' \(did you mean 'labels'\?\), and must be"),
        ({"needs": "labels"}, "needs is 'labels', and must be a tuple of target, memory"),
        ({"geometries": ("spheres",)}, "geometries has 'spheres'"),
        ({"role": "rotationl"}, "role is 'rotationl', and must be"),
    ],
)
def test_a_card_that_names_what_there_is_not_is_refused(tmp_path, monkeypatch, mistake, message):
    (tmp_path / "my_card.py").write_text(
        "from eqssl_jax.methods.simclr import CARD\n"
        f"CARD = CARD._replace(name='mine', **{mistake!r})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(ValueError, match=f"is 'my_card:CARD', and of its card {message}"):
            methods.resolved(small(mine={"method": "my_card:CARD"}))
    finally:
        sys.modules.pop("my_card", None)


def test_a_config_holds_only_the_cards_in_use():
    config = small()
    assert set(config.objectives) == {"info_nce", "equivariance", "order", "prediction"}
    assert set(methods.resolved(config).objectives) == {"info_nce"}
    config.roles.rotate, config.roles.hue = "ordered", "rotational"
    resolved = methods.resolved(config)
    assert set(resolved.objectives) == {"info_nce", "order", "equivariance"}
    assert methods.resolved(resolved).to_dict() == resolved.to_dict()
    config.objectives.info_nce.weight = 0.0
    assert "info_nce" not in methods.resolved(config).objectives


def test_an_entry_is_completed_and_a_role_has_its_usual_one():
    config = small()
    config.objectives = ConfigDict({"moco": {"temperature": 0.3}, "two": {"method": "simclr"}})
    config.roles.rotate = "predicted"
    objectives = methods.resolved(config).objectives.to_dict()
    assert objectives["moco"] == methods.entry("moco", temperature=0.3)
    assert objectives["two"] == methods.entry("simclr")
    assert objectives["prediction"] == methods.entry("prediction")
    config.objectives.prediction = ConfigDict({"weight": 0.0})
    again = methods.resolved(methods.resolved(config))  # and not added a second time
    assert again.objectives.prediction.weight == 0
    assert "prediction_rotate" not in methods.build(again).objectives


@pytest.mark.parametrize("others", ["shared", "independent"])
def test_along_a_ladder_the_others_are_one_draw_or_one_for_each_rung(others):
    config = small(order=methods.entry("order", others=others, rungs=3))
    config.roles.rotate, config.roles.hue = "ordered", "off"
    view_set = methods.build(methods.resolved(config)).views["ladder_rotate"]
    params, magnitude = view_set.pattern.draw(jax.random.key(0), view_set.transform, 4)
    assert (
        np.all(np.diff(magnitude, axis=0) > 0) and np.ptp(params["rotate"]["angle"], axis=0).all()
    )
    varies = np.ptp(params["brightness"]["brightness"], axis=0) > 0
    assert varies.all() if others == "independent" else not varies.any()
    assert not np.any(params["hue"]["hue"])


def test_another_method_for_a_role_takes_its_settings_along():
    config = small()
    config.roles.crop = "rotational"
    config.objectives.equivariance.splits = 4
    config.objectives.equivariance.method = "two_view_care"  # as a flag would
    entry = methods.resolved(config).objectives.equivariance.to_dict()
    assert entry == methods.entry("two_view_care", splits=4)
    config.objectives.equivariance.images = 4  # not a default that was left over
    with pytest.raises(ValueError, match="has no setting 'images'"):
        methods.resolved(config)


def test_the_order_of_entries_does_not_matter():
    """JSON sorts them; heads and draws of a resumed run must be those it started with."""
    config = small(equimod=methods.entry("equimod", projector=(4,), parameters=2))
    turned = ConfigDict(config.to_dict())
    turned.objectives = ConfigDict(dict(reversed(config.objectives.to_dict().items())))
    first, second = methods.build(config), methods.build(turned)
    assert list(first.objectives) == list(second.objectives) == ["info_nce", "equimod"]
    assert list(first.views) == list(second.views)


def test_runs_may_have_objectives_of_their_own():
    config = small()
    config.runs = ConfigDict({"a": {"objectives": {"byol": {"weight": 1.0}}}, "b": {}})
    runs = expand(config.lock())
    assert set(runs["a"].objectives) == {"info_nce", "byol"}
    assert set(runs["b"].objectives) == {"info_nce"}


def test_configs_of_older_versions_are_converted():
    old = plain(small())
    old["objectives"] = {
        "geometry": "hyperboloid",
        "info_nce": {"weight": 1.0, "temperature": 0.3},
        "moco": {"weight": 0.0, "temperature": 0.2, "queue": 7, "symmetric": False},
        "equivariance": {
            "weight": 0.2, "splits": 4, "views": "contrast", "form": "minkowski",
            "variant": "paper", "reference": "augmented", "images": 0, "recipe": "",
            "recipe_options": {},
        },
        "order": {"weight": 0.0},
    }  # fmt: skip
    old["roles"]["crop"], old["sharing"]["hue"], old["roles"]["hue"] = "rotational", "rest", "off"
    del old["model"]["geometry"]
    resolved = methods.resolved(load(converted(json.loads(json.dumps(old)))))
    assert resolved.model.geometry == "hyperboloid" and resolved.sharing.hue == "fixed"
    assert set(resolved.objectives) == {"info_nce", "equivariance"}
    assert resolved.objectives.info_nce.to_dict() == methods.entry("simclr", temperature=0.3)
    assert resolved.objectives.equivariance.to_dict() == methods.entry(
        "two_view_care", weight=0.2, splits=4, form="minkowski"
    )
    new = plain(methods.resolved(small()))
    assert converted(new) == new


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder of the user's own with the module, where commands are started."""
    shutil.copy(Path(__file__).parent / "outside_stl.py", tmp_path / "my_stl.py")
    monkeypatch.chdir(tmp_path)
    config = small(stl={"method": "my_stl:stl", "code": (8, 4)})
    del config.objectives["info_nce"]
    return config


def test_a_method_from_outside_shares_draws_as_it_says(outside):
    built = methods.build(checked(outside))
    assert (list(built.views), list(built.objectives)) == (["pairs"], ["stl"])
    spec = built.views["pairs"]
    drawn = toys.drawn(spec, 7).params  # an odd number
    hue, angle = np.asarray(drawn["hue"]["hue"]), np.asarray(drawn["rotate"]["angle"])
    for leaf in (hue, angle):
        np.testing.assert_array_equal(leaf[:, 0:6:2], leaf[:, 1:6:2])
        assert len(np.unique(leaf)) == 2 * 4


def test_a_recipe_from_outside(outside, tmp_path):
    (tmp_path / "my_views.py").write_text(
        "from eqssl_jax import transforms as t\n"
        "def gentle(size=16, angle=0.1):\n"
        "    turn, hue = t.rotate(angle), t.hue(0.1)\n"
        "    return t.chain(crop=t.random_resized_crop(size), rotate=turn, hue=hue)\n"
        "def nothing():\n"
        "    return 3\n"
    )
    options = {"size": 16, "angle": 0.2}
    made = methods.build_recipe("my_views:gentle", options)
    assert set(made.identity) == {"crop", "rotate", "hue"}
    assert methods.build_recipe("my_views:gentle", options) is made  # compiled once
    with pytest.raises(ValueError, match=r"my_views:gentle takes \(size=16, angle=0.1\)"):
        methods.build_recipe("my_views:gentle", {"angel": 0.2})
    with pytest.raises(ValueError, match="'my_views:nothing', which returned int"):
        methods.build_recipe("my_views:nothing", {})
