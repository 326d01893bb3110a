"""Settings that a user gives for single runs of a study, in a file: `--settings`."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from eqssl_jax import methods, storage
from eqssl_jax.config import SCHEMA
from eqssl_jax.settings import Setting, accept, find
from eqssl_jax.studies.base import Runs

# By name of a run, by path of a setting below config.
Settings: TypeAlias = Mapping[str, Mapping[str, Any]]


def read(place: str | Path) -> Settings:
    """The settings of a JSON file, {RUN: {PATH: VALUE}}, here or in a bucket.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it holds anything else.
    """
    example = '{"simclr_care": {"objectives.equivariance.weight": 0.3}}'
    path = storage.path(place)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(
            f"--settings={path}: there is no such file. It holds settings of runs, {example}."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--settings={path} is no JSON ({error}); write e.g. {example}.") from None
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError(f"--settings={path} must hold the settings of each run, e.g. {example}.")
    return content


def apply(runs: Runs, settings: Settings) -> Runs:
    """The runs with the settings that are given for them.

    Raises:
      ValueError: for a run that is none of them, a setting that its config does not have or use
        (the weight of a loss it is not trained by), and a value that does not fit.
    """
    changed = dict(runs)
    for name, values in settings.items():
        if name not in runs:
            near = difflib.get_close_matches(name, runs, 3) or list(runs)
            raise ValueError(
                f"--settings names the run {name!r}, which this study does not have: name "
                f"{', '.join(near)}."
            )
        config = ConfigDict(methods.resolved(runs[name]).to_dict())
        for path, value in values.items():
            _set(config, name, path, value)
        changed[name] = config
    return changed


def _set(config: ConfigDict, run: str, path: str, value: Any) -> None:
    *above, last = path.split(".")
    group: Any = config
    for part in above:
        group = group.get(part) if isinstance(group, ConfigDict) else None
    if not isinstance(group, ConfigDict) or last not in group or path in ("seed", "runs"):
        raise ValueError(
            f"--settings gives {run} the setting {path!r}, which its config does not have or use: "
            f"write paths below config as in its config.json, e.g. optimizer.learning_rate."
        )
    if isinstance(group[last], ConfigDict):
        raise ValueError(
            f"--settings gives {run} a value for config.{path}, which is a group: give its "
            f"settings one by one, e.g. {path}.{next(iter(group[last]), 'NAME')}."
        )
    entry = find(SCHEMA, tuple(path.split(".")))
    if isinstance(entry, Setting):
        value = accept(f"config.{path} of {run} (--settings)", value, entry)
    else:  # of a card, a recipe or a data set: setup looks at its range
        value = tuple(value) if isinstance(value, list) else value
        try:
            value = float(value) if _whole_for_number(group[last], value) else value
        except OverflowError:
            raise ValueError(
                f"--settings gives {run} a whole number of {len(str(abs(value)))} digits for "
                f"config.{path}: give a number that a float can hold."
            ) from None
    del group[last]
    group[last] = value


def _whole_for_number(before: Any, value: Any) -> bool:
    return isinstance(before, float) and isinstance(value, int) and not isinstance(value, bool)


def words(settings: Settings) -> str:
    """All of it in a line, for the notes of a table.

    >>> words({"moco_care": {"objectives.equivariance.weight": 0.3}})
    'moco_care: objectives.equivariance.weight 0.3'
    """
    runs = (
        f"{name}: {', '.join(f'{path} {value}' for path, value in values.items())}"
        for name, values in settings.items()
    )
    return "; ".join(runs)
