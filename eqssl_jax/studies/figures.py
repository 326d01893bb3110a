"""The figures of studies: which arrays of finished trainings go into which picture.

Where several seeds cannot stand in one picture, it is of the first. A figure whose arrays are not
there (a step evaluated by an older version) is left out.
"""

from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax import figures, presets, tabular
from eqssl_jax.experiment.stored import same_queries
from eqssl_jax.studies.base import Outcome, Trainings

_TERMS = {"inv": "L_inv", "unif": "L_unif", "equi": "L_equi"}
_AXIS = "principal_axis_error"
_OBJECTIVES = {
    "info_nce": "InfoNCE",
    "alignment": "L_inv",
    "uniformity": "L_unif",
    "equivariance": "L_equi",
}


def wahba(trainings: Trainings, stem: Path) -> list[Path]:
    """Figure 5: Wahba's error of every augmentation."""
    stored = _stored(trainings)
    methods = {run: _measures(arrays, "trained") for run, arrays in stored.items()}
    methods = {run: measures for run, measures in methods.items() if measures}
    if not methods:
        return []
    first = stored[next(iter(methods))]
    floors = {encoder: _measures(first, encoder) for encoder in tabular.FLOORS}
    path = _named(stem, "augmentations")
    figures.augmentation_strips(
        methods,
        path,
        floors={name: measures_of for name, measures_of in floors.items() if measures_of},
    )
    return [path]


def circle(trainings: Trainings, stem: Path) -> list[Path]:
    """Figure 6: cosines of each augmentation, and the points on the circle."""
    cosines, points = _by_run(trainings, "cosines"), _by_run(trainings, "circle")
    written = []
    if cosines:
        written.append(_named(stem, "cosines"))
        figures.circle_histograms(cosines, written[-1])
    if points:
        written.append(_named(stem, "points"))
        figures.circle_points(points, written[-1])
    return written


def sweep(trainings: Trainings, stem: Path) -> list[Path]:
    """Figure 7: the probe against λ."""
    results = {
        float(run.removeprefix("lambda_")): [outcome.last() for outcome in outcomes]
        for run, outcomes in trainings.items()
    }
    if not any(results):  # λ = 0 alone is no sweep
        return []
    path = _named(stem, "sweep")
    figures.weight_sweep(results, path)
    return [path]


def over_training(trainings: Trainings, stem: Path) -> list[Path]:
    """Figure 8: γ and invariance over training."""
    path = _named(stem, "over_training")
    figures.measures_over_training(_by_step(trainings), path)
    return [path]


def ablation(trainings: Trainings, stem: Path) -> list[Path]:
    """Figures 10-16: probe, cosines of positive pairs, and their course."""
    named = {
        " + ".join(_TERMS[part] for part in run.split("_")): outcomes
        for run, outcomes in trainings.items()
    }
    written = [_named(stem, "bars"), _named(stem, "over_training")]
    last = {run: [outcome.last() for outcome in outcomes] for run, outcomes in named.items()}
    figures.ablation_bars(last, written[0])
    figures.measures_over_training(_by_step(named), written[1], metrics=("positive_cosine",))
    cosines = _by_run(named, "positive_cosines")
    if cosines:
        written.append(_named(stem, "positive_cosines"))
        figures.positive_histograms(cosines, written[-1])
    return written


def retrieval(trainings: Trainings, stem: Path) -> list[Path]:
    """Figures 9 and 21: what is near a query, and near it in another colour.

    Raises:
      ValueError: if the runs were asked with different images.
    """
    stored = {run: arrays for run, arrays in _stored(trainings).items() if "query_images" in arrays}
    if not stored:
        return []
    path = _named(stem, "neighbours")
    results = {run: trainings[run][0].last() for run in stored}
    pictures = same_queries(stored)
    figures.neighbours(
        pictures["query"],
        pictures["changed"],
        pictures["before"],
        pictures["after"],
        path,
        results=results,
    )
    return [path]


def proteins(trainings: Trainings, stem: Path) -> list[Path]:
    """Figures 3 and 17-20: turned chains on a plane; and the error of the axis by terms."""
    curves = {
        run: np.asarray(outcomes[0].last()["trajectories"]["trained"][0])
        for run, outcomes in trainings.items()
        if "trajectories" in outcomes[0].last()
    }
    bars = {
        _objectives(run): [outcome.last() for outcome in outcomes]
        for run, outcomes in trainings.items()
    }
    results = [result for outcomes in bars.values() for result in outcomes]
    written = []
    if tabular.over_seeds(results, "trained", _AXIS).trainings:
        written.append(_named(stem, "axis"))
        figures.ablation_bars(bars, written[-1], metrics=(_AXIS,))
    if curves:
        written.append(_named(stem, "trajectories"))
        figures.trajectories(curves, written[-1])
    return written


def _objectives(method: str) -> str:
    return " + ".join(_OBJECTIVES[name] for name in presets.PROTEIN_METHODS[method])


def _named(stem: Path, figure: str) -> Path:
    return stem.with_name(f"{stem.name}_{figure}.png")


def _stored(trainings: Trainings) -> dict[str, Any]:
    return {run: outcomes[0].last_arrays() for run, outcomes in trainings.items()}


def _by_run(trainings: Trainings, key: str) -> dict[str, np.ndarray]:
    """One array of the trained encoder, of the runs that have it."""
    name = f"{key}/trained"
    return {run: arrays[name] for run, arrays in _stored(trainings).items() if name in arrays}


def _measures(arrays: Any, encoder: str) -> dict[str, np.ndarray]:
    """Numbers for each augmentation, [A], by measure."""
    split = {key: key.partition("/")[::2] for key in arrays}
    return {
        measure: np.asarray(arrays[key])
        for key, (measure, owner) in split.items()
        if owner == encoder and arrays[key].ndim == 1
    }


def _by_step(trainings: Trainings) -> dict[str, dict[int, list[Any]]]:
    """By run and step, the evaluations of all trainings that have the step."""
    return {run: _steps(list(outcomes)) for run, outcomes in trainings.items()}


def _steps(outcomes: list[Outcome]) -> dict[int, list[Any]]:
    steps = sorted({step for outcome in outcomes for step in outcome.evaluations})
    return {
        step: [holder.evaluations[step] for holder in outcomes if step in holder.evaluations]
        for step in steps
    }
