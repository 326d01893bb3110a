"""From stored examples to the batches of a step: order, validation, device pools, streaming."""

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from eqssl_jax.data.base import Split

Load = Callable[[Int[np.ndarray, " b"]], np.ndarray]

RESIDENT_BYTES = 2 * 1024**3  # sets up to this size go to the device when on_device is "auto"
_VALIDATION_KEY = 0x5E1F  # any constant: it only has to stay the same for ever
_CHUNK = 4096  # images read at a time when a split moves to the device


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


@functools.lru_cache(maxsize=1)
def _permutation(seed: int, epoch: int, size: int) -> Int[np.ndarray, " n"]:
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(size).astype(np.int32)


def carve(split: Split, fraction: float) -> tuple[Split, Split]:
    """Cut a split into (the rest, validation) by a rule that depends only on its size.

    Validation is the first round(fraction · size) entries of one fixed Philox permutation, so it is
    the same for every run, seed and machine. Both parts keep the original order.

    Raises:
      ValueError: if the fraction is not in [0, 1) or leaves one of the two parts empty.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"validation must be a fraction in [0, 1), found {fraction}.")
    rest, held = held_out(split.size, fraction)
    if not len(rest) or (fraction > 0 and not len(held)):
        raise ValueError(
            f"validation={fraction} of {split.size} training examples would leave {len(rest)} for "
            f"training and {len(held)} for validation: choose a fraction that leaves both some."
        )
    return subset(split, rest), subset(split, held)


def held_out(size: int, fraction: float) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Sorted indices (kept, held out) of a fixed random choice; see `carve`."""
    order = np.random.Generator(np.random.Philox(key=_VALIDATION_KEY)).permutation(size)
    count = round(fraction * size)
    return np.sort(order[count:]).astype(np.int32), np.sort(order[:count]).astype(np.int32)


def subset(split: Split, indices: Int[np.ndarray, " m"]) -> Split:
    """The examples `indices` of a streamed or rendered split, renumbered from 0."""
    chosen = split._replace(
        size=len(indices),
        labels=None if split.labels is None else split.labels[indices],
        factors={name: values[indices] for name, values in split.factors.items()},
    )
    if split.load is None:
        # A rendered split numbers its examples in the pool; no pixels have to be copied.
        return chosen._replace(pool={**split.pool, "index": split.pool["index"][indices]})
    load = split.load
    return chosen._replace(load=lambda wanted: load(indices[wanted]))


def concatenate(first: Split, second: Split) -> Split:
    """Two streamed splits as one without labels: example i ≥ first.size is second's i − size."""
    load_first, load_second = first.load, second.load
    if load_first is None or load_second is None:
        raise ValueError("concatenate() joins streamed splits; make the result resident after.")

    def load(indices: Int[np.ndarray, " b"]) -> np.ndarray:
        late = indices >= first.size
        parts = [load_first(indices[~late])] if not late.all() else []
        parts += [load_second(indices[late] - first.size)] if late.any() else []
        found = np.concatenate(parts)  # [B, H, W, C], the early ones first
        return found[np.argsort(np.argsort(late, kind="stable"))]

    return streamed(load, size=first.size + second.size)


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
    return resident(np.concatenate([split.load(chunk) for chunk in chunks]), split.labels)


def read_resident(
    pool: UInt8[Array, "n h w c"], indices: Int[Array, " b"]
) -> Float[Array, "b h w c"]:
    """Gather images of a resident split and scale them to [0, 1]."""
    return pool[indices].astype(jnp.float32) / 255


def read_streamed(pool: tuple[()], images: UInt8[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Scale the images of a streamed split to [0, 1]."""
    del pool
    return images.astype(jnp.float32) / 255


def statistics(split: Split, *, images: int = 2048) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over `images` evenly spaced examples, in [0, 1].

    A constant channel gets the standard deviation 1/255, so that dividing by it stays finite.
    """
    chosen = np.unique(np.linspace(0, split.size - 1, min(images, split.size)).astype(np.int32))
    inputs = chosen if split.load is None else split.load(chosen)
    pixels = np.asarray(split.read(split.pool, jnp.asarray(inputs)), np.float64)
    mean, std = pixels.mean((0, 1, 2)), np.maximum(pixels.std((0, 1, 2)), 1 / 255)
    return tuple(map(float, mean)), tuple(map(float, std))


def prefetch(
    split: Split, indices: Iterable[Int[np.ndarray, " b"]], depth: int = 4
) -> Iterator[UInt8[np.ndarray, "b h w c"]]:
    """Read the batches of a streamed split in order, up to `depth` ahead of the consumer.

    An exception raised while reading (a corrupt file) is raised to the consumer in its place;
    closing the iterator, or leaving its loop, drops what was read ahead.

    Raises:
      ValueError: for a split that lives on the device, or depth < 1.
    """
    if split.load is None:
        raise ValueError("prefetch() reads streamed splits; this one lives on the device.")
    if depth < 1:
        raise ValueError(f"prefetch() needs depth of at least 1, found {depth}.")
    return _ahead(split.load, iter(indices), depth)


def _ahead(load: Load, indices: Iterator[np.ndarray], depth: int) -> Iterator[np.ndarray]:
    pending: deque[Future[np.ndarray]] = deque()
    pool = ThreadPoolExecutor(depth, thread_name_prefix="prefetch")
    try:
        for wanted in indices:
            pending.append(pool.submit(load, wanted))
            if len(pending) == depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_parallel(function: Callable[[int], np.ndarray], items: Sequence[int]) -> list[np.ndarray]:
    """`[function(item) for item in items]` on one thread per core (decoding releases the GIL)."""
    return list(_decoders().map(function, items))


@functools.cache
def _decoders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
