"""The training loop: dispatch, look at the numbers, save; and again."""

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from eqssl_jax.data import batch_indices, stream
from eqssl_jax.evaluation import extract, knn_accuracy, subset
from eqssl_jax.training import checkpoint
from eqssl_jax.training.environment import record_environment
from eqssl_jax.training.progress import Progress
from eqssl_jax.training.records import Records
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState
from eqssl_jax.training.step import Metrics, make_dispatch, make_step
from eqssl_jax.training.workdir import claim

Monitor = Callable[[TrainState], float]


def train(run: Setup, workdir: Path, *, name: str = "") -> TrainState:
    """Train to the end of the budget, continuing from the latest checkpoint if there is one.

    Args:
      run: what `setup` built.
      workdir: receives config.json, environment.json, metrics.jsonl and checkpoints/.
      name: shown before every progress line.

    Raises:
      ValueError: if the workdir belongs to another config.
      FloatingPointError: when a metric is not finite, naming the first; nothing later is saved.
      OSError: when the workdir cannot be written.
    """
    claim(workdir, run.config)
    state = run.init()
    manager = checkpoint.open_checkpoints(workdir, keep=run.config.train.keep)
    try:
        if manager.latest_step() is not None:
            state = checkpoint.restore(manager, state)
        start = int(state.step)
        if start >= run.steps:
            return state
        records = Records(workdir, resumed_at=start)
        try:
            record_environment(workdir, step=start, steps=run.steps)
            with Progress(name, run.steps, run.config.train.batch_size, start=start) as progress:
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
    finally:
        # Waits for a save in flight; if that fails, the error above says so already.
        with contextlib.suppress(Exception):
            manager.close()


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
    for count, inputs in batches(run, done):
        state, metrics = dispatch(state, run.split.pool, inputs, count)
        # The numbers of the previous dispatch are fetched while this one runs, so that the device
        # never waits for the host and the host never runs further ahead than one dispatch.
        if pending:
            _report(run, records, progress, *pending)
        pending = (done, metrics, count)
        done += count
        knn, saving = done % run.knn_every == 0, done % run.save_every == 0
        last = done == run.steps
        if knn or saving or last:
            _report(run, records, progress, *pending)  # before a checkpoint: never save a NaN
            pending, score = None, None
            if saving or last:
                check_finite(done, state)
            if monitor:  # every checkpoint has a score, so that the best of them is known
                score = monitor(state)
                records.write(done, {checkpoint.SCORE: score})
                progress.report(done, {"knn": score})
            if saving or last:
                checkpoint.save(manager, done, state, score)
            progress.pause()
    return state


def batches(run: Setup, start: int, rows: slice = slice(None)) -> Iterator[tuple[int, np.ndarray]]:
    """(count, inputs [K, B, ...]) from step `start` on; no dispatch crosses a save or a kNN.

    `rows` are those of the global batch that this process reads; all of them by default.
    """
    # Numbers only: worker processes get a copy of what `of_step` refers to.
    seed, size, batch = run.config.seed, run.split.size, run.config.train.batch_size

    def of_step(step: int) -> np.ndarray:
        return batch_indices(seed, step, size, batch)[rows]

    def spans() -> Iterator[tuple[int, int]]:
        done = start
        while done < run.steps:
            edges = [(done // every + 1) * every for every in (run.knn_every, run.save_every)]
            count = min(run.steps_per_dispatch, *(edge - done for edge in edges), run.steps - done)
            yield done, count
            done += count

    if run.split.load is None:
        for done, count in spans():
            found = np.zeros((run.steps_per_dispatch, len(range(batch)[rows])), np.int32)
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
    leaves = jax.tree.leaves((state.params, state.batch_stats))
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
