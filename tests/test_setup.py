"""Bad settings are refused before anything is compiled, each with its key and the fix."""

import importlib.util
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from eqssl_jax import methods, presets
from eqssl_jax.config import load, plain
from eqssl_jax.experiment.run import expand
from eqssl_jax.methods import resolve
from eqssl_jax.objectives import Views
from eqssl_jax.settings import differences
from eqssl_jax.training.checks import check_batch
from eqssl_jax.training.model import build_network
from eqssl_jax.training.plan import _groups, _role, _view_set
from eqssl_jax.training.setup import settled, setup
from eqssl_jax.training.workdir import claim, read_config
from eqssl_jax.transforms import recipes

VALUES = ("authors", "solo")
CONFIGS = Path(__file__).parent.parent / "configs"


def small(**changes):
    """CARE on a few shapes; `changes` by dotted key with "__" for dots."""
    config = presets.with_care(presets.contrastive("shapes"))
    config.data.options = ConfigDict({"train_size": 160, "test_size": 16, "out_of_range_size": 16})
    config.train.batch_size, config.objectives.equivariance.splits = 16, 4
    config.optimizer.warmup_epochs = 0.0
    config.train.steps = 8
    for key, entry in changes.pop("add", {}).items():
        config.objectives[key] = ConfigDict(entry)
    config.lock()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def test_auto_is_bfloat16_on_an_accelerator_and_stays_so_elsewhere(tmp_path, monkeypatch):
    """A run begun on a GPU computes in bfloat16 where it is evaluated or goes on without one."""
    config = small()
    assert (config.model.compute_dtype, settled(config).model.compute_dtype) == ("auto", "float32")
    with monkeypatch.context() as on_gpu:
        on_gpu.setattr(jax, "default_backend", lambda: "gpu")
        began = settled(config)
        assert began.model.compute_dtype == "bfloat16"
        chosen = settled(small(model__compute_dtype="float32"))
        assert chosen.model.compute_dtype == "float32"
    claim(tmp_path, began)
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    assert read_config(tmp_path).model.compute_dtype == "bfloat16"
    claim(tmp_path, settled(config, workdir=tmp_path))  # the same command, on this CPU
    of_run = build_network(read_config(tmp_path), (0.5,), (0.2,))
    networks = {
        dtype: build_network(small(model__compute_dtype=dtype), (0.5,), (0.2,))
        for dtype in ("auto", "float32", "bfloat16")
    }
    assert of_run is networks["bfloat16"] is not networks["float32"] is networks["auto"]
    with pytest.raises(ValueError, match="compute_dtype: 'bfloat16' there, 'float32' now"):
        claim(tmp_path, settled(small(model__compute_dtype="float32"), workdir=tmp_path))


def test_the_small_config_itself_is_fine():
    run = setup(small())
    assert (run.steps, run.steps_per_epoch, run.split.size) == (8, 9, 144)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__batch_size": 1}, r"batch_size is 1; it must be a whole number from 2"),
        ({"train__batch_size": 20}, r"20, which 8 devices cannot share.*e\.g\. 16"),
        ({"objectives__equivariance__splits": 5}, r"splits = 5 equal groups.*e\.g\. 15"),
        ({"objectives__equivariance__splits": 0}, "splits is 0; it must"),
        ({"objectives__equivariance__splits": 16}, "two or more"),
        ({"objectives__equivariance__images": 32}, "equivariance compares 32 of 16 images"),
        (
            {"objectives__equivariance__variant": "papre"},
            "'papre'; it must be one of 'paper', 'code'",
        ),
        ({"objectives__equivariance__weight": -0.1}, "weight is -0.1; .* at least 0"),
        ({"objectives__equivariance__reference": "none"}, "one of 'augmented', 'identity'"),
        ({"objectives__info_nce__temperature": 0.0}, "temperature is 0.0"),
        (
            {
                "add": {"equivariance": {"method": "two_view_care", "splits": 4}},
                "sharing__crop": "shared",
            },
            "config.sharing.crop is 'shared'. Set it to 'auto'",
        ),
        ({"add": {"moco": {"queue": 0}}}, "queue is 0"),
        ({"add": {"moco": {"temperature": 0.0}}}, "moco.temperature is 0.0"),
        ({"add": {"moco": {"tau": 0.1}}}, "objectives.moco has no setting 'tau'"),
        ({"add": {"dino": {"weight": 1.0}}}, "dino.method is 'dino', and there is no method"),
        ({"add": {"mine": {"method": "math:pi"}}}, "mine.method is 'math:pi', which is of type"),
        ({"add": {"mine": {"method": "nowhere:card"}}}, "the module nowhere cannot be imported"),
        ({"add": {"byol": {}}, "target__momentum": 1.5}, r"target\.momentum is 1\.5"),
        ({"add": {"vicreg": {"variance": -1.0}}}, r"vicreg\.variance is -1\.0"),
        ({"add": {"equimod": {"projector": ()}}}, r"projector is \(\)"),
        ({"recipe__name": "simclr"}, "no recipe of that name: choose from"),
        (
            {"roles__crop": "invariance"},
            r"roles\.crop is 'invariance'; .* 'invariant', 'rotational'",
        ),
        ({"data__split": "unlabeled"}, "has only"),
        ({"data__on_device": "maybe"}, "one of .*never"),
        ({"data__corrupt": "ignore"}, "corrupt"),
        ({"data__workers": -1}, r"data\.workers is -1; it must be a whole number from 0"),
        ({"data__buffered": 0}, r"data\.buffered is 0; it must be a whole number from 1"),
        ({"model__encoder": "resnet19"}, "resnet19"),
        ({"model__stem": "small"}, "small"),
        ({"model__compute_dtype": "float16"}, "float16"),
        ({"optimizer__name": "adma"}, "one of 'adam'"),
        ({"train__log_every": 0}, "log_every is 0"),
        ({"train__steps_per_dispatch": 0}, "steps_per_dispatch is 0"),
        ({"train__steps": 0, "train__epochs": 0.0}, "at least one"),
        ({"train__batch_size": 160}, "at most 144"),
        ({"train__keep": 0}, "keep is 0"),
        ({"knn__neighbours": 0}, "knn.neighbours is 0"),
        ({"evaluation__preset": "qick"}, "preset is 'qick'"),
        ({"seed": -1}, "seed is -1"),
        (
            {"roles__crop": "ordered", "sharing__crop": "independent"},
            "contradict each other.*fixed",
        ),
        ({"roles__crop": "invariant", "sharing__crop": "shared"}, "contradict.*ask for the invar"),
        ({"roles__crop": "predicted", "sharing__crop": "fixed"}, "contradict.*not differ"),
        ({"roles__crop": "off", "sharing__crop": "shared"}, "contradict.*no view"),
        ({"sharing__crop": "both"}, "sharing.crop is 'both'; .*'auto'"),
        ({"roles__crop": "ordered", "role_weights__crop": -1.0}, "role_weights.crop is -1.0"),
        ({"role_weights__crop": 2.0}, "crop is rotational and has no obj.*equivariance.weight"),
        ({"roles__crop": "invariant", "role_weights__crop": 2.0}, "weight of its entry"),
        ({"objectives__order__rungs": 2}, "rungs is 2; it must be a whole number from 3"),
        ({"objectives__order__form": "triplet"}, "'hinge', 'listwise'"),
        ({"objectives__order__spacing": "log"}, "'random', 'even'"),
        ({"objectives__order__margin": -0.5}, "margin is -0.5; .* at least 0"),
        (
            {"roles__rotate": "ordered", "objectives__order__images": 17},
            "ladder_rotate is of 17 images",
        ),
        ({"objectives__order__margin": float("nan")}, "margin is nan"),
        ({"objectives__order__weight": float("nan")}, "order.weight is nan"),
        ({"roles__crop": "ordered", "role_weights__crop": float("nan")}, "crop is nan"),
        (
            {"roles__rotate": "rotational", "objectives__equivariance__recipe": "moco_imagenet"},
            r"\['rotate'\] are rotational, but config.*moco_imagenet.*has only the parts",
        ),
        (
            {"roles__rotate": "off", "roles__crop": "off", "roles__jitter": "ordered"},
            "contrast views of an image would be the same",
        ),
        ({"objectives__order__weight": -1.0}, "order.weight is -1.0"),
    ],
)
def test_bad_values(changes, message):
    with pytest.raises(ValueError, match=message):
        setup(small(**changes))


def test_a_setting_of_the_recipe_that_does_not_exist():
    config = small()
    with config.unlocked():
        config.recipe.options.blurr = 3
    with pytest.raises(ValueError, match=r"recipe\.options has no setting 'blurr'"):
        setup(config)


def test_a_role_for_a_part_the_recipe_does_not_have():
    config = small()
    with config.unlocked():
        config.roles.solarize = "off"
    with pytest.raises(ValueError, match=r"'solarize', which is not a part.*crop"):
        setup(config)


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
    drawn = {
        name: spec.pattern.draw(jax.random.key(0), spec.transform, 8)
        for name, spec in built.views.items()
    }
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
    first, second = spec.pattern.draw(jax.random.key(0), spec.transform, 8).params["hue"]["hue"]
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
    recipe = built.views["contrast"].transform
    draws = built.views["contrast"].pattern.draw(jax.random.key(0), recipe, 4000)
    ratio = np.asarray(draws.params["brightness"]["brightness"])  # [2, N]
    view = seen(np.zeros((2, 4000, 1), np.float32), ratio[..., None], params=draws.params)
    weights = objective.init(jax.random.key(1), view)
    variance = 2 * 0.6**2 / 12  # of the difference of two uniform draws of width 0.6

    def value(first, second):
        kernel = jnp.array([[first], [second]], jnp.float32)
        dense = {"kernel": kernel, "bias": jnp.zeros(1)}
        return float(objective.loss({**weights, "dense1": dense}, view)[0])

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


@pytest.mark.parametrize("variant", ["shape", "imagenet100"])
def test_unknown_variants_of_the_factored_configs(variant):
    with pytest.raises(ValueError, match=r"is unknown: choose one of shapes, .*cifar10"):
        presets.factored(variant)


def test_nothing_to_train():
    changes = {"objectives__info_nce__weight": 0.0, "objectives__equivariance__weight": 0.0}
    with pytest.raises(ValueError, match="nothing to train"):
        setup(small(**changes))


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


def test_overrides_of_runs_that_do_not_exist():
    config = small()
    with config.unlocked():
        config.runs = ConfigDict({"a": {"objectives": {"equivarance": {"weight": 1.0}}}})
    with pytest.raises(ValueError, match=r"runs\.a does not fit.*equivarance.*no method of that"):
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
