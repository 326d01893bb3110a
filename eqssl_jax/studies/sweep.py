"""A config over values of its settings and seeds: every run, a table, and the test of the chosen.

The value is chosen by the score on validation at the end of training, the mean over seeds; test is
looked at once, by the runs of that value, when all others are finished.
"""

import itertools
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from eqssl_jax import methods, tabular
from eqssl_jax.config import checked
from eqssl_jax.experiment.assess import assess
from eqssl_jax.figures.sweep import value_sweep
from eqssl_jax.measures.cards import LOWER
from eqssl_jax.overrides import Override, add, mistake, value_of
from eqssl_jax.studies import folders
from eqssl_jax.studies.folders import Chosen
from eqssl_jax.studies.produce import LOCK
from eqssl_jax.tabular.seeds import Spread, over_seeds
from eqssl_jax.training.checkpoint import SCORE
from eqssl_jax.training.datasets import with_absolute_paths
from eqssl_jax.training.loop import train
from eqssl_jax.training.records import read_records
from eqssl_jax.training.setup import setup
from eqssl_jax.training.workdir import locked, write_json

DONE = "sweep.json"  # in a run's folder: its last step and scores, or why it has none
SCORES = ("monitor_classifier_top1", SCORE, "monitor_probe")  # the first that runs have
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
        own = _changed(config, given)
        seedless = {name: text for name, text in given.items() if name != "seed"}
        label = ",".join(f"{n.rpartition('.')[2]}={text}" for n, text in seedless.items())
        values = tuple(value_of(text) for text in seedless.values())
        runs.append(Swept(values, Chosen(label or "seeds", own.seed, own)))
    return Sweep(tuple(name for name in texts if name != "seed"), tuple(runs))


def _changed(config: ConfigDict, given: Mapping[str, str]) -> ConfigDict:
    own = ConfigDict(config.to_dict())
    for name, text in given.items():
        if problem := mistake([f"--config.{name}={text}"]):
            raise ValueError(problem)
        add(own, [Override(tuple(name.split(".")), text)])
    return with_absolute_paths(methods.resolved(checked(own)))


def sweep(found: Sweep, directory: Path, *, by: str = "", only: str = "") -> list[Path]:
    """Train what is missing, then write sweep.txt, .md, .csv and a figure; the files written.

    A run that diverges is one result among others. Started again it goes on; processes on one
    directory share its runs by locks.

    Args:
      found: from `parse`.
      directory: holds the runs.
      by: the number of metrics.jsonl that is the score; "": accuracy or kNN on validation.
      only: the label of a run (of `show_plan`): make it, and no table.

    Raises:
      ValueError: if no run has a finite score, for an unknown `only`, and as `setup`.
      OSError: as `train`.
    """
    folders.check(directory)
    labels = [label(one) for one in found.runs]
    if only and only not in labels:
        raise ValueError(f"--only is {only!r}, which is none of the runs {', '.join(labels)}.")
    wanted = [one for one in found.runs if only in ("", label(one))]
    missing = [one for one in wanted if _read(_place(one, directory)) is None]
    for one in missing:
        setup(one.run.config)  # what is wrong with a setting shows before the first training
    busy = [label(one) for one in missing if not _make(one, _place(one, directory))]
    if busy:
        print(f"Left to another process: {', '.join(busy)}", flush=True)
    if only or busy:
        return []
    outcomes = {label(one): _read(_place(one, directory)) or {} for one in found.runs}
    return _write(found, directory, outcomes, by or _score(found, outcomes))


def label(one: Swept) -> str:
    """What a run is called on the command line: its values and its seed."""
    return f"{one.run.name},seed={one.run.seed}"


def show_plan(found: Sweep, directory: Path, words: Sequence[str]) -> None:
    """Print the command of every missing run, `words` being that of the sweep."""
    folders.check(directory)
    missing = [one for one in found.runs if _read(_place(one, directory)) is None]
    print(f"{len(missing)} runs to make, {len(found.runs) - len(missing)} finished.\n")
    for one in missing:
        command = ["python", "-m", "eqssl_jax.sweep", *words, f"--only={label(one)}"]
        print(shlex.join(command))


def _place(one: Swept, directory: Path) -> Path:
    return folders.folder(directory, one.run.name, one.run.config)


def _read(place: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((place / DONE).read_text(encoding="utf-8"))
        return found if isinstance(found["scores"], dict) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _make(one: Swept, place: Path) -> bool:
    """Train one run; False if another process is at it."""
    with locked(place, LOCK) as mine:
        if not mine:
            return False
        scores: dict[str, float] = {}
        reason = ""
        try:
            train(setup(one.run.config, workdir=place), place, name=f"{label(one)}  ")
            for row in read_records(place):
                scores |= {name: value for name, value in row.items() if name != "step"}
        except FloatingPointError as error:
            reason = str(error)
            print(f"{label(one)}: {reason} The sweep goes on.", flush=True)
        write_json(place / DONE, {"scores": scores, "diverged": reason})
    return True


def _score(found: Sweep, outcomes: Mapping[str, Any]) -> str:
    """The score that the runs have.

    Raises:
      ValueError: if every run diverged, or none has a score on validation.
    """
    finite = [outcome["scores"] for outcome in outcomes.values() if outcome.get("scores")]
    if not finite:
        settings = ", ".join(found.settings) or "seed"
        raise ValueError(
            f"None of the {len(outcomes)} runs over {settings} has a finite loss; the first: "
            f"{next(iter(outcomes.values())).get('diverged')} Sweep over lower values."
        )
    for name in SCORES:
        if any(name in scores for scores in finite):
            return name
    raise ValueError(
        f"No run has a score on validation (without labels there is none): choose by what "
        f"metrics.jsonl holds, e.g. --by=monitor_rankme; found {', '.join(sorted(finite[0]))}."
    )


def _write(found: Sweep, directory: Path, outcomes: Mapping[str, Any], by: str) -> list[Path]:
    name = {SCORE: "knn"}.get(by, by.removeprefix("monitor_"))
    spreads: dict[Values, Spread] = {}
    for values in dict.fromkeys(one.values for one in found.runs):
        of = [outcomes[label(one)]["scores"].get(by) for one in found.runs if one.values == values]
        spreads[values] = over_seeds([_as_result(name, value) for value in of], "trained", name)
    finished = {values: spread for values, spread in spreads.items() if spread.trainings}
    if not finished:
        raise ValueError(f"No run has a finite {by}: --by names a number of metrics.jsonl.")
    sign = -1 if tabular.describe(name).better == LOWER else 1
    chosen = max(finished, key=lambda values: sign * finished[values].value)
    places = [_place(one, directory) for one in found.runs
              if one.values == chosen and outcomes[label(one)]["scores"]]  # fmt: skip
    table = _sheet(found, spreads, chosen, name, by, tabular.merged(list(map(_tested, places))))
    print("\n" + tabular.as_text(table), flush=True)
    forms = {".txt": tabular.as_text, ".md": tabular.as_markdown, ".csv": tabular.as_csv}
    written = [directory / f"sweep{suffix}" for suffix in forms]
    for path, form in zip(written, forms.values(), strict=True):
        path.write_text(form(table))
    return [*written, *_draw(found.settings, spreads, name, directory / "sweep.png")]


def _tested(place: Path) -> Mapping[str, Any]:
    """The evaluation of the last step of a run, made if it is not there yet."""
    step = read_records(place)[-1]["step"]
    assess(place, str(step), missing_only=True)  # of a number: "latest" would be made again
    return json.loads((place / "eval" / f"{step}.json").read_text())


def _draw(
    settings: Sequence[str], spreads: Mapping[Values, Spread], name: str, path: Path
) -> list[Path]:
    """The score over the first setting, a line for each combination of the others."""
    if not settings:
        return []
    lines: dict[str, dict[Any, Spread]] = {}
    short = [setting.rpartition(".")[2] for setting in settings]
    for values, spread in spreads.items():
        others = zip(short[1:], values[1:], strict=True)
        line = lines.setdefault(", ".join(f"{other} {value}" for other, value in others), {})
        line[values[0]] = spread
    metric = tabular.describe(name)
    value_sweep(
        lines, path, setting=settings[0], score=f"{metric.title}, validation",
        percent=metric.format.endswith("%"),
    )  # fmt: skip
    return [path]


def _as_result(name: str, value: float | None) -> dict[str, Any]:
    return {"encoders": {"trained": {name: {"value": value, "sd": None}}}}


def _sheet(
    found: Sweep,
    spreads: Mapping[Values, Spread],
    chosen: Values,
    name: str,
    by: str,
    tested: Mapping[str, Any],
) -> tabular.Sheet:
    heading = f"validation: {tabular.title(name)}"
    rows: list[tuple[str, ...]] = []
    records: list[list[Any]] = [[*found.settings, "trainings", by, f"{by} sd", "chosen"]]
    for values, one in spreads.items():
        cell = tabular.Cell(*one) if one.trainings else tabular.Cell(trainings=0)
        records.append([*values, one.trainings, cell.value, cell.sd, values == chosen])
        shown = tabular.cell_text(name, _finite(cell)) if one.trainings else "diverged"
        rows.append((*map(str, values), shown, str(one.trainings),
                     "chosen" if values == chosen else ""))  # fmt: skip
    short = tabular.headlines(tabular.measured(tested, "trained"), [])
    numbers = ", ".join(
        f"{tabular.title(metric)} {tabular.cell_text(metric, tabular.cell_of(tested, metric))}"
        for metric in ("classifier_top1", *short)
        if tabular.cell_of(tested, metric).value is not None
    )
    fewest = min(one.trainings for one in spreads.values())
    notes = [
        f"Chosen by {by} on validation at the end of training; ± one standard deviation over "
        f"trainings.",
        f"Test, looked at once, of the chosen value ({tabular.cell_of(tested, name).trainings} "
        f"trainings): {numbers}.",
    ]
    if fewest < 3:
        notes.append("From fewer than three trainings of each value, this is no ranking.")
    return tabular.Sheet(found.settings, (heading, "trainings", ""), rows, notes, records)


def _finite(cell: tabular.Cell) -> tabular.Cell:
    """Without the sd of a single training, which is none."""
    return cell._replace(sd=cell.sd if cell.sd is not None and cell.sd == cell.sd else None)
