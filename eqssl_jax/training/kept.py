"""Which of the checkpoints that a run has kept is meant."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from eqssl_jax import storage
from eqssl_jax.training import checkpoint
from eqssl_jax.training.checkpoint import Manager, score_of
from eqssl_jax.training.integrity import DamagedError
from eqssl_jax.training.workdir import LOCK, is_locked

LISTINGS = 10  # looks for a checkpoint while training removes them
MOMENT = 0.5  # seconds in which it has removed one that it was removing


class NotKeptError(ValueError):
    """A step of which there is no checkpoint, or no longer one."""


def best_step(manager: Manager) -> int | None:
    """The kept step with the highest validation score; None if none was scored."""
    scores: dict[int, float] = {}
    for step in manager.all_steps():
        metrics: PyTree = manager.metrics(step)
        if metrics and math.isfinite(score_of(metrics)):
            scores[step] = score_of(metrics)
    return max(scores, key=lambda step: (scores[step], step)) if scores else None


def find_step(manager: Manager, wanted: int | str) -> int:
    """The kept step that is meant by "latest", "best" (on validation) or its number.

    Raises:
      FileNotFoundError: without any checkpoint.
      ValueError: if there is no such step.
    """
    steps, workdir = sorted(manager.all_steps()), storage.path(manager.directory).parent
    if not steps:
        raise FileNotFoundError(f"{workdir} has no finished checkpoint yet; train first.")
    if wanted == "latest":
        return steps[-1]
    if wanted == "best":
        best = best_step(manager)
        if best is None:
            raise ValueError(
                f"No checkpoint of {workdir} has a score on validation (a run without labels or "
                f"validation split has none): choose latest, or one of {steps}."
            )
        return best
    if str(wanted) not in map(str, steps):
        raise NotKeptError(
            f"The step {wanted!r} of {workdir} is not kept; choose latest, best, or one of {steps}."
        )
    return int(wanted)


def restore(manager: Manager, like: Any, wanted: int | str) -> Any:
    """The state of the step that is meant, see `find_step` and `checkpoint.restore`.

    Raises:
      DamagedError: if it cannot be read, with the other steps there are: another one than was asked
        for is never taken silently.
    """
    step = find_step(manager, wanted)
    try:
        return checkpoint.restore(manager, like, step)
    except DamagedError as error:
        others = sorted(set(manager.all_steps()) - {step})
        raise DamagedError(
            f"{error}. {f'Choose another step, of {others}' if others else 'There is no other'}."
        ) from error


def read(workdir: Path, like: Any, wanted: int | str) -> Any:
    """`restore` from the checkpoints of a run, which may be training.

    Training that goes on beside this removes checkpoints, and half of one looks damaged: then the
    kept ones are listed again.

    Raises:
      FileNotFoundError: if there is no checkpoint, or that of a number is gone.
      ValueError: for a step that is not kept.
      DamagedError: as `restore`.
    """
    for _ in range(LISTINGS):
        listed = kept_steps(workdir)
        try:
            manager = checkpoint.open_checkpoints(workdir, read_only=True)
            try:
                return restore(manager, like, wanted)
            finally:
                manager.close()
        except (FileNotFoundError, DamagedError) as error:
            if isinstance(error, DamagedError) and not _removing(workdir, listed):
                raise
            gone = FileNotFoundError(f"Training has removed what was read: {error}")
            if isinstance(error, FileNotFoundError):
                gone = error
            if wanted not in ("latest", "best") or not kept_steps(workdir):
                raise gone from None
    raise gone


def _removing(workdir: Path, listed: Sequence[int]) -> bool:
    """Whether a process trains there and has removed one of the checkpoints since."""
    if not is_locked(workdir, LOCK):
        return False
    time.sleep(MOMENT)
    return not set(listed) <= set(kept_steps(workdir))


def kept_steps(workdir: Path) -> list[int]:
    """The steps of which there is a finished checkpoint, without opening any."""
    return storage.finished_checkpoints(workdir / "checkpoints")
