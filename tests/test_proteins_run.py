"""Proteins from the config to the figures, in miniature; settings of the other kind of input."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import presets
from eqssl_jax.config import base
from eqssl_jax.experiment.assess import assess
from eqssl_jax.experiment.compare import compare
from eqssl_jax.experiment.run import expand, run
from eqssl_jax.training.checks import check_inputs
from eqssl_jax.training.setup import setup

CONFIGS = Path(__file__).parent.parent / "configs"


def tiny():
    config = presets.proteins("care")
    config.data.options.points, config.data.options.chains = 12, 24
    config.model.projector = (8, 4)
    config.objectives.equivariance.splits = 2
    config.train.batch_size, config.train.steps, config.train.save_every = 8, 2, 2
    config.optimizer.schedule = "constant"
    config.optimizer.warmup_epochs = 0.0
    config.evaluation.preset = "quick"
    config.evaluation.options.update(
        batch=16, augmentations=2, pairs=1, ladder_images=0, axis_turns=1, trajectory_clouds=1,
        trajectory_steps=6,
    )  # fmt: skip
    return config.lock()


@pytest.mark.slow
def test_training_evaluation_and_figures_on_generated_chains(tmp_path, capsys):
    run(tiny(), tmp_path / "run")
    (path,) = assess(tmp_path / "run")
    result = json.loads(path.read_text())
    assert result["dataset"] == "proteins"
    assert set(result["encoders"]) == {"trained", "random", "coordinates"}
    for numbers in result["encoders"].values():
        assert 0 <= numbers["principal_axis_error"]["value"] <= 1
        assert numbers["trajectory_length"]["value"] > 0
        assert "wahba_per_root_n" in numbers
    figures = {file.name for file in path.parent.glob("*.png")}
    assert figures == {"2_curves.png", "2_cosines.png", "2_trajectories.png"}
    # Two such runs beside each other: the floor has its own title, the curves their figure.
    compare({"one": result, "two": result}, {"one": {}, "two": {}}, tmp_path)
    assert "raw coordinates" in (tmp_path / "comparison.md").read_text()
    with Image.open(tmp_path / "trajectories.png") as picture:
        assert min(picture.size) > 300
    assert "Principal axis error" in capsys.readouterr().out


@pytest.mark.parametrize("method", presets.PROTEIN_METHODS)
def test_methods_are_the_objectives_they_name(method):
    config = tiny()
    with config.unlocked():
        config.update(presets.protein_overrides(method))
    built = setup(config.lock()).method
    names = {
        "care": {"info_nce", "equivariance"},
        "simclr": {"info_nce"},
        "uniformity": {"uniformity"},
        "invariance": {"alignment"},
        "equivariance": {"uniformity", "equivariance"},
    }
    assert set(built.objectives) == names[method]


def test_config_files():
    config_of = runpy.run_path(str(CONFIGS / "proteins.py"))["get_config"]
    assert config_of("simclr").objectives.equivariance.weight == 0
    with pytest.raises(ValueError, match="variant 'moco' is unknown"):
        config_of("moco")
    several = expand(runpy.run_path(str(CONFIGS / "proteins_small.py"))["get_config"]())
    assert set(several) == set(presets.PROTEIN_METHODS)
    assert several["care"].roles.rotate == "rotational"
    assert several["simclr"].roles.rotate == "invariant"


def test_encoders_and_recipes_of_the_other_kind_of_input_are_refused():
    clouds = setup(tiny()).dataset
    for setting, value in (("model", {"encoder": "resnet18"}), ("recipe", {"name": "shapes"})):
        config = tiny()
        config[setting].update(value)
        with pytest.raises(ValueError, match=rf"config\.{setting}.* which takes images"):
            check_inputs(config, clouds)
    images = clouds._replace(name="photographs", image_shape=(8, 8, 3))
    config = base()
    check_inputs(config, images)
    config.model.encoder = "deepset"
    with pytest.raises(ValueError, match=r"photographs is of images .* takes point clouds"):
        check_inputs(config, images)
    assert np.array_equal(clouds.image_shape, (12, 4))
