"""Evaluate checkpoints as training writes them, until it has ended."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eqssl_jax.experiment.assess import (
    Assessment,
    FiguresError,
    draw,
    listed,
    measure_state,
)
from eqssl_jax.experiment.stored import run_folders, stored_setup
from eqssl_jax.training import kept
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.workdir import LOCK, is_locked

PATIENCE = 120.0  # seconds without training after which it has ended


def watch(
    workdir: Path,
    *,
    options: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    poll: float = 10.0,
    patience: float = PATIENCE,
    show: Callable[[Setup, Assessment], None] = lambda run, measured: None,
) -> None:
    """Evaluate every checkpoint as it appears, the newest first, until training has ended.

    That is when its last step is evaluated, or when for `patience` seconds no process has trained
    in the workdir and nothing was written there. Steps that training removes before their turn are
    passed over.

    Raises:
      FileNotFoundError: if `workdir` is not the folder of a run.
    """
    runs = {folder: stored_setup(folder, overrides) for folder in run_folders(workdir)}
    seen, printed = dict.fromkeys(runs, time.monotonic()), dict[Path, str]()
    passed = set[tuple[Path, int]]()
    while runs:
        for folder, run in list(runs.items()):
            steps = kept.kept_steps(folder)
            waiting = [
                step
                for step in steps
                if (folder, step) not in passed and not (folder / "eval" / f"{step}.json").exists()
            ]
            if waiting:
                if not _evaluate(run, folder, waiting[-1], options or {}, show):
                    passed.add((folder, waiting[-1]))
                continue
            if _at_work(folder, poll):
                seen[folder] = time.monotonic()
            if run.steps in steps:
                del runs[folder]
            elif time.monotonic() - seen[folder] > patience:
                _say(folder, printed, f"Training has ended {_place(run, steps)}: no process trains "
                     f"there. If it is started again, so can this be.")  # fmt: skip
                del runs[folder]
            else:
                _say(
                    folder, printed, f"Waiting for a checkpoint after that {_place(run, steps)} ..."
                )
                time.sleep(poll)


def _evaluate(
    run: Setup,
    folder: Path,
    step: int,
    options: Mapping[str, Any],
    show: Callable[[Setup, Assessment], None],
) -> bool:
    """Whether there was still such a checkpoint."""
    if (state := listed(run, folder, step)) is None:
        return False
    measured = measure_state(run, folder, state, options=options)
    show(run, measured)
    try:
        draw(run, folder, measured)
    except FiguresError as error:
        print(error, file=sys.stderr, flush=True)
    return True


def _at_work(folder: Path, poll: float) -> bool:
    """Whether a process trains there: it holds the lock or, where there are none, writes."""
    records = folder / "metrics.jsonl"
    written = records.stat().st_mtime if records.exists() else 0.0
    return is_locked(folder, LOCK) or time.time() - written < poll


def _place(run: Setup, steps: list[int]) -> str:
    return f"at step {steps[-1] if steps else 0:,} of {run.steps:,}"


def _say(folder: Path, printed: dict[Path, str], text: str) -> None:
    if printed.get(folder) != text:
        print(f"{folder}: {text}", flush=True)
        printed[folder] = text
