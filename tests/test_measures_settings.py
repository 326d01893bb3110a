"""Budgets of an evaluation: what a run gives the suite, and settings that are refused."""

from types import SimpleNamespace

import pytest

from eqssl_jax import methods, presets
from eqssl_jax.experiment import assess
from eqssl_jax.measures import settings
from eqssl_jax.training.datasets import measured_recipe


def test_a_run_gives_the_probe_the_views_of_its_config(monkeypatch):
    config = presets.with_care(presets.contrastive("imagenet100"))
    stored = SimpleNamespace(image_shape=(256, 384, 4), splits={"train": "whole images"})
    run = SimpleNamespace(config=config, stored=stored, recipe=measured_recipe(config),
                          dataset=SimpleNamespace(image_shape=(224, 224, 3)))  # fmt: skip
    given = []
    monkeypatch.setattr(
        assess.measures, "evaluate", lambda *args, **more: given.append((args[2], more))
    )
    assess.evaluate(run, {}, {}, {})
    [(measured, more)] = given
    # The paper's probe of ImageNet-100 has a recipe of its own; CARE's recipe is measured.
    views = methods.build_recipe("crop_flip", {"size": 224})
    assert more["probe_transform"] is views
    assert more["probe_split"] == "whole images"
    assert measured is run.recipe is not views
    assess.evaluate(run, {}, {"care_recipe": ""}, {})
    recipe = methods.build_recipe(config.recipe.name, config.recipe.options)
    assert given[1][1]["probe_transform"] is recipe is not views


@pytest.mark.parametrize(
    ("preset", "options", "message"),
    [
        ("fast", {}, "'fast'"),
        ("quick", {"augmentation": 5}, "config.evaluation.options has no budget"),
        ("quick", {"augmentations": "5"}, "augmentations is '5'; it must be a whole number"),
        ("quick", {"augmentations": None}, "augmentations is None"),
        ("quick", {"queries": -1}, "queries is -1"),
        ("full", {"queries": True}, "queries is True"),
        ("full", {"knn_temperature": float("nan")}, "knn_temperature is nan"),
        ("full", {"seeds": ()}, "seeds"),
        ("full", {"train_images": 0}, "train_images is 0.*or None: all"),
        ("quick", {"ladder_rungs": 2}, "ladder_rungs is 2"),
        ("full", {"care_optimizer": "lars"}, "care_optimizer is 'lars'; it must be one of"),
        ("quick", {"steering_draws": 5}, "steering_draws is 5"),
    ],
)
def test_bad_settings_are_named(preset, options, message):
    with pytest.raises(ValueError, match=message):
        settings(preset, **options)


def test_settings_take_json_values():
    assert settings("full", train_images=None, knn_temperature=1, seeds=[3]).seeds == (3,)
    assert settings("quick", steering_parts=["hue"]).steering_parts == ("hue",)
    assert settings("quick").steering_draws == 0
    assert settings() == settings("full") and settings().train_images == 50_000
