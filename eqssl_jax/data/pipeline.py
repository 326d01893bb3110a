"""From stored examples to the batches of a step: order, device pools, streaming."""

import functools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, UInt8

from eqssl_jax import frame
from eqssl_jax.data.base import Split

Inputs = TypeVar("Inputs")
Result = TypeVar("Result")
Load = Callable[[Int[np.ndarray, " b"]], np.ndarray]

RESIDENT_BYTES = 2 * 1024**3  # sets up to this size go to the device when on_device is "auto"
_MEASURED = 2**25  # pixels that statistics are taken over
_OF_WORKER = 2  # threads of a worker process: one decodes while the other waits for the disk
_PIECES = 8  # for each thread, so that all end at nearly the same time
_CHUNK = 1024  # images read at a time when a split moves to the device


def batch_indices(seed: int, step: int, size: int, batch: int) -> Int[np.ndarray, " b"]:
    """Which examples a step sees: a pure function of (seed, step), whatever ran before.

    Epoch e = step // (size // batch) is one permutation, drawn with Philox(key=[seed, e]), cut into
    batches; the size mod batch examples left over are dropped (others each epoch).

    >>> batch_indices(0, 3, size=5, batch=2).shape
    (2,)

    Raises:
      ValueError: if the split is smaller than a batch.
    """
    if not 1 <= batch <= size:
        raise ValueError(
            f"A batch of {batch} cannot be drawn from a split of {size} examples: use a batch size "
            f"between 1 and {size}."
        )
    epoch, position = divmod(step, size // batch)
    return _permutation(seed, epoch, size)[position * batch : (position + 1) * batch].copy()


# Two: while batches are read ahead, two epochs are asked for in turns.
@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> Int[np.ndarray, " n"]:
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(size).astype(np.int32)


def streamed(load: Load, *, size: int, labels: Int[np.ndarray, " n"] | None = None) -> Split:
    """A split whose images are read on the host, `load(indices)` → uint8 [B, H, W, C]."""
    return Split(size=size, pool=(), read=read_streamed, labels=labels, load=load)


def resident(
    images: UInt8[np.ndarray, "n h w c"], labels: Int[np.ndarray, " n"] | None = None
) -> Split:
    """A split whose images live on the device as uint8 and are gathered inside the step."""
    return Split(len(images), jnp.asarray(images), read_resident, labels)


def to_device(split: Split) -> Split:
    """Read all of a streamed split and keep it on the device."""
    if split.load is None:
        return split
    chunks = np.split(np.arange(split.size), range(_CHUNK, split.size, _CHUNK))
    whole = np.concatenate([split.load(chunk) for chunk in chunks])
    return resident(whole, split.labels)._replace(factors=split.factors, names=split.names)


def read_resident(
    pool: UInt8[Array, "n h w c"], indices: Int[Array, " b"]
) -> Float[Array, "b h w c"]:
    """Gather images of a resident split and scale them to [0, 1]."""
    return pool[indices].astype(jnp.float32) / 255


def read_streamed(pool: tuple[()], images: UInt8[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Scale the images of a streamed split to [0, 1]."""
    del pool
    return images.astype(jnp.float32) / 255


def statistics(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in [0, 1], of a resident or streamed split.

    Taken over all images, or over as many evenly spaced ones as have 2²⁵ pixels (670 of 224 × 224).
    A constant channel gets the standard deviation 1/255, so that dividing by it stays finite. Of
    frames (`eqssl_jax.frame`) the pixels of pictures count, and nothing else.
    """

    def images(indices: Int[np.ndarray, " b"]) -> np.ndarray:
        return np.asarray(split.pool[indices]) if split.load is None else split.load(indices)

    height, width, channels = images(np.arange(1))[0].shape
    framed = frame.is_frame((height, width, channels))
    channels = 3 if framed else channels
    count = max(1, min(split.size, _MEASURED // (height * width)))
    chosen = np.unique(np.linspace(0, split.size - 1, count).astype(np.int32))
    # Counting the 256 values is exact, and needs no copy of the images as floats.
    seen = np.zeros((channels, 256))
    for start in range(0, len(chosen), 256):
        chunk = images(chosen[start : start + 256])
        if framed:
            chunk = chunk[chunk[..., 3] != frame.NOTHING]  # [pixels, 4]
        for channel in range(channels):
            seen[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    levels = np.arange(256) / 255
    mean = (seen @ levels) / seen.sum(1)
    square = (seen @ levels**2) / seen.sum(1)
    std = np.sqrt(np.maximum(square - mean**2, 1 / 255**2))
    return tuple(map(float, mean)), tuple(map(float, std))


def labelled(split: Split, classes: int) -> Split:
    """The split whose `read` gives (images, labels), the labels one-hot, float32 [B, classes].

    Labels of a split on the device lie beside its images. Those of a streamed one travel in the
    last row of their images, as four bytes, so that whatever moves images moves them, too.

    Raises:
      ValueError: for a split without labels.
    """
    if split.labels is None:
        raise ValueError("labelled() needs a split with labels, and this one has none.")
    labels = np.asarray(split.labels, np.int32)
    if split.load is None:
        read = _labelled_reader(split.read, classes, resident=True)
        return split._replace(pool=(split.pool, jnp.asarray(labels)), read=read)
    load = functools.partial(_with_labels, split.load, labels)
    return split._replace(load=load, read=_labelled_reader(split.read, classes, resident=False))


def _with_labels(
    load: Callable[[np.ndarray], np.ndarray], labels: np.ndarray, indices: Int[np.ndarray, " b"]
) -> UInt8[np.ndarray, "b h+1 w c"]:
    images = load(indices)
    row = np.zeros((len(images), 1, *images.shape[2:]), np.uint8)
    numbers = indices.reshape(len(indices), -1)[:, :1]  # of views of objects the first column
    row.reshape(len(images), -1)[:, :4] = labels[numbers].astype("<i4").view(np.uint8)
    return np.concatenate([images, row], axis=1)


# Cached, so that equal readers are the same functions and compiled code is found again.
@functools.lru_cache(maxsize=32)
def _labelled_reader(
    read: Callable[[PyTree, Array], Any], classes: int, *, resident: bool
) -> Callable[[PyTree, Array], Any]:
    def of_pool(pool: PyTree, indices: Array) -> tuple[Array, Float[Array, "b k"]]:
        images, labels = pool
        return read(images, indices), jax.nn.one_hot(labels[indices], classes)

    def of_stream(pool: PyTree, inputs: Array) -> tuple[Array, Float[Array, "b k"]]:
        ends = inputs[:, -1].reshape(len(inputs), -1)[:, :4].astype(jnp.int32)
        labels = ends[:, 0] | ends[:, 1] << 8 | ends[:, 2] << 16 | ends[:, 3] << 24
        return read(pool, inputs[:, :-1]), jax.nn.one_hot(labels, classes)

    return of_pool if resident else of_stream


def place_ahead(inputs: Iterable[Inputs], place: Callable[[Inputs], Result]) -> Iterator[Result]:
    """`place(item)` for every item in order, called an item before the one that is handed on.

    With a `place` that starts a copy to the device and returns (`jax.device_put`, or
    `jax.make_array_from_process_local_data` for the rows of one process), the next batch travels
    while the device computes on this one: double buffering, at the price of one batch of device
    memory. An exception of `inputs` or `place` comes in its place, after the items before.

    >>> list(place_ahead([1, 2, 3], lambda item: 10 * item))
    [10, 20, 30]
    """
    placed = map(place, inputs)
    waiting: list[Result] = []
    while True:
        try:
            following = [next(placed)]
        except StopIteration:
            yield from waiting
            return
        except Exception:
            yield from waiting
            raise
        yield from waiting
        waiting = following


def in_parallel(function: Callable[[int], Result], items: Sequence[int]) -> list[Result]:
    """`[function(item) for item in items]` on one thread per core (decoding releases the GIL)."""
    threads, pool = _decoders()
    # Handing over every single item would cost about a tenth of what decoding it does.
    length = max(1, len(items) // (_PIECES * threads))
    pieces = [items[start : start + length] for start in range(0, len(items), length)]
    done = pool.map(lambda piece: [function(item) for item in piece], pieces)
    return [result for piece in done for result in piece]


@functools.cache
def _decoders() -> tuple[int, ThreadPoolExecutor]:
    threads = _threads()
    return threads, ThreadPoolExecutor(threads, thread_name_prefix="decode")


def _threads() -> int:
    if multiprocessing.parent_process() is not None:
        return _OF_WORKER  # one of several processes that share the cores
    # A job that was given some of the cores of a machine (SLURM, cpusets) uses no others.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
