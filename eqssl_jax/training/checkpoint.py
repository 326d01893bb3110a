"""Checkpoints: the only file that knows orbax.

A checkpoint holds the state and a checksum of it, so that what was cut short or altered on disk is
found when it is read, whichever file and bit it was.
"""

import contextlib
import errno
import json
import logging
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint import checkpoint_managers as policies

from eqssl_jax import storage
from eqssl_jax.training.integrity import (
    DamagedError,
    IncompatibleError,
    check_shapes,
    checksum,
    shapes,
    undescribed,
)
from eqssl_jax.training.mesh import local
from eqssl_jax.training.processes import LostError, first, gathered, of_a_collective
from eqssl_jax.training.workdir import WriteError

Manager: TypeAlias = ocp.CheckpointManager
SCORE = "validation_knn"  # what "best" means; higher is better
CHECKSUM = "checksum"
_NOT_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN)
ASIDE = "damaged"  # beside checkpoints/: those that could not be read


def open_checkpoints(workdir: Path, *, keep: int = 2, read_only: bool = False) -> Manager:
    """The checkpoints of a run: the latest `keep`, and the best on validation.

    Writing is asynchronous: a save returns when the state has been copied off the device.
    Checkpoints whose descriptions cannot be read, which orbax would trip over, are set aside first.

    Raises:
      ValueError: if `keep` < 1, and as `storage.check_run`.
      DamagedError: for such a one, if `read_only` or if there is no other.
    """
    if keep < 1:
        raise ValueError(f"config.train.keep is {keep}; at least one checkpoint must be kept.")
    storage.check_run(workdir)
    _quiet()
    folder = (workdir / "checkpoints").absolute()
    if read_only:
        for text in undescribed(folder).values():
            raise DamagedError(text)
    else:
        _set_aside_undescribed(folder)
    best = policies.BestN(get_metric_fn=score_of, n=1, keep_checkpoints_without_metrics=False)
    return ocp.CheckpointManager(
        folder,
        item_handlers=ocp.StandardCheckpointHandler(),  # or what is saved could not be described
        options=ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep), best]),
            best_fn=score_of,  # without it the scores are not written, and lost on a restart
            read_only=read_only,
        ),
    )


def _quiet() -> None:
    """Orbax logs every file it touches and, as tensorstore does, every failure that it also raises.

    What it raises becomes one paragraph; a full disk would print hundreds of lines beside it.
    """
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").addFilter(_unless_of_a_failed_write)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _unless_of_a_closed_loop
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unraisable_unless_of_a_closed_loop


def _unless_of_a_failed_write(record: logging.LogRecord) -> bool:
    """Whether to log: not for arrays whose write failed after that of another had been raised."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, ValueError) and "in OCDBT database" in str(error))


def _unless_of_a_closed_loop(kind: Any, error: BaseException, trace: Any) -> None:
    """Late answers of tensorstore to a write that has failed already are not printed."""
    if not _of_a_closed_loop(error):
        sys.__excepthook__(kind, error, trace)


def _unraisable_unless_of_a_closed_loop(late: "sys.UnraisableHookArgs") -> None:
    """The same for answers that come from a thread of its own."""
    if not _of_a_closed_loop(late.exc_value):
        sys.__unraisablehook__(late)


def _of_a_closed_loop(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and str(error) == "Event loop is closed"


def score_of(metrics: PyTree) -> float:
    """−∞ for what is no score: sound arrays are not lost by it, they are only not the best."""
    value = metrics.get(SCORE)
    return value if isinstance(value, float) and math.isfinite(value) else -math.inf


def save(manager: Manager, step: int, state: Any, score: float | None) -> None:
    """Start writing `state`; `score` is its kNN accuracy on validation, if it was measured.

    Raises:
      WriteError: if this or the previous checkpoint cannot be written (a full disk).
    """
    metrics = None if score is None else {SCORE: score}
    with _writing(manager):
        saved = {**state._asdict(), CHECKSUM: checksum(state)}
        manager.save(step, args=ocp.args.StandardSave(saved), metrics=metrics)


def finish(manager: Manager) -> None:
    """Wait for the writing to end.

    Raises:
      WriteError: as `save`.
    """
    with _writing(manager):
        manager.wait_until_finished()


@contextlib.contextmanager
def _writing(manager: Manager) -> Iterator[None]:
    """Failures of the disk arrive from orbax and tensorstore under many types: make them one."""
    try:
        yield
    except jax.errors.JaxRuntimeError:
        raise  # not of the disk: another process is lost
    except Exception as error:
        remote = storage.is_address(manager.directory)  # whose clients have errors of their own
        if not (remote or isinstance(error, OSError | ValueError | RuntimeError)):
            raise
        if jax.process_count() > 1 and (isinstance(error, TimeoutError) or of_a_collective(error)):
            raise LostError(str(error)) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WriteError(f"a checkpoint could not be written: {reason}") from error


def resume(manager: Manager, like: Any) -> Any | None:
    """The newest state that is whole, or None if nothing was saved yet.

    Damaged checkpoints that are newer are moved to damaged/ beside them, with a message.

    Raises:
      OSError: if there are checkpoints, but none can be read.
      ValueError: if none can, and one of them is of another model.
    """
    faults: dict[int, Exception] = {}
    for step in sorted(manager.all_steps(), reverse=True):
        state, error = None, None
        try:
            state = restore(manager, like, step)
        except (DamagedError, IncompatibleError) as raised:
            error = raised
        # All processes take the same step, also where only one could not read it.
        others = [text for text in gathered("" if error is None else str(error)) if text]
        if others:
            faults[step] = error or DamagedError(others[0])
            continue
        if faults:
            _set_aside(storage.path(manager.directory), faults)
            manager.reload()
            if first():
                print(
                    f"Training goes on from step {step}, the newest that is whole.", file=sys.stderr
                )
        return state
    for fault in faults.values():
        if isinstance(fault, IncompatibleError):
            raise fault
    if faults:
        raise _none_left(storage.path(manager.directory), faults)
    return None


def _none_left(folder: Path, faults: Mapping[int, Exception]) -> DamagedError:
    return DamagedError(
        f"No checkpoint in {folder} can be read ({'; '.join(map(str, faults.values()))}). Training "
        f"does not begin anew by itself: use another --workdir, or remove this folder."
    )


def restore(manager: Manager, like: Any, step: int | None = None) -> Any:
    """The state saved at `step` (default: the latest), with the shapes and shardings of `like`.

    Raises:
      FileNotFoundError: if there is no such checkpoint.
      DamagedError: if it cannot be read, or its checksum is not that of what was read.
      IncompatibleError: if it is of a model with other arrays than `like`.
    """
    kept = manager.all_steps()
    step = manager.latest_step() if step is None else step
    if step is None or step not in kept:
        raise FileNotFoundError(
            f"There is no checkpoint {'' if step is None else f'of step {step} '}in "
            f"{manager.directory}; found steps {sorted(kept)}."
        )
    expected = jax.eval_shape(checksum, like)
    expected = jax.ShapeDtypeStruct(
        expected.shape, expected.dtype, sharding=jax.tree.leaves(like)[0].sharding
    )
    wanted = {**like._asdict(), CHECKSUM: expected}
    with _reading(manager, step):
        stored = shapes(manager.item_metadata(step))
        if not stored:  # not "of another model": its description is gone, or half of it is removed
            raise ValueError("nothing describes its arrays")
    check_shapes(stored, shapes(wanted), f"The checkpoint of step {step} in {manager.directory}")
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, wanted)
    with _reading(manager, step):
        saved = manager.restore(step, args=ocp.args.StandardRestore(target))
        written = saved.pop(CHECKSUM)
        state = type(like)(**saved)
        if not jnp.array_equal(checksum(state), written):
            raise ValueError("its checksum is not that of its content")
        _check_step(step, state)
    return state


def _check_step(step: int, state: Any) -> None:
    """The folder of a checkpoint has the number of its step, or it was renamed."""
    steps = np.unique(np.asarray(local(getattr(state, "step", step))))
    if steps.tolist() != [step]:
        raise ValueError(
            f"it holds the state of step {', '.join(map(str, steps))}, so its folder was renamed, "
            f"or exchanged with another"
        )


@contextlib.contextmanager
def _reading(manager: Manager, step: int) -> Iterator[None]:
    """Whatever a damaged file makes orbax, tensorstore or JSON raise is one error here.

    What says nothing of the file passes: a lost process, memory, rights, a disk that is away; and a
    checkpoint that training has removed meanwhile is a FileNotFoundError.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError, PermissionError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NOT_THE_FILE:
            raise
        if storage.is_address(manager.directory) and storage.does_not_answer(error):
            raise OSError(
                f"The checkpoint of step {step} in {manager.directory} cannot be read now: the "
                f"storage does not answer, or refuses ({' '.join(str(error).split())[:300]})."
            ) from error
        folder = storage.path(manager.directory) / str(step)
        if not folder.exists():
            raise FileNotFoundError(
                f"The checkpoint of step {step} in {manager.directory} was removed meanwhile."
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if not (folder / "default").is_dir():
            reason = "its folder holds no state, which lies in a folder default"
        raise DamagedError(
            f"The checkpoint of step {step} in {manager.directory} is damaged: {reason[:300]}"
        ) from error


def _set_aside_undescribed(folder: Path) -> None:
    """Process 0 looks, for all."""
    text = gathered(json.dumps(undescribed(folder) if first() else {}))[0]
    damaged: dict[int, Exception] = {
        int(step): DamagedError(why) for step, why in json.loads(text).items()
    }
    if damaged and set(storage.finished_checkpoints(folder)) == set(damaged):
        raise _none_left(folder, damaged)
    _set_aside(folder, damaged)


def _set_aside(folder: Path, damaged: Mapping[int, Exception]) -> None:
    """Move checkpoints to damaged/ beside their folder, and say why."""
    aside = folder.parent / ASIDE
    if damaged and first():
        aside.mkdir(exist_ok=True)
        for step, error in damaged.items():
            number = len(list(aside.glob(f"{step}-*")))
            storage.move(folder / str(step), aside / f"{step}-{number}")
            print(f"{error}. It was moved to {aside}.", file=sys.stderr)
    gathered("")  # nobody looks before all are moved
