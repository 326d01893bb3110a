"""A config over values of its settings and seeds: every run, a table, and the test of the chosen.

The value is chosen by the score on validation at the end of training, the mean over seeds; test is
looked at once, by the runs of that value, when all others are finished.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eqssl_jax import tabular
from eqssl_jax.experiment.assess import assess
from eqssl_jax.figures import value_sweep
from eqssl_jax.measures.cards import LOWER
from eqssl_jax.studies import folders
from eqssl_jax.studies.grid import Sweep, Swept, Values, label
from eqssl_jax.studies.produce import LOCK
from eqssl_jax.tabular.seeds import Spread, over_seeds
from eqssl_jax.training.checkpoint import SCORE
from eqssl_jax.training.loop import train
from eqssl_jax.training.records import read_records
from eqssl_jax.training.setup import setup
from eqssl_jax.training.workdir import locked, write_json

DONE = "sweep.json"  # in a run's folder: its last step and scores, or why it has none
SCORES = ("monitor_classifier_top1", SCORE, "monitor_probe")  # the first that runs have


def sweep(grid: Sweep, directory: Path, *, by: str = "", only: str = "") -> list[Path]:
    """Train what is missing, then write sweep.txt, .md, .csv and a figure; the files written.

    A run that diverges is one result among others. Started again it goes on; processes on one
    directory share its runs by locks.

    Args:
      grid: from `parse`.
      directory: holds the runs.
      by: the number of metrics.jsonl that is the score; "": accuracy or kNN on validation.
      only: the label of a run (of `show_plan`): make it, and no table.

    Raises:
      ValueError: if no run has a finite score, for an unknown `only`, and as `setup`.
      OSError: as `train`.
    """
    folders.check(directory, "--workdir")
    labels = [label(swept) for swept in grid.runs]
    if only and only not in labels:
        raise ValueError(f"--only is {only!r}, which is none of the runs {', '.join(labels)}.")
    wanted = [swept for swept in grid.runs if only in ("", label(swept))]
    missing = [swept for swept in wanted if _read(_place(swept, directory)) is None]
    for swept in missing:
        setup(swept.run.config)  # what is wrong with a setting shows before the first training
    busy = [label(swept) for swept in missing if not _make(swept, _place(swept, directory))]
    if busy:
        print(f"Left to another process: {', '.join(busy)}", flush=True)
    if only or busy:
        return []
    outcomes = {label(swept): _read(_place(swept, directory)) or {} for swept in grid.runs}
    return _write(grid, directory, outcomes, by or _score(grid, outcomes))


def show_plan(grid: Sweep, directory: Path, words: Sequence[str]) -> None:
    """Print the command of every missing run, `words` being that of the sweep."""
    folders.check(directory, "--workdir")
    missing = [swept for swept in grid.runs if _read(_place(swept, directory)) is None]
    print(f"{len(missing)} runs to make, {len(grid.runs) - len(missing)} finished.\n")
    for swept in missing:
        command = ["python", "-m", "eqssl_jax.sweep", *words, f"--only={label(swept)}"]
        print(shlex.join(command))


def _place(swept: Swept, directory: Path) -> Path:
    return folders.folder(directory, swept.run.name, swept.run.config)


def _read(place: Path) -> dict[str, Any] | None:
    try:
        outcome = json.loads((place / DONE).read_text(encoding="utf-8"))
        return outcome if isinstance(outcome["scores"], dict) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _make(swept: Swept, place: Path) -> bool:
    """Train one run; False if another process is at it."""
    with locked(place, LOCK) as mine:
        if not mine:
            return False
        scores: dict[str, float] = {}
        reason = ""
        try:
            train(setup(swept.run.config, workdir=place), place, name=f"{label(swept)}  ")
            for row in read_records(place):
                scores |= {name: value for name, value in row.items() if name != "step"}
        except FloatingPointError as error:
            reason = str(error)
            print(f"{label(swept)}: {reason} The sweep goes on.", flush=True)
        write_json(place / DONE, {"scores": scores, "diverged": reason})
    return True


def _score(grid: Sweep, outcomes: Mapping[str, Any]) -> str:
    """The score that the runs have.

    Raises:
      ValueError: if every run diverged, or none has a score on validation.
    """
    finite = [outcome["scores"] for outcome in outcomes.values() if outcome.get("scores")]
    if not finite:
        settings = ", ".join(grid.settings) or "seed"
        raise ValueError(
            f"None of the {len(outcomes)} runs over {settings} has a finite loss; the first: "
            f"{next(iter(outcomes.values())).get('diverged')} Sweep over lower values."
        )
    for name in SCORES:
        if any(name in scores for scores in finite):
            return name
    raise ValueError(
        f"No run has a score on validation, for which images need labels and config.train.monitors "
        f"knn or probe: choose --by one of {', '.join(sorted(finite[0]))}, which metrics.jsonl has."
    )


def _write(grid: Sweep, directory: Path, outcomes: Mapping[str, Any], by: str) -> list[Path]:
    name = {SCORE: "knn"}.get(by, by.removeprefix("monitor_"))
    spreads: dict[Values, Spread] = {}
    for values in dict.fromkeys(swept.values for swept in grid.runs):
        scores = [outcomes[label(swept)]["scores"].get(by)
                  for swept in grid.runs if swept.values == values]  # fmt: skip
        spreads[values] = over_seeds([_as_result(name, score) for score in scores], "trained", name)
    finished = {values: spread for values, spread in spreads.items() if spread.trainings}
    if not finished:
        logged = sorted({name for outcome in outcomes.values() for name in outcome["scores"]})
        raise ValueError(
            f"No run has a finite {by}: --by takes a number of metrics.jsonl, one of "
            f"{', '.join(logged)}."
        )
    sign = _sign(by, name, grid)
    most = max(spread.trainings for spread in finished.values())
    chosen = max(
        (values for values, spread in finished.items() if spread.trainings == most),
        key=lambda values: sign * finished[values].value,
    )
    places = [_place(swept, directory) for swept in grid.runs
              if swept.values == chosen and outcomes[label(swept)]["scores"]]  # fmt: skip
    others = [label(swept) for swept in grid.runs if swept.values != chosen
              and any((_place(swept, directory) / "eval").glob("*.json"))]  # fmt: skip
    tested = tabular.merged(list(map(_tested, places)))
    table = _sheet(grid, spreads, chosen, name, by, tested, others)
    print("\n" + tabular.as_text(table), flush=True)
    forms = {".txt": tabular.as_text, ".md": tabular.as_markdown, ".csv": tabular.as_csv}
    written = [directory / f"sweep{suffix}" for suffix in forms]
    for path, form in zip(written, forms.values(), strict=True):
        path.write_text(form(table))
    score = f"{tabular.describe(name).title}{', validation' if by in SCORES else ''}"
    return [*written, *_draw(grid.settings, spreads, name, score, directory / "sweep.png")]


def _sign(by: str, name: str, grid: Sweep) -> int:
    """1 where more is better, −1 where less is.

    Raises:
      ValueError: for a number of which neither is.
    """
    losses = {"loss", *(key for swept in grid.runs for key in swept.run.config.objectives)}
    better = LOWER if by in losses else tabular.describe(name).better
    if better is None:
        raise ValueError(
            f"--by is {by!r}, of which neither more nor less is better, so it chooses nothing: "
            f"give another number of metrics.jsonl, e.g. --by=monitor_rankme."
        )
    return -1 if better == LOWER else 1


def _tested(place: Path) -> Mapping[str, Any]:
    """The evaluation of the last step of a run, made if it is not there yet."""
    step = read_records(place)[-1]["step"]
    if not (place / "eval" / f"{step}.json").exists():
        print(f"{place.name}: evaluating (minutes) ...", flush=True)
    assess(place, str(step), missing_only=True)  # of a number: "latest" would be made again
    return json.loads((place / "eval" / f"{step}.json").read_text())


def _draw(
    settings: Sequence[str], spreads: Mapping[Values, Spread], name: str, score: str, path: Path
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
    percent = tabular.describe(name).format.endswith("%")
    value_sweep(lines, path, setting=settings[0], score=score, percent=percent)
    return [path]


def _as_result(name: str, value: float | None) -> dict[str, Any]:
    return {"encoders": {"trained": {name: {"value": value, "sd": None}}}}


def _sheet(
    grid: Sweep,
    spreads: Mapping[Values, Spread],
    chosen: Values,
    name: str,
    by: str,
    tested: Mapping[str, Any],
    others: Sequence[str],
) -> tabular.Sheet:
    seeds = len(grid.runs) // len(spreads)
    heading = f"{'validation: ' if by in SCORES else ''}{tabular.title(name)}"
    rows: list[tuple[str, ...]] = []
    records: list[list[Any]] = [[*grid.settings, "trainings", by, f"{by} sd", "chosen"]]
    for values, spread in spreads.items():
        cell = tabular.Cell(*spread) if spread.trainings else tabular.Cell(trainings=0)
        records.append([*values, spread.trainings, cell.value, cell.sd, values == chosen])
        shown = tabular.cell_text(name, _finite(cell)) if spread.trainings else "diverged"
        count = f"{spread.trainings}{f' of {seeds}' if spread.trainings < seeds else ''}"
        rows.append((*map(str, values), shown, count, "chosen" if values == chosen else ""))
    short = tabular.headlines(tabular.measured(tested, "trained"), [])
    numbers = ", ".join(
        f"{tabular.title(metric)} {tabular.cell_text(metric, tabular.cell_of(tested, metric))}"
        for metric in ("classifier_top1", *short)
        if tabular.cell_of(tested, metric).value is not None
    )
    counts = [spread.trainings for spread in spreads.values()]
    held_out = " on validation" if by in SCORES else ", which sees no test image,"
    notes = [
        f"Chosen by {by}{held_out} at the end of training; ± one standard deviation over "
        f"trainings.",
        f"Test, looked at once, of the chosen value ({tabular.cell_of(tested, name).trainings} "
        f"trainings): {numbers}.",
    ]
    if others:
        notes.append(f"Test was looked at earlier, too, of {', '.join(others)}.")
    if min(counts) < max(counts):
        notes.append("A value of which a run diverged is chosen only where all values have one.")
    if min(counts) < 3:
        notes.append("From fewer than three trainings of each value, this is no ranking.")
    title = f"Sweep over {', '.join(grid.settings) or 'seeds'}"
    return tabular.Sheet(grid.settings, (heading, "trainings", ""), rows, notes, records, title)


def _finite(cell: tabular.Cell) -> tabular.Cell:
    """Without the sd of a single training, which is none."""
    return cell._replace(sd=cell.sd if cell.sd is not None and cell.sd == cell.sd else None)
