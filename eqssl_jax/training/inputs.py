"""What one dispatch after another is fed: indices into a pool on the device, or streamed images."""

from collections.abc import Iterator

import numpy as np

from eqssl_jax.data import batch_indices, place_ahead, stream
from eqssl_jax.training.mesh import place, rows
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.step import Inputs


def inputs(run: Setup, start: int) -> Iterator[tuple[int, Inputs]]:
    """`batches`, where images are streamed already on their way to the devices."""
    stream = batches(run, start)
    if run.split.load is None:
        return stream
    return place_ahead(stream, lambda item: (item[0], place(run.mesh, item[1], 1)))


def batches(run: Setup, start: int) -> Iterator[tuple[int, np.ndarray]]:
    """(count, inputs [K, B, ...]) from step `start` on; no dispatch crosses a save or a kNN.

    Of each batch, the rows that the devices of this process hold.
    """
    seed, size, batch = run.config.seed, run.split.size, run.config.train.batch_size
    draw = run.split.draw
    mine = rows(run.mesh, batch)

    # Refers to numbers only, of which worker processes get copies.
    def of_step(step: int) -> np.ndarray:
        examples = batch_indices(seed, step, size, batch)[mine]
        return examples if draw is None else draw(seed, step, examples)

    def spans() -> Iterator[tuple[int, int]]:
        done = start
        while done < run.steps:
            edges = [(done // period + 1) * period for period in (run.knn_every, run.save_every)]
            count = min(run.steps_per_dispatch, *(edge - done for edge in edges), run.steps - done)
            yield done, count
            done += count

    if run.split.load is None:
        for done, count in spans():
            chunk = np.zeros((run.steps_per_dispatch, mine.stop - mine.start), np.int32)
            chunk[:count] = [of_step(done + i) for i in range(count)]
            yield count, chunk
        return
    workers, buffered = run.config.data.workers, run.config.data.buffered
    images = stream(
        run.split, of_step, start=start, stop=run.steps, workers=workers, buffered=buffered
    )
    for of_one in images:
        yield 1, of_one[None]
