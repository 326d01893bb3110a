"""The equivariance benchmark: every method on every data set under one protocol.

Runs are named method@data. Those of methods that encode more than two views of an image in a step
are made twice: with as many steps as all others (equal images) and, method@data:compute, with as
many fewer as they encode more (equal compute). Protocol: docs/results/benchmark/protocol.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from eqssl_jax.presets.benchmark import DATA, METHODS, benchmark
from eqssl_jax.studies.base import DataChoice, Runs, Study, Trainings
from eqssl_jax.studies.scales import EVALUATION
from eqssl_jax.studies.standing import report

# Views of an image that are encoded in a step, by either network, where they are not two.
VIEWS = {"care": 4, "equimod": 3, "essl": 6, "seqjepa": 4, "byol": 4}
REFERENCE = "simclr"  # what every method is compared with, seed by seed
CLASS, EQUIVARIANCE = "probe_top1", ("rotation_r2_mlp", "r2_angle", "gamma")
METRICS = (
    CLASS, "knn", "rotation_r2_mlp", "rotation_r2_mlp_per_dimension", "rotation_r2_mlp_world",
    "rotation_r2_ridge", "rotation_error", "rotation_r2_mlp_out_of_range", "r2_floor_hue",
    "r2_light_hue", "predicted_mrr", "predicted_h1", "predicted_h5", "predicted_mrr_with_own",
    "predicted_pre", "displacement_gain", "r2_hue", "r2_angle", "gamma", "effective_rank",
)  # fmt: skip
_STEPS = {"reduced": 4_000, "small": 200, "smoke": 6}
_SMALL = {  # what the measures of classes and of relative rotation read, and little else
    "train_images": 4096, "validation_images": 512, "test_images": 2048,
    "augmentations": 4, "pairs": 0, "rotation_images": 256, "pair_images": 128,
    "relative_objects": 768, "relative_hidden": 128, "relative_steps": 400,
}  # fmt: skip
_SMOKE = {"relative_objects": 16, "relative_hidden": 16, "relative_steps": 20}


def _runs(scale: str, data: DataChoice) -> Runs:
    """All methods on solids and CIFAR-10; with --data on that alone.

    An .npz or a folder stands in for CIFAR-10, but for the folder of Fruits-360 with its manifest.
    """
    names: tuple[str, ...] = ("solids", "cifar10")
    if data.name == "folder" and (Path(data.directory) / "manifest.csv").is_file():
        data = DataChoice("fruits360", data.directory)
    if data.name:
        names = (data.name,) if data.name in DATA else ("cifar10",)
    found = {}
    for name in names:
        for method in METHODS:
            config = _scaled(benchmark(name, method), scale)
            if data.directory:
                config.data.name, config.data.directory = data
            found[f"{method}@{name}"] = config
            if method in VIEWS:
                less = ConfigDict(config.to_dict())
                less.train.steps = max(round(config.train.steps * 2 / VIEWS[method]), 1)
                found[f"{method}@{name}:compute"] = less
    return found


def _scaled(config: ConfigDict, scale: str) -> ConfigDict:
    if scale == "paper":  # --scale=full
        config.model.encoder, config.model.stem = "resnet18", "cifar"
        config.train.steps, config.train.batch_size = 100_000, 256
        config.evaluation.preset = "full"
        config.train.save_every = config.train.knn_every = 10_000
        return config
    config.train.steps = _STEPS[scale]
    if scale == "small":
        config.train.batch_size = 64
        if "equivariance" in config.objectives:
            config.objectives.equivariance.splits = 8
        config.evaluation.options.update(_SMALL)
    config.train.save_every = config.train.knn_every = _STEPS[scale]
    if scale == "smoke":
        config.train.batch_size = 32  # of 48 objects, a tenth is held out
        if "equivariance" in config.objectives:
            config.objectives.equivariance.splits = 4
        preset, options = EVALUATION[scale]
        config.evaluation.preset = preset
        config.evaluation.options.update({**options, **_SMOKE})
        if config.data.name == "solids":
            config.data.options = ConfigDict({"train_objects": 48, "test_objects": 24})
    return config


def _report(trainings: Trainings, stem: Path) -> list[Path]:
    axes = CLASS, EQUIVARIANCE
    return report(trainings, stem, metrics=METRICS, axes=axes, reference=REFERENCE)


BENCHMARK = Study(
    name="benchmark",
    title="Class and equivariance of every method under one protocol",
    reproduces=(),
    runs=_runs,
    metrics=METRICS,
    floors=tuple(f"{REFERENCE}@{name}" for name in DATA),
    figure=_report,
)
