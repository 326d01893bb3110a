"""Bad settings are refused before anything is compiled, each with its key and the fix."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from eqssl_jax import presets
from eqssl_jax.config import differences, load, plain
from eqssl_jax.experiment.run import expand
from eqssl_jax.training.setup import check_batch, setup
from eqssl_jax.transforms import recipes

CONFIGS = Path(__file__).parent.parent / "configs"


def small(**changes):
    """CARE on a few shapes; `changes` by dotted key with "__" for dots."""
    config = presets.with_care(presets.contrastive("shapes"), "shapes")
    config.data.options = ConfigDict({"train_size": 160, "test_size": 16, "out_of_range_size": 16})
    config.train.batch_size, config.objectives.equivariance.splits = 16, 4
    config.optimizer.warmup_epochs = 0.0
    config.train.steps = 8
    config.lock()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def test_the_small_config_itself_is_fine():
    run = setup(small())
    assert (run.steps, run.steps_per_epoch, run.split.size) == (8, 9, 144)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__batch_size": 1}, "at least two images"),
        ({"train__batch_size": 20}, r"20, which 8 devices cannot share.*e\.g\. 16"),
        ({"objectives__equivariance__splits": 5}, r"splits = 5 equal groups.*e\.g\. 15"),
        ({"objectives__equivariance__splits": 0}, "splits = 0"),
        ({"objectives__equivariance__splits": 16}, "two or more"),
        ({"objectives__equivariance__images": 32}, "compares 32 of 16 images"),
        ({"objectives__equivariance__variant": "papre"}, "'paper'.*or 'code'"),
        ({"objectives__equivariance__weight": -0.1}, "must not be negative"),
        ({"objectives__equivariance__reference": "none"}, "'augmented' or 'identity'"),
        ({"objectives__info_nce__temperature": 0.0}, "temperature is 0.0"),
        ({"recipe__name": "simclr"}, "no recipe; choose from"),
        ({"roles__crop": "invariance"}, "choose from invariant, rotational, off"),
        ({"data__split": "unlabeled"}, "has only"),
        ({"data__on_device": "maybe"}, "choose from"),
        ({"data__corrupt": "ignore"}, "corrupt"),
        ({"model__encoder": "resnet19"}, "resnet19"),
        ({"model__stem": "small"}, "small"),
        ({"model__compute_dtype": "float16"}, "float16"),
        ({"optimizer__name": "adma"}, "choose adam"),
        ({"train__log_every": 0}, "log_every is 0"),
        ({"train__steps_per_dispatch": 0}, "steps_per_dispatch is 0"),
        ({"train__steps": 0, "train__epochs": 0.0}, "at least one"),
        ({"train__batch_size": 160}, "at most 144"),
        ({"train__keep": 0}, "keep is 0"),
        ({"knn__neighbours": 0}, "knn.neighbours is 0"),
        ({"evaluation__preset": "qick"}, "no evaluation preset 'qick'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_values(changes, message):
    with pytest.raises(ValueError, match=message):
        setup(small(**changes))


def test_a_setting_of_the_recipe_that_does_not_exist():
    config = small()
    with config.unlocked():
        config.recipe.options.blurr = 3
    with pytest.raises(ValueError, match=r"does not fit the recipe shapes.*blurr"):
        setup(config)


def test_a_role_for_a_part_the_recipe_does_not_have():
    config = small()
    with config.unlocked():
        config.roles.solarize = "off"
    with pytest.raises(ValueError, match=r"'solarize', which is not a part.*crop"):
        setup(config)


def test_care_without_anything_rotational():
    roles = {f"roles__{part}": "invariant" for part in ("crop", "jitter", "rotate")}
    with pytest.raises(ValueError, match="no transformation of the recipe is rotational"):
        setup(small(**roles))


def test_evaluation_sees_images_at_the_size_of_the_views():
    """Whole images, resized, when the recipe crops to another size than they are stored at."""
    run = setup(small(data__size=48))
    assert run.dataset.image_shape == (32, 32, 3)
    indices = np.arange(3, dtype=np.int32)
    stored = run.split.read(run.split.pool, indices)
    seen = run.dataset.splits["train"].read(run.split.pool, indices)
    assert (stored.shape, seen.shape) == ((3, 48, 48, 3), (3, 32, 32, 3))
    expected = jax.image.resize(stored, seen.shape, "linear", antialias=True)
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    again = setup(small(data__size=48))
    assert again.dataset.splits["test"].read is run.dataset.splits["test"].read  # compiled once


def test_every_strength_of_a_recipe_is_a_setting_with_the_default_of_the_recipe():
    import inspect

    for options, function in (
        (presets.VIEWS, recipes.simclr_cifar),
        (presets.SHAPES_VIEWS, recipes.shapes),
    ):
        defaults = {n: p.default for n, p in inspect.signature(function).parameters.items()}
        assert options == defaults


def test_nothing_to_train():
    changes = {"objectives__info_nce__weight": 0.0, "objectives__equivariance__weight": 0.0}
    with pytest.raises(ValueError, match="nothing to train"):
        setup(small(**changes))


def test_every_config_loads_for_every_variant_and_builds_its_method():
    from eqssl_jax import method

    for path in sorted(CONFIGS.glob("*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if path.stem not in ("care", "simclr"):
            expanded = expand(module.get_config())
            assert len(expanded) >= 2
            for config in expanded.values():
                assert method.build(config).objectives
            continue
        for dataset in presets.DATASETS:
            for values in ("", ",authors"):
                config = module.get_config(dataset + values)
                built = method.build(config)
                check_batch(config, built, devices=1)
                assert ("equivariance" in built.objectives) == (path.stem == "care")
                assert load(plain(config)).to_dict().keys() == config.to_dict().keys()


def test_paper_and_authors_values_are_both_reachable():
    paper = presets.with_care(presets.contrastive("cifar10"), "cifar10")
    authors = presets.with_care(presets.contrastive("cifar10", "authors"), "cifar10", "authors")
    changed = differences(plain(paper), plain(authors))
    assert changed == {
        "objectives.equivariance.weight": (0.01, 0.03),
        "objectives.equivariance.variant": ("paper", "code"),
    }


@pytest.mark.parametrize("variant", ["cifar11", "cifar10,ours"])
def test_unknown_variants(variant):
    with pytest.raises(ValueError, match="write :DATASET"):
        presets.parse(variant)


def test_overrides_of_runs_that_do_not_exist():
    config = small()
    with config.unlocked():
        config.runs = ConfigDict({"a": {"objectives": {"equivarance": {"weight": 1.0}}}})
    with pytest.raises(ValueError, match=r"config\.runs\.a does not fit"):
        expand(config)


def test_runs_share_everything_but_their_overrides():
    config = small()
    with config.unlocked():
        config.runs = ConfigDict(
            {"simclr": {"objectives": {"equivariance": {"weight": 0.0}}}, "care": {}}
        )
    runs = expand(config)
    assert differences(plain(runs["simclr"]), plain(runs["care"])) == {
        "objectives.equivariance.weight": (0.0, 0.1)
    }
