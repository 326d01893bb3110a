"""From a study to its table: train what is missing, evaluate what is missing, read, write."""

import json
from collections.abc import Sequence
from pathlib import Path

from eqssl_jax.experiment.assess import assess
from eqssl_jax.studies import folders, outcome, tabulate
from eqssl_jax.studies.base import Outcome, Study
from eqssl_jax.studies.choose import Choice, Chosen
from eqssl_jax.studies.tabulate import Outcomes
from eqssl_jax.training.loop import train
from eqssl_jax.training.setup import Setup, setup
from eqssl_jax.training.workdir import write_json

DONE = "study.json"  # in a run's folder: the last step, and whether every step is evaluated


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
    missing = [one for one in choice.wanted if not done(study, place_of(one, directory))]
    built = [(one, _set_up(one)) for one in missing]
    busy = [one for one, run in built if not _make(study, one, run, place_of(one, directory))]
    if busy:
        names = "; ".join(one.title() for one in busy)
        print(f"Left to another process that works on {directory}: {names}", flush=True)
    outcomes = finished(study, choice.shown, directory)
    if not outcomes:
        raise ValueError(
            f"No run of {study.name} is finished in {directory}, so there is no table yet: wait "
            f"for the other process and start this again."
        )
    return write(study, scale, choice, outcomes, directory)


def place_of(one: Chosen, directory: Path) -> Path:
    """The folder of a run; see `folders.folder`."""
    return folders.folder(directory, one.name, one.config)


def done(study: Study, place: Path) -> bool:
    """Whether a run is trained to its end and evaluated at every step the study asks for."""
    if not (place / DONE).exists():
        return False
    found = json.loads((place / DONE).read_text())
    evaluated = (place / "eval" / f"{found['step']}.json").exists()
    return evaluated and (study.steps != "all" or found["all"])


def finished(study: Study, shown: Sequence[Chosen], directory: Path) -> Outcomes:
    """The outcomes there are, in the order of the study."""
    places = [(one, place_of(one, directory)) for one in shown]
    return [(one, outcome.read(place)) for one, place in places if done(study, place)]


def write(
    study: Study,
    scale: str,
    choice: Choice,
    outcomes: Outcomes,
    directory: Path,
) -> list[Path]:
    """Print the table; write it as text, Markdown and CSV, and the figures."""
    text, markdown, values = tabulate.tabulate(study, scale, choice.shown, outcomes)
    print("\n" + text, flush=True)
    stem = directory / f"{study.name}-{scale}"
    written = []
    for suffix, content in ((".txt", text), (".md", markdown), (".csv", values)):
        path = stem.with_name(stem.name + suffix)
        path.write_text(content)
        written.append(path)
    if study.figure:
        trainings: dict[str, list[Outcome]] = {}
        for one, found in outcomes:
            trainings.setdefault(one.name, []).append(found)
        written += study.figure(trainings, stem)
    return written


def _set_up(one: Chosen) -> Setup:
    try:
        return setup(one.config)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{one.title()} has no data: {error} Or let other data stand in for it: --data=FILE "
            f"with an .npz file of train_images, train_labels, test_images and test_labels (uint8, "
            f"N×H×W×3), --data=FOLDER with images by class, or --data=shapes."
        ) from error
    except ValueError as error:
        raise ValueError(f"{one.title()} cannot be trained: {error}") from error


def _make(study: Study, one: Chosen, run: Setup, place: Path) -> bool:
    """Train and evaluate one run; False if another process is at it."""
    with folders.claimed(place) as mine:
        if not mine:
            return False
        train(run, place, name=f"{one.title()}  ")
        every = study.steps == "all"
        for path in assess(place, "all" if every else str(run.steps), missing_only=True):
            print(f"{one.title()}: evaluation in {path}", flush=True)
        write_json(place / DONE, {"step": run.steps, "all": every})
    return True
