"""Splits whose labels travel with their images, for methods that learn from them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, UInt8

from eqssl_jax.data.base import Split

Read = Callable[[PyTree, Array], Any]


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
        read = _reader(split.read, classes, resident=True)
        return split._replace(pool=(split.pool, jnp.asarray(labels)), read=read)
    load = functools.partial(_load, split.load, labels)
    return split._replace(load=load, read=_reader(split.read, classes, resident=False))


def _load(
    load: Callable[[np.ndarray], np.ndarray], labels: np.ndarray, indices: Int[np.ndarray, " b"]
) -> UInt8[np.ndarray, "b h+1 w c"]:
    images = load(indices)
    row = np.zeros((len(images), 1, *images.shape[2:]), np.uint8)
    numbers = indices.reshape(len(indices), -1)[:, :1]  # of views of objects the first column
    row.reshape(len(images), -1)[:, :4] = labels[numbers].astype("<i4").view(np.uint8)
    return np.concatenate([images, row], axis=1)


# Cached, so that equal readers are the same functions and compiled code is found again.
@functools.lru_cache(maxsize=32)
def _reader(read: Read, classes: int, *, resident: bool) -> Read:
    def of_pool(pool: PyTree, indices: Array) -> tuple[Array, Float[Array, "b k"]]:
        images, labels = pool
        return read(images, indices), jax.nn.one_hot(labels[indices], classes)

    def of_stream(pool: PyTree, inputs: Array) -> tuple[Array, Float[Array, "b k"]]:
        ends = inputs[:, -1].reshape(len(inputs), -1)[:, :4].astype(jnp.int32)
        labels = ends[:, 0] | ends[:, 1] << 8 | ends[:, 2] << 16 | ends[:, 3] << 24
        return read(pool, inputs[:, :-1]), jax.nn.one_hot(labels, classes)

    return of_pool if resident else of_stream
