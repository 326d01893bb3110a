"""λ of CARE on every base method, chosen on validation by short trainings of other seeds.

Nothing of test is looked at. The choice is written as the file that `--settings` of a study takes.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eqssl_jax import tabular
from eqssl_jax.studies import scales
from eqssl_jax.studies.base import DataChoice, Runs, Study, Trainings
from eqssl_jax.studies.comparisons import BASES, METHODS
from eqssl_jax.studies.significance import interval
from eqssl_jax.studies.standing import at_common_seeds, mean_scores, score
from eqssl_jax.tabular.metrics import MISSING
from eqssl_jax.training.checkpoint import SCORE

GRID = (0.03, 0.1, 0.3, 1.0)
WEIGHT = "objectives.equivariance.weight"
_TUNED = ("care", "two_views")  # rows of a base method whose λ it is
_EPOCHS = 10.0


def _runs(scale: str, data: DataChoice) -> Runs:
    """simclr_0.03, …: CARE on each base method with each weight; a sixth of the epochs of a row."""
    runs = {}
    for title, name in BASES.items():
        for weight in GRID:
            config = scales.config("cifar10", METHODS[f"CARE-{title}"], scale, data)
            config.objectives.equivariance.weight = weight
            if not config.train.steps:
                config.train.epochs = _EPOCHS
            if scale in ("paper", "reduced"):  # a choice by all images of validation
                config.knn.bank, config.knn.queries = 20_000, 5_000
            runs[f"{name}_{weight:g}"] = config
    return runs


def chosen(trainings: Trainings) -> dict[str, float]:
    """By base method the weight of the best mean score over seeds.

    A method is left out while one of its weights lacks a seed that another one has.
    """
    best = {}
    for name in BASES.values():
        runs = {weight: trainings.get(f"{name}_{weight:g}", ()) for weight in GRID}
        compared = at_common_seeds(runs)
        means = mean_scores(compared)
        alike = all(len(outcomes) == len(runs[weight]) for weight, outcomes in compared.items())
        if compared and alike and all(map(math.isfinite, means.values())):
            best[name] = max(means, key=lambda weight: means[weight])
    return best


def _scores(trainings: Trainings, name: str, weight: float) -> dict[int, float]:
    outcomes = trainings.get(f"{name}_{weight:g}", ())
    return {int(outcome.config.seed): score(outcome) for outcome in outcomes}


def report(trainings: Trainings, stem: Path) -> list[Path]:
    """Print the scores; write <stem>.md and .csv, and <stem>-settings.json with what was chosen."""
    best = chosen(trainings)
    table = _sheet(trainings, best)
    print("\n" + tabular.as_text(table), flush=True)
    written = [stem.with_name(stem.name + end) for end in (".md", ".csv", "-settings.json")]
    settings: Mapping[str, Mapping[str, float]] = {
        f"{name}_{row}": {WEIGHT: weight} for name, weight in best.items() for row in _TUNED
    }
    contents = tabular.as_markdown(table), tabular.as_csv(table), json.dumps(settings, indent=2)
    for path, content in zip(written, contents, strict=True):
        path.write_text(content + "\n" * (path.suffix == ".json"), encoding="utf-8")
    return written


def _sheet(trainings: Trainings, best: Mapping[str, float]) -> tabular.Sheet:
    rows: list[tuple[str, ...]] = []
    records: list[list[object]] = [["base method", "weight", "seed", SCORE, "chosen"]]
    for name in BASES.values():
        cells = []
        for weight in GRID:
            scores = _scores(trainings, name, weight)
            mean, half = interval([100 * value for value in scores.values()] or [np.nan])
            spread = f" ± {half:.1f}" if np.isfinite(half) else ""
            mark = " (chosen)" if best.get(name) == weight else ""
            cells.append(f"{mean:.1f}{spread}{mark}" if np.isfinite(mean) else MISSING)
            records += [[name, weight, s, v, bool(mark)] for s, v in scores.items()]
        rows.append((name, *cells))
    notes = (
        "kNN accuracy on validation in %, mean ± half of Student's 95 % interval over trainings; "
        "no test image was looked at. A base method has a choice when all its "
        "weights are trained at the same seeds.",
    )
    columns = tuple(f"λ {weight:g}" for weight in GRID)
    return tabular.Sheet(("base method",), columns, rows, notes, records, LAMBDA_CHOICE.title)


LAMBDA_CHOICE = Study(
    name="lambda_choice",
    title="λ of CARE on every base method, chosen on validation",
    reproduces=(),
    runs=_runs,
    metrics=(),
    steps="none",
    first_seed=10,
    figure=report,
)
