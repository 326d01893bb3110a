"""The training loop: dispatch, look at the numbers, save; and again."""

import contextlib
import hashlib
import math
import sys
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eqssl_jax.config import plain
from eqssl_jax.training import checkpoint, processes
from eqssl_jax.training.environment import record_environment
from eqssl_jax.training.inputs import inputs
from eqssl_jax.training.interruption import Interrupted, listening
from eqssl_jax.training.mesh import local
from eqssl_jax.training.monitor import Monitor, make_monitor
from eqssl_jax.training.progress import Progress
from eqssl_jax.training.provenance import read_provenance, write_provenance
from eqssl_jax.training.records import Records
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState
from eqssl_jax.training.step import Metrics, make_dispatch, make_step
from eqssl_jax.training.workdir import WriteError, claim, has_checkpoints, locked

LOCK = ".training"  # held by the process that writes to a workdir
MARK = ".processes"  # by which the others see that it is the same folder


def train(run: Setup, workdir: Path, *, name: str = "") -> TrainState:
    """Train to the end of the budget, continuing from the newest whole checkpoint if there is one.

    In a run of several processes each calls this; process 0 writes.

    Args:
      run: what `setup` built.
      workdir: receives config.json, environment.json, metrics.jsonl and checkpoints/.
      name: shown before every progress line.

    Raises:
      ValueError: if the workdir belongs to another config or its checkpoints to another model, or
        if the processes of the run differ.
      FloatingPointError: when a metric is not finite, naming the first; nothing later is saved.
      OSError: when the workdir cannot be written, or another run works in it.
      Interrupted: when asked to stop, after saving; see `interruption`.
    """
    processes.check_equal(_facts(run))
    with contextlib.ExitStack() as held:
        processes.together(lambda: _take(run, workdir, held))
        _check_shared(workdir)
        manager = checkpoint.open_checkpoints(workdir, keep=run.config.train.keep)
        try:
            return _continue(run, workdir, manager, name)
        finally:
            # Waits for a save in flight; if that fails, the error above says so already.
            with contextlib.suppress(Exception):
                manager.close()


def _facts(run: Setup) -> dict[str, Any]:
    """What all processes of a run must have alike, as far as it is quickly seen."""
    splits = run.dataset.splits
    return {
        "config": plain(run.config),
        "code": processes.code_digest(),
        "jax": jax.__version__,
        "data": {
            "sizes": {name: split.size for name, split in splits.items()},
            "mean": run.dataset.mean,
            "std": run.dataset.std,
            "labels": {
                name: hashlib.sha256(np.asarray(split.labels).tobytes()).hexdigest()[:16]
                for name, split in splits.items()
                if split.labels is not None
            },
        },
    }


def _take(run: Setup, workdir: Path, held: contextlib.ExitStack) -> None:
    """Make the workdir this run's; process 0 does, for all."""
    if not processes.first():
        return
    if not held.enter_context(locked(workdir, LOCK)):
        raise OSError(
            f"Another run is training in {workdir}: wait for its end, stop it, or use another "
            f"--workdir."
        )
    claim(workdir, run.config)
    _pin(run, workdir)


def _pin(run: Setup, workdir: Path) -> None:
    """Keep what is trained on; a run that goes on keeps what it was started with.

    Raises:
      ValueError: if the network of this run normalises otherwise than that of its checkpoints.
    """
    kept = read_provenance(workdir) if has_checkpoints(workdir) else None
    if kept is None:
        write_provenance(workdir, run.provenance())
    elif (kept.mean, kept.std) != (tuple(run.dataset.mean), tuple(run.dataset.std)):
        raise ValueError(
            f"{workdir} was trained with mean {kept.mean} and standard deviation {kept.std}, and "
            f"would go on with {run.dataset.mean} and {run.dataset.std}: build the run with "
            f"setup(config, workdir=...), which keeps the statistics of the model."
        )


def _check_shared(workdir: Path) -> None:
    """All processes of a run must see one workdir: orbax would wait for the others for ever.

    Raises:
      OSError: if one of them sees another folder, or none.
    """
    if jax.process_count() == 1:
        return
    mark = processes.gathered(uuid.uuid4().hex)[0]

    def see() -> None:
        found = workdir / MARK
        if not found.exists() or found.read_text() != mark:
            raise OSError(
                f"{workdir} is not the folder that process 0 writes to: all processes need one "
                f"--workdir on a disk that they share, at the same path."
            )

    processes.together(lambda: (workdir / MARK).write_text(mark) if processes.first() else None)
    processes.together(see)


def _continue(run: Setup, workdir: Path, manager: checkpoint.Manager, name: str) -> TrainState:
    state = run.init()
    state = checkpoint.resume(manager, state) or state
    start = int(state.step)
    if start and processes.first():
        print(f"{name}Going on from step {start} of {run.steps}.", flush=True)
    if start >= run.steps:
        return state
    records = Records(workdir if processes.first() else None, resumed_at=start)
    try:
        if processes.first():
            record_environment(workdir, step=start, steps=run.steps)
        shown = name if processes.first() else None
        with Progress(shown, run.steps, run.config.train.batch_size, start=start) as progress:
            return _advance(run, state, manager, records, progress)
    except WriteError as error:
        raise OSError(
            f"Writing to {workdir} failed ({error}): check the free space and permissions of "
            f"its disk. Started again, training goes on from step "
            f"{manager.latest_step() or 0}, the last finished checkpoint."
        ) from error
    finally:
        records.close()


class _Due(NamedTuple):
    """What is due after a dispatch."""

    score: bool
    save: bool
    stop: bool


def _advance(
    run: Setup,
    state: TrainState,
    manager: checkpoint.Manager,
    records: Records,
    progress: Progress,
) -> TrainState:
    root = jax.random.fold_in(jax.random.key(run.config.seed), 1)  # 0 is the initialisation
    step = make_step(run.network, run.method, run.optimizer, run.split.read, root)
    dispatch = make_dispatch(step, run.mesh)
    monitor = make_monitor(run)
    done = int(state.step)
    pending: tuple[int, Metrics, int] | None = None
    with listening(run.mesh) as asked:
        for count, batch in inputs(run, done):
            state, metrics = dispatch(state, run.split.pool, batch, count)
            # The numbers of the previous dispatch are fetched while this one runs, so that the
            # device never waits for the host and the host is never more than a dispatch ahead.
            if pending:
                _report(run, records, progress, *pending)
            pending = (done, metrics, count)
            done += count
            due = _due(run, done, asked())
            if any(due):
                _report(run, records, progress, *pending)  # before a checkpoint: never save a NaN
                pending = None
                _pause(state, done, due, monitor, manager, records, progress)
            if due.stop:
                break
        checkpoint.finish(manager)
        if asked(last=True):
            raise _interrupted(done, run.steps, manager)
    return state


def _due(run: Setup, done: int, asked: bool) -> _Due:
    last = done == run.steps
    save = last or done % run.save_every == 0
    # Every checkpoint has a score, so that the best of them is known; but who asks to stop does not
    # wait for it, and the log of the run stays as it would have been.
    return _Due(score=save or done % run.knn_every == 0, save=save or asked, stop=asked)


def _pause(
    state: TrainState,
    done: int,
    due: _Due,
    monitor: Monitor | None,
    manager: checkpoint.Manager,
    records: Records,
    progress: Progress,
) -> None:
    score = None
    if due.save:
        check_finite(done, state)
    if monitor and due.score:
        # Of process 0, in case others are of another kind of machine.
        score = float(processes.gathered(repr(monitor(state)))[0])
        records.write(done, {checkpoint.SCORE: score})
        progress.report(done, {"knn": score})
    if due.save:
        checkpoint.save(manager, done, state, score)
    progress.pause()


def _interrupted(done: int, steps: int, manager: checkpoint.Manager) -> Interrupted:
    message = (
        f"Training was asked to stop: step {done} of {steps} is saved in {manager.directory}. The "
        f"same command goes on from there."
    )
    if processes.first():
        print(message, file=sys.stderr, flush=True)
    return Interrupted(message)


def check_finite(step: int, state: TrainState) -> None:
    """An update can overflow although loss and gradient were finite: never save such a state.

    Raises:
      FloatingPointError: naming the step.
    """
    leaves = jax.tree.leaves(local((state.params, state.batch_stats)))
    if not all(jnp.isfinite(leaf).all() for leaf in leaves):
        raise FloatingPointError(
            f"The parameters became infinite or NaN at step {step}, before any loss did. Training "
            f"has stopped; the checkpoints before it are intact."
        )


def _report(
    run: Setup,
    records: Records,
    progress: Progress,
    before: int,
    metrics: Metrics,
    count: int,
) -> None:
    """Check every step's numbers, and record the steps that are due."""
    values = {name: np.asarray(numbers) for name, numbers in jax.device_get(metrics).items()}
    progress.tick(before + count)
    for i in range(count):
        step = before + i + 1
        line = {name: float(array[i]) for name, array in values.items()}
        wrong = [name for name, value in line.items() if not math.isfinite(value)]
        if wrong:
            records.write(step, line)
            # The total and the gradient follow from the objectives: name the part that broke.
            first = min(wrong, key=lambda name: name in ("loss", "gradient_norm"))
            raise FloatingPointError(
                f"{first} became {line[first]} at step {step} (not finite: {', '.join(wrong)}). "
                f"Training has stopped; the checkpoints before it are intact. In a new "
                f"workdir, try a lower config.optimizer.learning_rate (now "
                f"{run.config.optimizer.learning_rate}), a warm-up, or float32 instead of "
                f"{run.config.model.compute_dtype}."
            )
        if step % run.log_every == 0 or step == run.steps:
            line["learning_rate"] = float(run.schedule(step - 1))
            records.write(step, line)
            hidden = ("learning_rate", "gradient_norm")
            progress.report(step, {k: v for k, v in line.items() if k not in hidden})
