"""Configs of papers: their variants, and the values that papers and authors give."""

import importlib.util
import inspect
import itertools
from pathlib import Path

import pytest

from eqssl_jax import methods, presets
from eqssl_jax.config import load, plain
from eqssl_jax.experiment.run import expand
from eqssl_jax.settings import differences
from eqssl_jax.training.checks import check_batch
from eqssl_jax.transforms import recipes

VALUES = ("authors", "solo")
CONFIGS = Path(__file__).parent.parent / "configs"


def test_every_strength_of_a_recipe_is_a_setting_with_the_default_of_the_recipe():
    for options, function in (
        (presets.VIEWS, recipes.simclr_cifar),
        (presets.SHAPES_VIEWS, recipes.shapes),
    ):
        defaults = {n: p.default for n, p in inspect.signature(function).parameters.items()}
        assert options == defaults


@pytest.mark.parametrize("variant", ["shape", "imagenet100"])
def test_unknown_variants_of_the_factored_configs(variant):
    with pytest.raises(ValueError, match=r"is unknown: choose one of shapes, .*cifar10"):
        presets.factored(variant)


@pytest.mark.slow
def test_every_config_loads_for_every_variant_and_builds_its_method():
    for path in sorted(CONFIGS.glob("*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if path.stem in ("order", "care_order", "advise"):
            for dataset in presets.FACTORED:
                config = module.get_config(dataset)
                built = methods.build(config)
                check_batch(config, built, devices=1)
                assert ("order_rotate" in built.objectives) == (path.stem != "advise")
                assert ("equivariance" in built.objectives) == (path.stem == "care_order")
            continue
        if path.stem == "proteins":
            for name, weights in presets.PROTEIN_METHODS.items():
                assert set(methods.build(module.get_config(name)).objectives) == set(weights)
            continue
        if path.stem == "vit":
            for base, added in itertools.product(presets.BASES, ("", ",care", ",equimod")):
                config = module.get_config(f"{base},shapes{added}")
                config.unlock()
                config.roles.rotate, config.roles.jitter = "ordered", "predicted"
                built = methods.build(config)
                check_batch(config, built, devices=1)
                assert {"order_rotate", "prediction_jitter"} <= set(built.objectives)
                assert config.target.final == 1
            continue
        if path.stem not in (*presets.BASES, "care", "care_two_views", "equimod"):
            expanded = expand(module.get_config())
            assert len(expanded) >= 2 or path.stem in ("any_encoder", "benchmark", "finetune")
            for config in expanded.values():
                assert methods.build(config).objectives
            continue
        values = [f"{dataset},{v}" for dataset in ("cifar10", "imagenet100") for v in VALUES]
        for variant in (*presets.DATASETS, *values):
            config = module.get_config(variant)
            built = methods.build(config)
            check_batch(config, built, devices=1)
            assert ("equivariance" in built.objectives) == path.stem.startswith("care")
            assert ("equimod" in built.objectives) == (path.stem == "equimod")
            base = path.stem if path.stem in presets.BASES[1:] else "info_nce"
            assert base in built.objectives
            assert load(plain(config)).to_dict().keys() == config.to_dict().keys()


def test_paper_and_authors_values_are_both_reachable():
    paper = presets.with_care(presets.contrastive("cifar10"))
    authors = presets.with_care(presets.contrastive("cifar10", "authors"))
    changed = differences(plain(paper), plain(authors))
    assert changed == {
        "objectives.equivariance.weight": (0.01, 0.03),
        "objectives.equivariance.variant": ("paper", "code"),
    }


@pytest.mark.parametrize("base", presets.BASES)
def test_care_is_added_to_any_base_method_by_one_word(base):
    for dataset in ("cifar10", "cifar100", "stl10", "imagenet100"):
        alone = presets.method(base, dataset)
        with_care = presets.method(base, f"{dataset},care")
        changed = differences(plain(alone), plain(with_care))
        assert {key.split(".")[0] for key in changed} <= {"roles", "objectives"}
        assert {new for _, new in changed.values()} - {"rotational"} <= {
            "care_imagenet_equivariant", 128,
        }  # fmt: skip
        built = methods.build(with_care)
        weight = 0.01 if (base, dataset) == ("moco", "imagenet100") else presets.WEIGHTS[dataset]
        assert built.objectives["equivariance"][0] == (
            weight if isinstance(weight, float) else weight["paper"][0]
        )


def test_the_recipes_are_those_of_their_sources():
    """Facts typed from the papers and from solo-learn, not from the presets."""
    moco = presets.method("moco", "imagenet100")
    assert (moco.objectives.moco.temperature, moco.objectives.moco.queue) == (0.2, 65_536)
    assert (moco.target.momentum, moco.target.final) == (0.99, 0.99)
    assert presets.method("moco", "cifar10").objectives.moco.temperature == 0.1
    solo = presets.method("byol", "cifar100,solo")
    assert (solo.model.encoder, solo.train.epochs, solo.train.batch_size) == ("resnet18", 1000, 256)
    assert (solo.optimizer.name, solo.optimizer.learning_rate) == ("lars", 1.0)
    assert (solo.model.projector, solo.objectives.byol.hidden) == ((4096, 256), (4096,))
    assert (solo.target.momentum, solo.target.final) == (0.99, 1.0)
    assert (solo.optimizer.trust, solo.optimizer.clip) == (0.02, True)
    assert presets.method("vicreg", "cifar10").model.projector == (2048, 2048, 2048)
    assert presets.method("vicreg", "cifar10").objectives.vicreg.variance == 50  # see SOLO
    assert not presets.method("simclr", "cifar10,solo").model.projector_batch_norm
    assert presets.method("moco", "imagenet100,care,solo").objectives.equivariance.splits == 8
    twins = presets.method("barlow_twins", "cifar10")
    assert (twins.objectives.barlow_twins.weight, twins.model.encoder) == (0.1, "resnet50")
    equimod = presets.method("byol", "cifar10,equimod,equimod_recipe")
    assert (equimod.optimizer.learning_rate, equimod.target.momentum) == (2.0, 0.996)
    with_own_recipe = presets.method("simclr", "cifar10,equimod,equimod_recipe")
    assert (with_own_recipe.optimizer.trust, with_own_recipe.optimizer.clip) == (1e-3, False)
    assert (
        with_own_recipe.model.projector_last_batch_norm
        and not equimod.model.projector_last_batch_norm
    )
    stl = presets.method("simclr", "stl10")
    assert (stl.data.size, stl.recipe.options.size) == (96, 32)
    imagenet = presets.method("simclr", "imagenet100")
    assert imagenet.objectives.info_nce.temperature == 0.2
    assert imagenet.evaluation.options.care_rate == 30
    assert (equimod.objectives.equimod.weight, equimod.objectives.equimod.temperature) == (1.0, 0.2)


def test_lambda_keeps_the_size_of_a_group():
    """The Gram loss sums over the images of a group, so λ belongs to 16 or 32 of them."""
    two = presets.method("simclr", "imagenet100,two_views")
    assert two.train.batch_size // two.objectives.equivariance.splits == 128 // 4
    larger = presets.method("simclr", "cifar10,care,equimod,equimod_recipe")
    assert larger.train.batch_size // larger.objectives.equivariance.splits == 256 // 16


def test_recipes_that_nobody_published():
    with pytest.raises(ValueError, match="not for shapes"):
        presets.method("simclr", "shapes,solo")
    with pytest.raises(ValueError, match="known for simclr and byol"):
        presets.method("vicreg", "cifar10,equimod_recipe")
    with pytest.raises(ValueError, match="'dino' is unknown"):
        presets.method("dino", "cifar10")


@pytest.mark.parametrize("variant", ["cifar11", "cifar10,ours", "cifar10,paper,solo"])
def test_unknown_variants(variant):
    with pytest.raises(ValueError, match="write :DATASET"):
        presets.parse(variant)
