"""The equivariance benchmark: every method on every data set under one protocol.

Runs are named method@data. Those of methods that encode more than two views of an image in a step
are made twice: with as many steps as all others (equal images) and, method@data:compute, with as
many fewer as they encode more (equal compute). Protocol: docs/results/benchmark/protocol.md.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from scipy import stats

from eqssl_jax import tabular
from eqssl_jax.figures import benchmark as figure
from eqssl_jax.presets.benchmark import DATA, METHODS, benchmark
from eqssl_jax.studies.base import DataChoice, Outcome, Runs, Study, Trainings
from eqssl_jax.studies.scales import EVALUATION
from eqssl_jax.tabular.seeds import over_seeds

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
    """All methods on solids and CIFAR-10; with --data on that alone (an .npz stands in for it)."""
    names: tuple[str, ...] = ("solids", "cifar10")
    if data.name:
        names = (data.name,) if data.name in DATA else ("cifar10",)
    found = {}
    for name in names:
        for method in METHODS:
            config = _scaled(benchmark(name, method), scale)
            if data.name and data.name not in DATA:
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


def _data(run: str) -> str:
    """Of method@data or method@data:compute."""
    return run.split("@")[1].split(":")[0]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of Student's 95 % interval over trainings; NaN for fewer than two.

    >>> tuple(round(number, 3) for number in interval([1.0, 2.0, 3.0]))
    (2.0, 2.484)
    """
    array = np.asarray(values, float)
    if len(array) < 2:
        return float(array.mean()), math.nan
    error = array.std(ddof=1) / math.sqrt(len(array))
    return float(array.mean()), float(stats.t.ppf(0.975, len(array) - 1) * error)


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values (Holm 1979): the k-th smallest of m times m − k + 1, not falling.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    found, least = {}, 0.0
    for rank, (name, p) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        least = max(least, min((len(values) - rank) * p, 1.0))
        found[name] = least
    return found


def _values(outcomes: Sequence[Outcome], metric: str, encoder: str = "trained") -> dict[int, float]:
    """A number by seed."""
    found = {}
    for one in outcomes:
        number = over_seeds([one.last()], encoder, metric)
        if number.trainings:
            found[int(one.config.seed)] = number.value
    return found


def rows(trainings: Trainings, metric: str) -> dict[str, str]:
    """Of each run, mean ± half interval, and the adjusted p of its difference to SimCLR."""
    by_run = {run: _values(outcomes, metric) for run, outcomes in trainings.items()}
    raw = {}
    for run, values in by_run.items():
        other = by_run.get(f"{REFERENCE}@{_data(run)}", {})
        common = sorted(set(values) & set(other))
        if run.split("@")[0] != REFERENCE and len(common) > 1:
            gaps = np.array([values[seed] - other[seed] for seed in common])
            raw[run] = float(stats.ttest_1samp(gaps, 0.0).pvalue) if gaps.std() else 1.0
    adjusted = holm(raw)
    found = {}
    for run, values in by_run.items():
        if not values:
            continue
        mean, half = interval(list(values.values()))
        text = f"{mean:.3f} ± {half:.3f}" if math.isfinite(half) else f"{mean:.3f}"
        tie = f" (p {adjusted[run]:.2f})" if run in adjusted else ""
        found[run] = text + tie
    return found


def report(trainings: Trainings, stem: Path) -> list[Path]:
    """<stem>-intervals.md and, for each data set, <stem>-<data>-pareto.png."""
    lines = [
        "Mean ± half of Student's 95 % interval over trainings; p of the difference to SimCLR on "
        "the same seeds (paired t), adjusted by Holm over all runs of a measure. What is above .05 "
        "is a tie. Weights are the defaults of the cards, none chosen.",
        "",
        "| run | trainings | " + " | ".join(METRICS) + " |",
        "|---|---|" + "---|" * len(METRICS),
    ]
    cells = {metric: rows(trainings, metric) for metric in METRICS}
    for run, outcomes in trainings.items():
        shown = (cells[metric].get(run, "") for metric in METRICS)
        lines.append(f"| {run} | {len(outcomes)} | " + " | ".join(shown) + " |")
    for data in dict.fromkeys(map(_data, trainings)):
        outcomes = trainings.get(f"{REFERENCE}@{data}", ())  # beside which they are measured
        for encoder, title in {**tabular.FLOORS, "chance": "constant or chance"}.items():
            found = (_values(outcomes, metric, encoder) for metric in METRICS)
            shown = (f"{np.mean(list(v.values())):.3f}" if v else "" for v in found)
            lines.append(f"| {title}, {data} | {len(outcomes)} | " + " | ".join(shown) + " |")
    path = stem.with_name(f"{stem.name}-intervals.md")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [path, *_pareto(trainings, stem)]


def _pareto(trainings: Trainings, stem: Path) -> list[Path]:
    written = []
    for data in dict.fromkeys(map(_data, trainings)):
        own = {run: outcomes for run, outcomes in trainings.items() if _data(run) == data}
        metric = next((m for m in EQUIVARIANCE if any(_values(o, m) for o in own.values())), "")
        points = {
            run.replace(f"@{data}", ""): (
                interval(list(_values(o, metric).values())),
                interval(list(_values(o, CLASS).values())),
            )
            for run, o in own.items()
            if metric and _values(o, metric) and _values(o, CLASS)
        }
        if points:
            path = stem.with_name(f"{stem.name}-{data}-pareto.png")
            written.append(figure.pareto(points, (metric, CLASS), path))
    return written


BENCHMARK = Study(
    name="benchmark",
    title="Class and equivariance of every method under one protocol",
    reproduces=(),
    runs=_runs,
    metrics=METRICS,
    floors=tuple(f"{REFERENCE}@{name}" for name in DATA),
    figure=report,
)
