"""The training loop: dispatch, look at the numbers, save; and again."""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eqssl_jax.config import plain
from eqssl_jax.data import batch_indices, stream
from eqssl_jax.evaluation import extract, knn_accuracy, subset
from eqssl_jax.training import checkpoint, processes
from eqssl_jax.training.environment import record_environment
from eqssl_jax.training.interruption import Interrupted, listening
from eqssl_jax.training.mesh import local, rows
from eqssl_jax.training.progress import Progress
from eqssl_jax.training.records import Records
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState
from eqssl_jax.training.step import Metrics, make_dispatch, make_step
from eqssl_jax.training.workdir import claim, locked

Monitor = Callable[[TrainState], float]
LOCK = ".training"  # held by the process that writes to a workdir


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
        manager = checkpoint.open_checkpoints(workdir, keep=run.config.train.keep)
        try:
            return _continue(run, workdir, manager, name)
        finally:
            # Waits for a save in flight; if that fails, the error above says so already.
            with contextlib.suppress(Exception):
                manager.close()


def _facts(run: Setup) -> dict[str, Any]:
    """What all processes of a run must have alike; the same indices then mean the same images."""
    sizes = {split: found.size for split, found in run.dataset.splits.items()}
    return {
        "config": plain(run.config),
        "code": processes.code_digest(),
        "jax": jax.__version__,
        "data": {"sizes": sizes, "mean": run.dataset.mean, "std": run.dataset.std},
    }


def _take(run: Setup, workdir: Path, held: contextlib.ExitStack) -> None:
    """Make the workdir this run's; process 0 does, for all."""
    if not processes.first():
        return
    claim(workdir, run.config)
    if not held.enter_context(locked(workdir, LOCK)):
        raise OSError(
            f"Another run is training in {workdir}: wait for its end, stop it, or use another "
            f"--workdir."
        )


def _continue(run: Setup, workdir: Path, manager: checkpoint.Manager, name: str) -> TrainState:
    state = run.init()
    state = checkpoint.resume(manager, state) or state
    start = int(state.step)
    if start >= run.steps:
        return state
    records = Records(workdir if processes.first() else None, resumed_at=start)
    try:
        if processes.first():
            record_environment(workdir, step=start, steps=run.steps)
        shown = name if processes.first() else None
        with Progress(shown, run.steps, run.config.train.batch_size, start=start) as progress:
            state = _advance(run, state, manager, records, progress)
            checkpoint.finish(manager)
            return state
    except OSError as error:
        raise OSError(
            f"Writing to {workdir} failed ({error}): check the free space and permissions of "
            f"its disk. Started again, training goes on from step "
            f"{manager.latest_step() or 0}, the last finished checkpoint."
        ) from error
    finally:
        records.close()


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
        for count, inputs in batches(run, done):
            state, metrics = dispatch(state, run.split.pool, inputs, count)
            # The numbers of the previous dispatch are fetched while this one runs, so that the
            # device never waits for the host and the host is never more than a dispatch ahead.
            if pending:
                _report(run, records, progress, *pending)
            pending = (done, metrics, count)
            done += count
            knn, saving = done % run.knn_every == 0, done % run.save_every == 0
            last, stopping = done == run.steps, asked()
            if knn or saving or last or stopping:
                _report(run, records, progress, *pending)  # before a checkpoint: never save a NaN
                pending, score = None, None
                if saving or last or stopping:
                    check_finite(done, state)
                # Every checkpoint has a score, so that the best of them is known; but who asks to
                # stop does not wait for it, and the log of the run stays as it would have been.
                if monitor and (knn or saving or last):
                    # Of process 0, in case others are of another kind of machine.
                    score = float(processes.gathered(repr(monitor(state)))[0])
                    records.write(done, {checkpoint.SCORE: score})
                    progress.report(done, {"knn": score})
                if saving or last or stopping:
                    checkpoint.save(manager, done, state, score)
                progress.pause()
            if stopping and not last:
                checkpoint.finish(manager)
                message = (
                    f"Training was asked to stop: step {done} of {run.steps} is saved in "
                    f"{manager.directory}. The same command goes on from there."
                )
                if processes.first():
                    print(message, file=sys.stderr, flush=True)
                raise Interrupted(message)
    return state


def batches(run: Setup, start: int) -> Iterator[tuple[int, np.ndarray]]:
    """(count, inputs [K, B, ...]) from step `start` on; no dispatch crosses a save or a kNN.

    Of each batch, the rows that the devices of this process hold.
    """
    seed, size, batch = run.config.seed, run.split.size, run.config.train.batch_size
    mine = rows(run.mesh, batch)

    # Refers to numbers only, of which worker processes get copies.
    def of_step(step: int) -> np.ndarray:
        return batch_indices(seed, step, size, batch)[mine]

    def spans() -> Iterator[tuple[int, int]]:
        done = start
        while done < run.steps:
            edges = [(done // every + 1) * every for every in (run.knn_every, run.save_every)]
            count = min(run.steps_per_dispatch, *(edge - done for edge in edges), run.steps - done)
            yield done, count
            done += count

    if run.split.load is None:
        for done, count in spans():
            found = np.zeros((run.steps_per_dispatch, mine.stop - mine.start), np.int32)
            found[:count] = [of_step(done + i) for i in range(count)]
            yield count, found
        return
    workers, buffered = run.config.data.workers, run.config.data.buffered
    images = stream(
        run.split, of_step, start=start, stop=run.steps, workers=workers, buffered=buffered
    )
    for of_one in images:
        yield 1, of_one[None]


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


def make_monitor(run: Setup) -> Monitor | None:
    """kNN accuracy of the frozen encoder on the validation split; None without labels.

    Bank and queries are the fixed subsets of config.knn, so that numbers of all steps compare.
    """
    bank, queries = run.dataset.splits.get("train"), run.dataset.splits.get("validation")
    settings = run.config.knn
    if bank is None or queries is None or bank.labels is None or queries.labels is None:
        return None
    bank_rows, query_rows = subset(bank.size, settings.bank), subset(queries.size, settings.queries)
    bank_labels, query_labels = bank.labels[bank_rows], queries.labels[query_rows]

    def monitor(state: TrainState) -> float:
        encode = run.encoder(state)
        return knn_accuracy(
            extract(encode, bank, indices=bank_rows).features,
            bank_labels,
            extract(encode, queries, indices=query_rows).features,
            query_labels,
            k=min(settings.neighbours, len(bank_rows)),
            temperature=settings.temperature,
            classes=len(run.dataset.classes),
        )

    return monitor
