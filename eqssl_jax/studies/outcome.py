"""What finished runs gave: read from their folders, and combined over seeds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eqssl_jax import tabular
from eqssl_jax.experiment.stored import read_arrays
from eqssl_jax.studies.base import Outcome
from eqssl_jax.training.records import read_records
from eqssl_jax.training.workdir import read_config

Result = Mapping[str, Any]


def read(place: Path) -> Outcome:
    """The outcome of an evaluated run.

    Raises:
      FileNotFoundError: if `place` is not the folder of a run.
      ValueError: if its config, or an evaluation, is damaged.
    """
    evaluations, arrays = {}, {}
    for path in sorted((place / "eval").glob("*.json")):
        if path.stem.isdigit():
            evaluations[int(path.stem)] = _read_json(path)
            beside = path.with_name(f"{path.stem}_arrays.npz")
            if beside.exists():
                arrays[int(path.stem)] = read_arrays(beside)
    return Outcome(read_config(place), read_records(place), evaluations, arrays)


def merged(results: Sequence[Result]) -> Result:
    """One evaluation from those of several trainings: means, and ± over the trainings.

    A number stays only if every training has it. Of one training, that training's own.

    >>> found = merged([{"encoders": {"trained": {"knn": {"value": v, "sd": None, "n": 9}}}}
    ...                 for v in (0.5, 0.7)])
    >>> {key: round(value, 4) for key, value in found["encoders"]["trained"]["knn"].items()}
    {'value': 0.6, 'sd': 0.1414, 'n': 2}
    """
    first = results[0]
    if len(results) == 1:
        return first
    encoders: dict[str, dict[str, Any]] = {}
    for encoder, metrics in first["encoders"].items():
        encoders[encoder] = {}
        for metric in metrics:
            found = tabular.over_seeds(results, encoder, metric)
            if found.trainings == len(results):
                number = {"value": found.value, "sd": found.sd, "n": found.trainings}
                encoders[encoder][metric] = number
    return {**first, "encoders": encoders}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is damaged ({error}): remove it, and the step is evaluated again."
        ) from None
