"""Bad settings are refused before anything is compiled, each with its key and the fix."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from eqssl_jax import presets
from eqssl_jax.config import plain
from eqssl_jax.experiment.run import expand
from eqssl_jax.settings import differences
from eqssl_jax.training.model import build_network
from eqssl_jax.training.setup import settled, setup
from eqssl_jax.training.workdir import claim, read_config


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
            r"ladder_rotate \(of config.objectives: order\) is of 17 images",
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


def test_evaluation_sees_images_at_the_size_of_the_views():
    """Whole images, resized, when the recipe crops to another size than they are stored at."""
    run = setup(small(data__size=48))
    assert run.dataset.image_shape == (32, 32, 3)
    indices = np.arange(3, dtype=np.int32)
    stored = jax.jit(run.split.read)(run.split.pool, indices)
    seen = jax.jit(run.dataset.splits["train"].read)(run.split.pool, indices)
    assert (stored.shape, seen.shape) == ((3, 48, 48, 3), (3, 32, 32, 3))
    resize = jax.jit(lambda images: jax.image.resize(images, seen.shape, "linear"))
    expected = resize(stored)
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    again = setup(small(data__size=48))
    assert again.dataset.splits["test"].read is run.dataset.splits["test"].read  # compiled once


def test_nothing_to_train():
    changes = {"objectives__info_nce__weight": 0.0, "objectives__equivariance__weight": 0.0}
    with pytest.raises(ValueError, match="nothing to train"):
        setup(small(**changes))


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
