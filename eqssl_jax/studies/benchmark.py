"""The equivariance benchmark: every method on every data set under one protocol.

Runs are named method@data. Those of methods that encode more than two views of an image in a step
are made twice: with as many steps as all others (equal images) and, method@data:compute, with as
many fewer as they encode more (equal compute). Protocol: docs/results/benchmark/protocol.md.
"""

import functools
import operator
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.presets.benchmark import DATA, METHODS, TRIALS, TRIED, benchmark
from eqssl_jax.studies.base import DataChoice, Outcome, Runs, Study, Trainings
from eqssl_jax.studies.scales import EVALUATION
from eqssl_jax.studies.standing import report
from eqssl_jax.training.checkpoint import SCORE

# Views of an image that are encoded in a step, by either network, where they are not two.
VIEWS = {"care": 4, "equimod": 3, "essl": 6, "seqjepa": 4, "byol": 4, "ser": 2.5}
REFERENCE = "simclr"  # what every method is compared with, seed by seed
CLASS = "probe_top1"
EQUIVARIANCE = ("rotation_r2_mlp", "parameters_r2_jitter", "r2_angle", "gamma")
METRICS = (
    CLASS, "knn", "rotation_r2_mlp", "rotation_r2_mlp_per_dimension", "rotation_r2_mlp_world",
    "rotation_r2_ridge", "rotation_error", "rotation_r2_mlp_out_of_range", "r2_floor_hue",
    "r2_light_hue", "predicted_mrr", "predicted_h1", "predicted_h5", "predicted_mrr_with_own",
    "predicted_pre", "displacement_gain", "parameters_r2_crop", "parameters_r2_jitter",
    "parameters_r2_blur", "parameters_mse_crop", "parameters_mse_jitter", "r2_hue", "r2_angle",
    "gamma", "effective_rank",
)  # fmt: skip
_STEPS = {"reduced": 4_000, "small": 1_000, "smoke": 6}
_SMALL = {  # what the measures of classes and of relative rotation read, and little else
    "train_images": 4096, "validation_images": 512, "test_images": 2048,
    "augmentations": 4, "pairs": 0, "rotation_images": 256, "pair_images": 128,
    "relative_objects": 2000, "relative_hidden": 128, "relative_steps": 400,
}  # fmt: skip
_SMOKE = {"relative_objects": 16, "relative_hidden": 16, "relative_steps": 20}


def _runs(scale: str, data: DataChoice) -> Runs:
    """All methods on solids and CIFAR-10; with --data on that alone.

    An .npz or a folder stands in for CIFAR-10, but for the folder of Fruits-360 with its manifest.
    """
    names: tuple[str, ...] = ("solids", "cifar10")
    if data.name == "folder" and _shows_turns(Path(data.directory) / "manifest.csv"):
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


def _trials(scale: str, data: DataChoice) -> Runs:
    """Of each method and data set the same number of trials, method@data:<factor>."""
    found = {}
    for run, config in _runs(scale, data).items():
        path = TRIED[run.split("@")[0]]
        for factor in TRIALS if ":" not in run else ():
            tried = ConfigDict(methods.resolved(config).to_dict())
            tried.update_from_flattened_dict({path: factor * _at(tried, path)})
            found[f"{run}:{factor:g}"] = tried
    return found


def _at(config: ConfigDict, path: str) -> float:
    return float(functools.reduce(operator.getitem, path.split("."), config))


def chosen(trainings: Trainings) -> dict[str, str]:
    """Of each method@data the trial with the highest kNN accuracy on validation images.

    Means over seeds, at the last step; test images have no part in it.

    Raises:
      ValueError: for a method that lacks a trial, or trials with different seeds: they would not
        have had the same chances.
    """
    by_method: dict[str, list[str]] = {}
    for trial in trainings:
        by_method.setdefault(trial.rpartition(":")[0], []).append(trial)
    best = {}
    for run, trials in by_method.items():
        seeds = {tuple(sorted(int(o.config.seed) for o in trainings[trial])) for trial in trials}
        if len(trials) < len(TRIALS) or len(seeds) > 1:
            raise ValueError(
                f"{run} has {len(trials)} of {len(TRIALS)} trials with the seeds {sorted(seeds)}: "
                f"finish them all before one is chosen."
            )
        best[run] = max(trials, key=lambda trial: np.mean([_score(o) for o in trainings[trial]]))
    return best


def _score(outcome: Outcome) -> float:
    return next(float(line[SCORE]) for line in reversed(outcome.records) if SCORE in line)


def _report_chosen(trainings: Trainings, stem: Path) -> list[Path]:
    try:
        best = chosen(trainings)
    except ValueError as error:
        print(f"No choice yet: {error}", flush=True)
        return []
    return _report({trial: trainings[trial] for trial in best.values()}, stem)


def _shows_turns(manifest: Path) -> bool:
    if not manifest.is_file():
        return False
    with manifest.open(encoding="utf-8", errors="replace") as lines:
        return "approx_angle_deg" in lines.readline()


def _scaled(config: ConfigDict, scale: str) -> ConfigDict:
    if scale == "paper":  # --scale=full
        config.model.encoder, config.model.stem = "resnet18", "cifar"
        config.train.steps, config.train.batch_size = 100_000, 256
        config.evaluation.preset = "full"
        config.evaluation.options.parameter_images = 0 if config.data.name == "solids" else 8192
        config.train.save_every = config.train.knn_every = 10_000
        return config
    config.train.steps = _STEPS[scale]
    if scale == "small":
        config.evaluation.options.update(_SMALL)
        if config.data.name != "solids":
            config.evaluation.options.parameter_images = 2048
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


TRIED_BENCHMARK = Study(
    name="benchmark_trials",
    title=f"The benchmark, of each method the best of {len(TRIALS)} trials on validation",
    reproduces=(),
    runs=_trials,
    metrics=METRICS,
    floors=tuple(f"{REFERENCE}@{name}:1" for name in DATA),
    figure=_report_chosen,
)
BENCHMARK = Study(
    name="benchmark",
    title="Class and equivariance of every method under one protocol",
    reproduces=(),
    runs=_runs,
    metrics=METRICS,
    floors=tuple(f"{REFERENCE}@{name}" for name in DATA),
    figure=_report,
)
