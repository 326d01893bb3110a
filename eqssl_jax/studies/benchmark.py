"""The equivariance benchmark: every method on every data set under one protocol.

Runs are named method@data. Those of methods that encode more than two views of an image in a step
are made twice: with as many steps as all others (equal images) and, method@data:compute, with as
many fewer as they encode more (equal compute). Protocol: docs/results/benchmark/protocol.md.
"""

import functools
import math
import operator
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.presets.benchmark import DATA, METHODS, OF_IMAGES, TRIALS, TRIED, benchmark
from eqssl_jax.studies.base import DataChoice, Outcome, Runs, Study, Trainings
from eqssl_jax.studies.scales import EVALUATION, check
from eqssl_jax.studies.standing import report
from eqssl_jax.training.checkpoint import SCORE

# What the encoder costs in a step where it is not as much as with two views of each image: a view
# with its gradient counts three times one of the target network; pixels count, heads and rendering
# do not.
COSTS = {
    "supervised": 1 / 2, "byol": 4 / 3, "care": 2.0, "order": 3 / 2, "equimod": 3 / 2, "essl": 3.0,
    "essl@cifar10": 3 / 2, "essl@fruits360": 3 / 2, "seqjepa": 5 / 3, "ser": 5 / 4,
}  # fmt: skip
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
# Methods whose losses read features alone, or have projectors of their own, and what of a run is
# measured on the embeddings of the network's projector.
UNPROJECTED = {"classify", "sie", "sen", "cassle", "seqjepa"}
OF_EMBEDDINGS = ("gamma",)
_OBJECTS = ("solids", "3diebench")  # whose views have poses, which other measures read
_STEPS = {"reduced": 4_000, "small": 1_000, "smoke": 6}
_SMALL = {  # what the measures of classes and of relative rotation read, and little else
    "train_images": 4096, "validation_images": 512, "test_images": 2048,
    "augmentations": 4, "pairs": 0, "rotation_images": 256, "pair_images": 128,
    "relative_objects": 2000, "relative_hidden": 128, "relative_steps": 400,
}  # fmt: skip
_SMOKE = {"relative_objects": 16, "relative_hidden": 16, "relative_steps": 20}


def _runs(scale: str, data: DataChoice) -> Runs:
    """All methods on solids and CIFAR-10; with --data on that alone.

    An .npz or a folder stands in for CIFAR-10, but for the folders of Fruits-360 with its manifest
    and of 3DIEBench with its index.

    Raises:
      ValueError: for an unknown scale, and for data without recipes of this study.
    """
    check(scale)
    names: tuple[str, ...] = ("solids", "cifar10")
    if data.name == "folder" and _shows_turns(Path(data.directory) / "manifest.csv"):
        data = DataChoice("fruits360", data.directory)
    if data.name == "folder" and (Path(data.directory) / "train_images.npy").is_file():
        data = DataChoice("3diebench", data.directory)
    if data.name and data.name not in DATA and not data.directory:
        raise ValueError(
            f"The benchmark has no recipes for --data={data.name}: give one of {', '.join(DATA)}, "
            f"or an .npz file, a folder or a .zip of images, which are seen as CIFAR-10 is."
        )
    if data.name:
        names = (data.name,) if data.name in DATA else ("cifar10",)
    found = {}
    for name in names:
        for method in METHODS:
            if name == "3diebench" and method in OF_IMAGES:
                continue
            config = _scaled(benchmark(name, method, small=scale != "paper"), scale)
            if data.directory:
                config.data.name, config.data.directory = data
            found[f"{method}@{name}"] = config
            if (relative := COSTS.get(f"{method}@{name}", COSTS.get(method, 1.0))) != 1:
                equal = ConfigDict(config.to_dict())
                equal.train.steps = max(round(config.train.steps / relative), 1)
                found[f"{method}@{name}:compute"] = equal
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
        scores = {trial: np.mean([_score(o) for o in trainings[trial]]) for trial in trials}
        if not np.isfinite(list(scores.values())).all():
            raise ValueError(
                f"{run} has trials without a kNN accuracy on validation images (data without "
                f"labels, or config.train.knn_every is 0): there is nothing to choose by."
            )
        best[run] = max(scores, key=lambda trial: scores[trial])
    return best


def _score(outcome: Outcome) -> float:
    scores = (float(line[SCORE]) for line in reversed(outcome.records) if SCORE in line)
    return next(scores, math.nan)


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
        for entry in {"order", "ser"} & set(config.objectives):
            config.objectives[entry].images = 64  # a quarter of the batch, as at the other scales
        config.evaluation.preset = "full"
        config.evaluation.options.parameter_images = 0 if config.data.name in _OBJECTS else 8192
        config.train.save_every = config.train.knn_every = 10_000
        return config
    config.train.steps = _STEPS[scale]
    if scale == "small":
        config.evaluation.options.update(_SMALL)
        if config.data.name not in _OBJECTS:
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
    trainings = {run: [_without_projector(o) for o in them] for run, them in trainings.items()}
    return report(trainings, stem, metrics=METRICS, axes=axes, reference=REFERENCE)


def _without_projector(outcome: Outcome) -> Outcome:
    """Without measures of embeddings, where no loss trains the projector that gives them."""
    names = {entry.method for entry in outcome.config.objectives.values() if entry.weight}
    if not names <= UNPROJECTED:
        return outcome
    results = {}
    for step, result in outcome.evaluations.items():
        encoders = {
            encoder: numbers
            if encoder != "trained"
            else {key: value for key, value in numbers.items() if key not in OF_EMBEDDINGS}
            for encoder, numbers in result["encoders"].items()
        }
        results[step] = {**result, "encoders": encoders}
    return outcome._replace(evaluations=results)


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
