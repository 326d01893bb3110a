"""The runs of a sweep: a config with every combination of values of its settings, and seeds."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from eqssl_jax.config import copied
from eqssl_jax.overrides import Override, add, mistake, value_of
from eqssl_jax.studies.folders import Chosen
from eqssl_jax.training.setup import settled

Values = tuple[Any, ...]


class Swept(NamedTuple):
    """A run of a sweep: the values of its settings, and the run with its seed."""

    values: Values
    run: Chosen


class Sweep(NamedTuple):
    """Names of the swept settings but for the seed, and every run."""

    settings: tuple[str, ...]
    runs: tuple[Swept, ...]


def parse(config: ConfigDict, over: Sequence[str]) -> Sweep:
    """Every combination of values, each NAME=VALUE,VALUE,… a setting of the config.

    Raises:
      ValueError: without values, for a setting that does not exist or a value that does not fit, a
        setting or value twice, or a config of several runs.
    """
    if config.runs:
        raise ValueError("A sweep is of one run, and this config compares several (config.runs).")
    texts: dict[str, list[str]] = {}
    for entry in over:
        name, equals, listed = entry.partition("=")
        name = name.removeprefix("--").removeprefix("config.")
        pieces = [piece.strip() for piece in re.split(r",(?![^(\[]*[)\]])", listed)]
        if not equals or not all(pieces) or len(set(pieces)) < len(pieces) or name in texts:
            raise ValueError(
                f"--over takes NAME=VALUE,VALUE,…, every setting and every value once; found "
                f"{entry!r}."
            )
        texts[name] = pieces
    if not texts:
        raise ValueError("--over is needed, e.g. --over objectives.info_nce.temperature=0.1,0.5")
    runs = []
    for combination in itertools.product(*texts.values()):
        given = dict(zip(texts, combination, strict=True))
        changed = _changed(config, given)
        seedless = {name: text for name, text in given.items() if name != "seed"}
        title = ",".join(f"{n.rpartition('.')[2]}={text}" for n, text in seedless.items())
        values = tuple(value_of(text) for text in seedless.values())
        runs.append(Swept(values, Chosen(title or "seeds", changed.seed, changed)))
    for first, second in itertools.combinations(runs, 2):
        if first.run.config == second.run.config:  # 0.1 and 1e-1: one training would count as two
            raise ValueError(
                f"--over has the same run twice, as {label(first)} and as {label(second)}: give "
                f"every value once."
            )
    return Sweep(tuple(name for name in texts if name != "seed"), tuple(runs))


def label(swept: Swept) -> str:
    """What a run is called on the command line: its values and its seed."""
    return f"{swept.run.name},seed={swept.run.seed}"


def _changed(config: ConfigDict, given: Mapping[str, str]) -> ConfigDict:
    changed = copied(config)
    for name, text in given.items():
        if problem := mistake([f"--config.{name}={text}"]):
            raise ValueError(problem)
        add(changed, [Override(tuple(name.split(".")), text)])
    return settled(changed)
