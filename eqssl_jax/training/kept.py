"""Which of the checkpoints that a run has kept is meant."""

import math
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from eqssl_jax.training import checkpoint
from eqssl_jax.training.checkpoint import Manager, score_of
from eqssl_jax.training.integrity import DamagedError


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
      NotKeptError: if there is no such step.
      ValueError: for the best one if none has a score.
    """
    steps, workdir = sorted(manager.all_steps()), Path(manager.directory).parent
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


def kept_steps(workdir: Path) -> list[int]:
    """The steps of which there is a finished checkpoint, without opening any."""
    folder = workdir / "checkpoints"
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit())
