"""From a study to its table: train what is missing, evaluate what is missing, read, write."""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from eqssl_jax.config import plain
from eqssl_jax.experiment.assess import assess
from eqssl_jax.page.summary import facts
from eqssl_jax.studies import base, folders, tabulate
from eqssl_jax.studies.base import Outcome, Study
from eqssl_jax.studies.folders import Choice, Chosen
from eqssl_jax.studies.tabulate import Outcomes
from eqssl_jax.training.environment import read_environment
from eqssl_jax.training.loop import train
from eqssl_jax.training.setup import Setup, setup
from eqssl_jax.training.workdir import locked, write_json

LOCK = ".study"  # held while a run is trained and evaluated
DONE = "study.json"  # in a run's folder: the last step, all that are evaluated, seconds


def produce(study: Study, scale: str, choice: Choice, directory: Path) -> list[Path]:
    """Make the runs that are missing, then the table and figures from all there are.

    Started again it goes on: training from its last checkpoint, evaluation at the first step
    without eval/<step>.json. Runs that another process works on are left to it, and said.

    Returns:
      The files written: DIR/<study>-<scale>.txt, .md and .csv, and the figures.

    Raises:
      ValueError, OSError, FloatingPointError: as `folders.check`, `setup` and `train`; whatever is
        wrong with a setting or with data shows before the first training.
    """
    folders.check(directory)
    missing = [chosen for chosen in choice.wanted if not done(study, place_of(chosen, directory))]
    missing = _by_data(missing)
    for chosen in missing:  # built and let go: a run's data is held only while its turn lasts
        _set_up(chosen)
    busy = [chosen for chosen in missing if not _make(study, chosen, place_of(chosen, directory))]
    if busy:
        names = "; ".join(chosen.title() for chosen in busy)
        print(f"Left to another process that works on {directory}: {names}", flush=True)
    outcomes = finished(study, choice.shown, directory)
    if not outcomes:
        fix = "wait for the other process, and start this again" if busy else "start this again"
        raise ValueError(
            f"No run of {study.name} is finished in {directory}, so there is no table yet: {fix}."
        )
    return write(study, scale, choice, outcomes, directory)


def place_of(chosen: Chosen, directory: Path) -> Path:
    """The folder of a run; see `folders.folder`."""
    return folders.folder(directory, chosen.name, chosen.config)


def done(study: Study, place: Path) -> bool:
    """Whether a run is trained to its end and evaluated at every step the study asks for.

    A damaged study.json says nothing: the run is entered again, and what is missing is made.
    """
    try:
        marked = json.loads((place / DONE).read_text(encoding="utf-8"))
        steps = [int(marked["step"])]
        if study.steps == "none":
            return True
        if study.steps == "all":
            # Older versions did not write which.
            steps += [int(step) for step in marked.get("evaluated", [])]
            if marked["all"] is not True:
                return False
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return all((place / "eval" / f"{step}.json").exists() for step in steps)


def finished(study: Study, shown: Sequence[Chosen], directory: Path) -> Outcomes:
    """The outcomes there are, in the order of the study."""
    places = [(chosen, place_of(chosen, directory)) for chosen in shown]
    return [(chosen, base.read(place)) for chosen, place in places if done(study, place)]


def write(
    study: Study,
    scale: str,
    choice: Choice,
    outcomes: Outcomes,
    directory: Path,
) -> list[Path]:
    """Print the table; write it as text, Markdown and CSV, and the figures.

    Tables say with what their runs were trained; the CSV has numbers alone.
    """
    stem = directory / f"{study.name}-{scale}"
    outcomes = [(chosen, study.valid(outcome)) for chosen, outcome in outcomes]
    note = made_with(place_of(chosen, directory) for chosen, _ in outcomes)
    study = study._replace(notes=(*study.notes, *note))
    written = []
    if study.steps != "none":
        forms = tabulate.tabulate(study, scale, choice.shown, outcomes)
        print("\n" + forms[0], flush=True)
        for suffix, content in zip((".txt", ".md", ".csv"), forms, strict=True):
            path = stem.with_name(stem.name + suffix)
            path.write_text(content)
            written.append(path)
    if study.figure:
        trainings: dict[str, list[Outcome]] = {}
        for chosen, outcome in outcomes:
            trainings.setdefault(chosen.name, []).append(outcome)
        drawn = study.figure(trainings, stem)
        for path in drawn:
            if note and path.suffix == ".md":  # tables of their own
                path.write_text(f"{path.read_text()}\n{note[0]}\n")
        written += drawn
    return written


def made_with(places: Iterable[Path]) -> list[str]:
    """Versions, commits and devices of these runs, and seconds; nothing where none is recorded."""
    recorded: dict[str, dict[str, None]] = {}
    seconds = []
    for place in places:
        for start in read_environment(place):
            for name, value in facts(start).items():
                recorded.setdefault(name, {})[value] = None
        seconds.append(_spent(place))
    if not recorded:
        return []
    where = "; ".join(f"{name} {' / '.join(values)}" for name, values in recorded.items())
    wall, cpu = (sum(column) / 3600 for column in zip(*seconds, strict=True))
    counted = sum(any(pair) for pair in seconds)
    took = (
        f" {counted} of {len(seconds)} runs took {wall:.2g} h of wall and {cpu:.2g} h of CPU time."
    )
    return [f"Trained with: {where}." + (took if counted else "")]


def _spent(place: Path) -> tuple[float, float]:
    """Wall and CPU seconds of training and evaluating a run, without starts that were stopped."""
    try:
        marked = json.loads((place / DONE).read_text(encoding="utf-8"))
        return float(marked["wall_s"]), float(marked["cpu_s"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0.0, 0.0


def _by_data(chosen: Sequence[Chosen]) -> list[Chosen]:
    """In the order given, but runs of one data set together: it is then read once."""
    keys = [json.dumps(plain(run.config)["data"], sort_keys=True) for run in chosen]
    return [
        run for _, run in sorted(zip(keys, chosen, strict=True), key=lambda p: keys.index(p[0]))
    ]


def _set_up(chosen: Chosen) -> Setup:
    try:
        return setup(chosen.config)
    except FileNotFoundError as error:
        images = (
            "--data=FILE with an .npz file of train_images, train_labels, test_images and "
            "test_labels (uint8, N×H×W×3), --data=FOLDER with images by class, or --data=shapes."
        )
        chains = (
            "--data=FILE with an .npz file of chains, --data=FOLDER with PDB or mmCIF files, or "
            "no --data for generated chains."
        )
        raise FileNotFoundError(
            f"{chosen.title()} has no data: {error} Or let other data stand in for it: "
            f"{chains if chosen.config.data.name == 'proteins' else images}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{chosen.title()} cannot be trained: {error}") from error


def _make(study: Study, chosen: Chosen, place: Path) -> bool:
    """Train and evaluate one run; False if another process is at it."""
    with locked(place, LOCK) as mine:  # two processes on one DIR share its runs among them
        if not mine:
            return False
        wall, cpu = _spent(place)
        wall, cpu = wall - time.perf_counter(), cpu - time.process_time()
        run = _set_up(chosen)
        train(run, place, name=f"{chosen.title()}  ")
        all_steps = study.steps == "all"
        if study.steps != "none":
            steps = "all" if all_steps else str(run.steps)
            with_floors = study.floors is None or chosen.name in study.floors
            print(f"{chosen.title()}: evaluating (minutes) ...", flush=True)
            for path in assess(place, steps, missing_only=True, with_floors=with_floors):
                print(f"{chosen.title()}: evaluation in {path}", flush=True)
        evaluated = sorted(
            int(path.stem) for path in (place / "eval").glob("*.json") if path.stem.isdigit()
        )
        marked = {"step": run.steps, "all": all_steps, "evaluated": evaluated}
        seconds = {"wall_s": wall + time.perf_counter(), "cpu_s": cpu + time.process_time()}
        write_json(place / DONE, {**marked, **seconds})
    return True
