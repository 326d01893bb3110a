"""Checkpoints: the only file that knows orbax."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import jax
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint import checkpoint_managers as policies

Manager: TypeAlias = ocp.CheckpointManager
SCORE = "validation_knn"  # what "best" means; higher is better


def open_checkpoints(workdir: Path, *, keep: int = 2, read_only: bool = False) -> Manager:
    """The checkpoints of a run: the latest `keep`, and the best on validation.

    Writing is asynchronous: a save returns when the state has been copied off the device.

    Raises:
      ValueError: if `keep` < 1.
    """
    if keep < 1:
        raise ValueError(f"config.train.keep is {keep}; at least one checkpoint must be kept.")
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax reports every file it touches

    def score(metrics: PyTree) -> float:
        return metrics[SCORE]

    best = policies.BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False)
    return ocp.CheckpointManager(
        (workdir / "checkpoints").absolute(),
        options=ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep), best]),
            best_fn=score,  # without it the scores are not written, and lost on a restart
            read_only=read_only,
        ),
    )


def save(manager: Manager, step: int, state: Any, score: float | None) -> None:
    """Start writing `state`; `score` is its kNN accuracy on validation, if it was measured.

    Raises:
      OSError: if this or the previous checkpoint cannot be written (a full disk).
    """
    metrics = None if score is None else {SCORE: score}
    with _writing(manager):
        manager.save(step, args=ocp.args.StandardSave(state._asdict()), metrics=metrics)


def finish(manager: Manager) -> None:
    """Wait for the writing to end.

    Raises:
      OSError: as `save`.
    """
    with _writing(manager):
        manager.wait_until_finished()


@contextlib.contextmanager
def _writing(manager: Manager) -> Iterator[None]:
    """Failures of the disk arrive from orbax and tensorstore under many types: make them one."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise OSError(f"a checkpoint could not be written: {str(error).splitlines()[0]}") from error


def restore(manager: Manager, like: Any, step: int | None = None) -> Any:
    """The state saved at `step` (default: the latest), with the shapes and shardings of `like`.

    Raises:
      FileNotFoundError: if there is no such checkpoint.
    """
    found = manager.all_steps()
    step = manager.latest_step() if step is None else step
    if step is None or step not in found:
        raise FileNotFoundError(
            f"There is no checkpoint {'' if step is None else f'of step {step} '}in "
            f"{manager.directory}; found steps {sorted(found)}."
        )
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like._asdict())
    return type(like)(**manager.restore(step, args=ocp.args.StandardRestore(target)))


def best_step(manager: Manager) -> int | None:
    """The kept step with the highest validation score; None if none was scored."""
    scores: dict[int, float] = {}
    for step in manager.all_steps():
        metrics: PyTree = manager.metrics(step)
        if metrics:
            scores[step] = metrics[SCORE]
    return max(scores, key=lambda step: (scores[step], step)) if scores else None
