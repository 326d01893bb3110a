"""Which of the checkpoints that a run has kept is meant."""

import math
from pathlib import Path

from jaxtyping import PyTree

from eqssl_jax.training.checkpoint import Manager, score_of


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
        raise ValueError(
            f"The step {wanted!r} of {workdir} is not kept; choose latest, best, or one of {steps}."
        )
    return int(wanted)


def kept_steps(workdir: Path) -> list[int]:
    """The steps of which there is a finished checkpoint, without opening any."""
    folder = workdir / "checkpoints"
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit())
