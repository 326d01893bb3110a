"""The training loop: dispatch, look at the numbers, save; and again."""

import contextlib
import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from eqssl_jax.config import plain
from eqssl_jax.methods.entrants import trains_projector
from eqssl_jax.training import checkpoint, processes
from eqssl_jax.training.alarms import SPREAD, Alarms
from eqssl_jax.training.environment import planned_steps, record_environment
from eqssl_jax.training.initial import started_from
from eqssl_jax.training.inputs import inputs
from eqssl_jax.training.interruption import Interrupted, listening
from eqssl_jax.training.mesh import local
from eqssl_jax.training.monitor import Monitor, make_monitor
from eqssl_jax.training.optimizer import learning_rate
from eqssl_jax.training.ownership import check_shared, facts, take
from eqssl_jax.training.progress import Progress
from eqssl_jax.training.records import Records
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState
from eqssl_jax.training.step import Metrics, make_dispatch, make_step
from eqssl_jax.training.workdir import GoneError, WriteError


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
    processes.check_equal(facts(run))
    with contextlib.ExitStack() as held:
        processes.together(lambda: take(run, workdir, held))
        check_shared(workdir)
        manager = checkpoint.open_checkpoints(workdir, keep=run.config.train.keep)
        try:
            return _continue(run, workdir, manager, name)
        finally:
            # Waits for a save in flight; if that fails, the error above says so already.
            with contextlib.suppress(Exception):
                manager.close()


def _continue(run: Setup, workdir: Path, manager: checkpoint.Manager, name: str) -> TrainState:
    state = run.init()
    state = checkpoint.resume(manager, state) or started_from(run.config, run.mesh, state)
    start = int(state.step)
    if processes.first():
        _tell(run, workdir, start)
    if start and processes.first():
        words = "Going on from" if start < run.steps else "Training is finished:"
        print(f"{name}{words} step {start} of {run.steps}.", flush=True)
    if start >= run.steps:
        return state
    record_folder = workdir if processes.first() else None
    config = plain(run.config)
    records = Records(record_folder, resumed_at=start, log=run.config.log, config=config)
    try:
        if processes.first():
            record_environment(workdir, step=start, steps=run.steps)
        shown = name if processes.first() else None
        with Progress(shown, run.steps, run.config.train.batch_size, start=start) as progress:
            return _advance(run, state, manager, records, progress)
    except GoneError as error:
        raise OSError(
            f"{error} while training wrote to {workdir}: training has stopped, and what it wrote "
            f"since is lost. Put the folder back, or use another --workdir."
        ) from error
    except WriteError as error:
        raise OSError(
            f"Writing to {workdir} failed ({error}): check the free space and permissions of "
            f"its disk. Started again, training goes on from step "
            f"{manager.latest_step() or 0}, the last finished checkpoint."
        ) from error
    finally:
        records.close()


def _tell(run: Setup, workdir: Path, start: int) -> None:
    """Say what the settings have come to, before the first step."""
    before = planned_steps(workdir) if start else None
    if before is not None and before < run.steps:
        shorter = learning_rate(run.config.optimizer, run.steps_per_epoch, before)
        was, now = f"{float(shorter(start)):.3g}", f"{float(run.schedule(start)):.3g}"
        text = f"This run is extended from {before:,} to {run.steps:,} steps."
        if was != now:
            text += (
                f" What follows the length of a run is now that of the longer one: at step "
                f"{start:,} the learning rate is {now}, and was {was}."
            )
        print(text, flush=True)
    for note in run.notes if start < run.steps else ():
        print(note, flush=True)


class _Due(NamedTuple):
    """What is due after a dispatch."""

    score: bool
    save: bool
    stop: bool


def silent_kinds(config: ConfigDict) -> set[str]:
    """What is not warned of: an interval of monitors that was chosen, and a projector unused."""
    silent = {"monitors"} if config.train.knn_every else set()
    return silent if trains_projector(config) else silent | {"collapse"}


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
    alarms = Alarms(silent_kinds(run.config))
    pending: tuple[int, Metrics, int] | None = None
    with listening(run.mesh) as stop_asked:
        for count, batch in inputs(run, done):
            state, metrics = dispatch(state, run.split.pool, batch, count)
            # The numbers of the previous dispatch are fetched while this one runs, so that the
            # device never waits for the host and the host is never more than a dispatch ahead.
            if pending:
                _report(run, records, progress, alarms, *pending)
            pending = (done, metrics, count)
            done += count
            due = _due(run, done, stop_asked())
            if any(due):
                # Before a checkpoint: never save a NaN.
                scored = done if due.score and monitor else None
                _report(run, records, progress, alarms, *pending, scored=scored)
                pending = None
                _pause(state, done, due, monitor, manager, records, progress, alarms)
            if due.stop:
                break
        checkpoint.finish(manager)
        records.check_there()
        if stop_asked(last=True):
            raise _interrupted(done, run.steps, manager)
    return state


def _due(run: Setup, done: int, stop: bool) -> _Due:
    last = done == run.steps
    save = last or done % run.save_every == 0
    # Every checkpoint has a score, so that the best of them is known; but who asks to stop does not
    # wait for it, and the log of the run stays as it would have been.
    return _Due(score=save or done % run.knn_every == 0, save=save or stop, stop=stop)


def _pause(
    state: TrainState,
    done: int,
    due: _Due,
    monitor: Monitor | None,
    manager: checkpoint.Manager,
    records: Records,
    progress: Progress,
    alarms: Alarms,
) -> None:
    score = None
    if due.save:
        check_finite(done, state)
    if monitor and due.score:
        # Of process 0, in case others are of another kind of machine.
        begun = time.perf_counter()
        values, score = json.loads(processes.gathered(json.dumps(monitor(state)))[0])
        for warning in alarms.look_at_monitors(done, begun, time.perf_counter()):
            if processes.first():
                print(f"Warning: {warning}", file=sys.stderr, flush=True)
        if values:
            records.write(done, values)
            shown = checkpoint.SCORE if checkpoint.SCORE in values else next(iter(values))
            name = shown.removeprefix("validation_").removeprefix("monitor_")
            progress.report(done, {f"{name} (step {done})": values[shown]})
    if due.save:
        records.check_there()
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
    # On the host, which is to write them: on the device each shape would be a program to compile.
    leaves = jax.tree.leaves(jax.device_get(local((state.params, state.batch_stats))))
    if not all(np.isfinite(leaf).all() for leaf in leaves):
        raise FloatingPointError(
            f"The parameters became infinite or NaN at step {step}, before any loss did. Training "
            f"has stopped; the checkpoints before it are intact."
        )


def _report(
    run: Setup,
    records: Records,
    progress: Progress,
    alarms: Alarms,
    before: int,
    metrics: Metrics,
    count: int,
    *,
    scored: int | None = None,
) -> None:
    """Check every step's numbers, and record the steps that are due.

    The line of the step `scored` is shown when its score is there, too.
    """
    values = {name: np.asarray(numbers) for name, numbers in jax.device_get(metrics).items()}
    progress.tick(before + count)
    for i in range(count):
        step = before + i + 1
        line = {name: float(array[i]) for name, array in values.items()}
        wrong = [name for name, value in line.items() if not math.isfinite(value)]
        if wrong:
            records.write(step, line)
            raise _diverged(run, step, line, wrong)
        if step % run.log_every == 0 or step == run.steps:
            for warning in alarms.look(step, line) if processes.first() else ():
                print(f"Warning: {warning}", file=sys.stderr, flush=True)
            line["learning_rate"] = float(run.schedule(step - 1))
            records.write(step, line)
            hidden = ("learning_rate", "gradient_norm", SPREAD)
            shown = {name: value for name, value in line.items() if name not in hidden}
            progress.report(step, shown, later=step == scored)


def _diverged(
    run: Setup, step: int, line: Mapping[str, float], wrong: list[str]
) -> FloatingPointError:
    # The total and what follows from it come last: name the part that broke.
    first = min(wrong, key=lambda name: name in ("loss", "gradient_norm", SPREAD))
    coarse = run.config.model.compute_dtype != "float32"
    return FloatingPointError(
        f"{first} became {line[first]} at step {step} (not finite: {', '.join(wrong)}). Training "
        f"has stopped; the checkpoints before it are intact. In a new workdir, try a lower "
        f"config.optimizer.learning_rate (now {run.config.optimizer.learning_rate}) or a longer "
        f"warm-up{', or config.model.compute_dtype=float32' if coarse else ''}."
    )
