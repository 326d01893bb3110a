"""The equivariance benchmark: every method on every data set under one protocol.

Runs are named method@data. Those of methods that encode more than two views of an image in a step
are made twice: with as many steps as all others (equal images) and, method@data:compute, with as
many fewer as they encode more (equal compute). Protocol: docs/results/benchmark/protocol.md.
"""

import functools
import operator
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from eqssl_jax import methods, names, scene, storage
from eqssl_jax.config import copied
from eqssl_jax.methods.entrants import REFERENCE, find, rows, spelled, trains_projector
from eqssl_jax.presets.benchmark import DATA, benchmark
from eqssl_jax.studies.base import DataChoice, Outcome, Runs, Study, Trainings, parts_of
from eqssl_jax.studies.scales import EVALUATION, check, recognised
from eqssl_jax.studies.standing import at_common_seeds, by_seed, mean_scores, report

CLASS = "probe_top1"
EQUIVARIANCE = ("rotation_r2_mlp", "parameters_r2_jitter", "r2_angle", "gamma")
METRICS = (
    CLASS, "knn", "rotation_r2_mlp", "rotation_r2_mlp_per_dimension", "rotation_r2_mlp_world",
    "rotation_r2_ridge", "rotation_error", "rotation_r2_mlp_out_of_range", "r2_floor_hue",
    "r2_light_hue", "predicted_mrr", "predicted_h1", "predicted_h5", "predicted_mrr_with_own",
    "predicted_pre", "steered_mrr", "steered_h1", "steered_h5", "steered_pre", "steered_left",
    "displacement_gain",
    "parameters_r2_crop", "parameters_r2_jitter", "parameters_r2_blur", "parameters_mse_crop",
    "parameters_mse_jitter", "r2_hue", "r2_angle", "gamma", "effective_rank",
)  # fmt: skip
# What of a run is measured on the embeddings of the network's projector.
OF_EMBEDDINGS = ("gamma", "effective_rank")
_OBJECTS = ("solids", "3diebench")  # whose views have poses, which other measures read
# For a choice on validation every method has as many trials: one number times each of these, its
# weight of equivariance or, where it has no second term, the learning rate (`Entrant.tried`).
TRIALS = (1.0, 0.3, 3.0)
_NOTE = """Weights are the defaults of the cards; of a run method@data:<factor> the setting that its
row tries, times that factor."""
_PUBLISHED = ("diebench_rotation", "diebench_top1", "cifar100_parameters", "cifar100_top1")
WITHIN = 0.03  # of the best trial's kNN accuracy, where the most equivariant one is chosen, by
VALIDATED = ("rotation_r2_mlp_validation", "parameters_r2_jitter_validation")
_STEPS = {"reduced": 4_000, "small": 1_000, "smoke": 6}
_SMALL = {  # what the measures of classes and of relative rotation read, and little else
    "train_images": 4096, "validation_images": 512, "test_images": 2048,
    "augmentations": 4, "pairs": 0, "rotation_images": 256, "pair_images": 128,
    "relative_objects": 2000, "relative_hidden": 128, "relative_steps": 400,
}  # fmt: skip
_SMOKE = {"relative_objects": 16, "relative_hidden": 16, "relative_steps": 20}


def _runs(scale: str, data: DataChoice, added: str = "") -> Runs:
    """All methods on solids and CIFAR-10; with --data on that alone.

    An .npz or a folder stands in for CIFAR-10, but for the folders of Fruits-360 with its manifest
    and of 3DIEBench with its index, whose stored views some methods cannot have.
    `added` names one method that has no row: module:attribute or a card, perhaps with its @data.

    Raises:
      ValueError: for an unknown scale, data without recipes of this study, and what `benchmark`
        refuses.
      FileNotFoundError: as `recognised`.
    """
    check(scale)
    data = recognised(data, DATA)
    if data.name and data.name not in DATA and not data.directory:
        raise ValueError(
            f"The benchmark has no recipes for --data={data.name}: give one of {', '.join(DATA)}, "
            f"or an .npz file, a folder or a .zip of images, which are seen as CIFAR-10 is."
        )
    given = data.name if data.name in DATA else "cifar10"
    if data.directory and given != data.name and not added:
        print(_stands_in(data.directory), file=sys.stderr, flush=True)
    columns = (given,) if data.name else ("solids", "cifar10")
    method, on, _ = parts_of(added)
    card = methods.cards().get(method)
    has_row = card is None or (card.benchmark and columns != ("3diebench",))  # there not all have
    if added and not names.is_outside(method) and has_row:
        return {}
    runs = {}
    for name in (name for name in columns if names.loose(on) in ("", name)):
        for row in (method,) if added else rows():
            config = _scaled(benchmark(name, row, small=scale != "paper"), scale)
            if unfit := _unfit(config):
                if added:
                    raise ValueError(f"{method} has no run on {name}: {unfit}")
                continue
            if data.directory:
                config.data.name, config.data.directory = data
            runs[f"{row}@{name}"] = config
            if (relative := _cost(row, config)) != 1:
                equal = copied(config)
                equal.train.steps = max(round(config.train.steps / relative), 1)
                runs[f"{row}@{name}:compute"] = equal
    return runs


def _stands_in(directory: str) -> str:
    """What the rows of data that are seen as CIFAR-10 are called, and what else they might be."""
    text = f"{directory} is seen as CIFAR-10 is: its rows are called <method>@cifar10."
    if all((storage.path(directory) / part).is_dir() for part in ("Training", "Test")):
        text += (
            f" If it is Fruits-360, it lacks {storage.path(directory) / 'manifest.csv'} with a "
            f"column approx_angle_deg, by which rows would be called <method>@fruits360."
        )
    return text


def _unfit(config: ConfigDict) -> str:
    """Why stored views, if the config is of such, cannot show what its method asks for; or ""."""
    try:
        if config.recipe.name == methods.STORED_VIEWS:
            methods.build(config)
    except methods.NotStoredError as error:
        return str(error)
    return ""


def _cost(method: str, config: ConfigDict) -> float:
    """The one that its card states for the recipe, or that of the method as it is built."""
    recipe, stated = config.recipe, find(method).row.cost
    if recipe.name in stated or "" in stated:
        return stated.get(recipe.name) or stated[""]
    side = recipe.options.get("size", config.data.size)
    shape = (scene.SIZE,) if recipe.name == "solids" else (side, side, 3)
    return methods.relative_cost(
        methods.build(methods.resolved(config)),
        methods.build_recipe(recipe.name, recipe.options),
        jax.ShapeDtypeStruct(shape, jnp.float32),
        batch=config.train.batch_size,
    )


def _tried(runs: Runs) -> Runs:
    """Of each method and data set the same number of trials, method@data:<factor>.

    That of factor 1 is the run of the benchmark itself, method@data: it is trained once for both.

    Raises:
      ValueError: for a card whose row tries what is no number above 0.
    """
    trials = {}
    for run, config in runs.items():
        method, _, suffix = parts_of(run)
        path = find(method).tried()
        complete = methods.resolved(config)
        for factor in () if suffix else TRIALS:
            tried = copied(complete)
            value = functools.reduce(operator.getitem, path.split("."), tried)
            if not isinstance(value, float) or not value > 0:
                raise ValueError(
                    f"The row of {method} tries config.{path}, which is {value!r}: trials are of a "
                    f"number above 0. Let `tried` of its methods.Row name another setting."
                )
            tried.update_from_flattened_dict({path: factor * value})
            trials[run if factor == 1 else f"{run}:{factor:g}"] = tried
    return trials


def chosen(trainings: Trainings) -> dict[str, str]:
    """Of each method@data the trial that is chosen on validation; test has no part in it.

    Of those whose kNN accuracy is at most `WITHIN` below the best, the one with the highest
    `VALIDATED`; where these numbers are missing, the one with the best kNN. All are means at the
    last step over the seeds that every trial of the method has, so that all have the same chances:
    the chosen one alone may be trained at more seeds.

    Raises:
      ValueError: for a method that lacks a trial, or whose trials have no seed in common.
    """
    by_method: dict[str, list[str]] = {}
    for trial in trainings:
        by_method.setdefault("@".join(parts_of(trial)[:2]), []).append(trial)
    best = {}
    for run, trials in by_method.items():
        compared = at_common_seeds({trial: trainings[trial] for trial in trials})
        if len(trials) < len(TRIALS) or not compared:
            seeds = sorted({tuple(int(o.config.seed) for o in trainings[t]) for t in trials})
            raise ValueError(
                f"{run} has {len(trials)} of {len(TRIALS)} trials with the seeds {seeds}: finish "
                f"them all, with a seed in common, before one is chosen."
            )
        scores = mean_scores(compared)
        if not np.isfinite(list(scores.values())).all():
            raise ValueError(
                f"{run} has trials without a kNN accuracy on validation images (data without "
                f"labels, or config.train.knn_every is 0): there is nothing to choose by."
            )
        by = _validated(compared) or scores
        close = [trial for trial in trials if scores[trial] >= max(scores.values()) - WITHIN]
        best[run] = max(close, key=lambda trial: by[trial])
    return best


def _validated(trainings: Trainings) -> dict[str, float]:
    """Of each trial the mean over seeds of the first of `VALIDATED` that all have; or nothing."""
    for metric in VALIDATED:
        values = {trial: by_seed(outcomes, metric) for trial, outcomes in trainings.items()}
        if all(len(values[trial]) == len(outcomes) for trial, outcomes in trainings.items()):
            return {trial: float(np.mean(list(seeds.values()))) for trial, seeds in values.items()}
    return {}


def _report_chosen(trainings: Trainings, stem: Path) -> list[Path]:
    try:
        best = chosen(trainings)
    except ValueError as error:
        print(f"No choice yet: {error}", flush=True)
        return []
    return _report({trial: trainings[trial] for trial in best.values()}, stem)


def _scaled(config: ConfigDict, scale: str) -> ConfigDict:
    if scale == "paper":  # --scale=full
        config.model.encoder, config.model.stem = "resnet18", "cifar"
        config.train.steps, config.train.batch_size = 100_000, 256
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
        for entry in config.objectives.values():
            if "splits" in entry:
                entry.splits = 4  # groups of as many images as at the other scales
        preset, options = EVALUATION[scale]
        config.evaluation.preset = preset
        config.evaluation.options.update({**options, **_SMOKE})
        if config.data.name == "solids":
            config.data.options = ConfigDict({"train_objects": 48, "test_objects": 24})
    return config


def _report(trainings: Trainings, stem: Path) -> list[Path]:
    axes = CLASS, EQUIVARIANCE
    return report(
        trainings, stem, metrics=METRICS, axes=axes, reference=REFERENCE, note=_NOTE,
        published=_PUBLISHED,
    )  # fmt: skip


def _without_projector(outcome: Outcome) -> Outcome:
    """Without measures of embeddings, where no loss trains the projector that gives them."""
    if trains_projector(outcome.config):
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


BENCHMARK = Study(
    name="benchmark",
    title="Class and equivariance of every method under one protocol",
    reproduces=(),
    runs=_runs,
    added=lambda name, scale, data: _runs(scale, data, name),
    spelled=spelled,
    metrics=METRICS,
    floors=tuple(f"{REFERENCE}@{name}" for name in DATA),
    valid=_without_projector,
    figure=_report,
)
TRIED_BENCHMARK = BENCHMARK._replace(
    name="benchmark_trials",
    title=f"The benchmark, of each method the best of {len(TRIALS)} trials on validation",
    runs=lambda scale, data: _tried(_runs(scale, data)),
    added=lambda name, scale, data: _tried(_runs(scale, data, name)),
    figure=_report_chosen,
)
