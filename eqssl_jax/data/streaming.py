"""Batches of a streamed split, read and decoded ahead of the training loop by grain."""

import contextlib
import gc
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from jaxtyping import Int, UInt8

from eqssl_jax.data.base import Split

Rows = Callable[[int], Int[np.ndarray, " b"]]

_READING = 2  # batches decoded at a time by one process: the next fills the end of the other
_SHARED_MEMORY = Path("/dev/shm")


def stream(
    split: Split, rows: Rows, *, start: int, stop: int, workers: int = 0, buffered: int = 4
) -> Iterator[UInt8[np.ndarray, "b h w c"]]:
    """`split.load(rows(step))` for the steps start … stop − 1 in order, read ahead by grain.

    What a step sees is a function of the step alone, through `rows` (built on `batch_indices`): the
    same for any number of workers, and in one run of P processes each asks for its own rows. The
    position is the step. Nothing else has to be saved, and starting at any step costs nothing.

    Each image is read and decoded once a step, on the host, and resized there to the fixed size of
    the split; its views are drawn and rendered on the device. An exception while reading comes in
    its place, after the batches before it. Closing the iterator, or leaving its loop, drops what
    was read ahead; threads end with the batch that they are at, worker processes at once.

    Args:
      split: a streamed split; `load` must be pure.
      rows: the indices of a step; called ahead of time, from several threads or processes.
      start, stop: steps, start ≤ stop.
      workers: 0 decodes on the threads of this process, one for each core (PIL releases the GIL);
        otherwise so many processes decode beside it, each every `workers`-th batch. They start
        within seconds, run module-level code of the main program again (so that
        `jax.distributed.initialize` and the like belong inside its main()), and hand batches over
        in shared memory (of what is held at the end of the program, Python may say that it is
        leaked, and frees it). Each gets a copy of all that `load` and `rows` refer to. Worth it
        where one interpreter cannot keep up with its decoding threads: by our estimate, beyond six
        cores for images of 224 pixels (docs/results/input).
      buffered: batches read beyond the one asked for; a worker process has at least one, and one
        in the making.

    Raises:
      ValueError: for a split that lives on the device, settings out of range, or shared memory
        that cannot hold the batches of the workers.
    """
    if split.load is None:
        raise ValueError("stream() reads streamed splits; this one lives on the device.")
    if workers < 0 or buffered < 1:
        raise ValueError(
            f"stream() takes workers of at least 0 and buffered of at least 1, found {workers} and "
            f"{buffered}."
        )
    if not 0 <= start <= stop:
        raise ValueError(f"stream() reads the steps start … stop − 1, found {start} … {stop}.")
    if workers and start < stop:
        wanted = rows(start)
        batch = len(wanted) * split.load(wanted[:1]).nbytes
        _check_shared_memory(batch * (buffered + 2 * workers))
    return _read(split.load, rows, range(start, stop), workers, buffered)


def _read(
    load: Callable[[np.ndarray], np.ndarray],
    rows: Rows,
    steps: range,
    workers: int,
    buffered: int,
) -> Iterator[np.ndarray]:
    import grain  # late: a run whose data is on the device does not need it

    batches = grain.MapDataset.source(steps).map(lambda step: load(rows(step)))
    if not workers:
        read = grain.ReadOptions(min(_READING, buffered), buffered)
        with contextlib.closing(iter(batches.to_iter_dataset(read))) as iterator:
            yield from iterator
        return
    if not flags.FLAGS.is_parsed():  # grain asks for its flags, which absl's app.run would parse
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(workers, max(1, buffered // workers))
    ahead = batches.to_iter_dataset(grain.ReadOptions(0, 0))
    try:
        with contextlib.closing(iter(ahead.mp_prefetch(options, _start_worker))) as iterator:
            # Views of shared memory: each is given back when the last reference to it goes.
            yield from map(np.asarray, iterator)
    finally:
        gc.collect()  # grain's last ones hang in cycles


def _start_worker(index: int, count: int) -> None:
    """A worker process holds no accelerator, and ends when its run ends: then, and not before."""
    del index, count
    jax.config.update("jax_platforms", "cpu")
    # A run that is told to stop takes its last batches and saves; it stops the workers itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    run = multiprocessing.parent_process()
    threading.Thread(target=_end_after, args=(run,), daemon=True).start()


def _end_after(run: Any) -> None:
    """A killed run cannot stop its workers, which would wait for ever."""
    run.join()
    os._exit(1)


def _check_shared_memory(needed: int) -> None:
    if not _SHARED_MEMORY.is_dir():
        return
    free = shutil.disk_usage(_SHARED_MEMORY).free
    if free < needed:
        raise ValueError(
            f"Worker processes hand batches over in shared memory: they need "
            f"{needed / 2**20:,.0f} MiB of {_SHARED_MEMORY}, which has {free / 2**20:,.0f} MiB "
            "free. Make it larger (docker run --shm-size=8g; Kubernetes: an emptyDir of medium "
            "Memory), lower config.data.buffered or the batch, or use config.data.workers = 0."
        )
