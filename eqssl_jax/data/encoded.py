"""Splits made of encoded images (JPEG, PNG) that are decoded when they are read."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from eqssl_jax.data import images, partition, pipeline
from eqssl_jax.data.base import Split

_CHECKED = 1024  # images decoded at a time while looking for corrupt ones


class Encoded(NamedTuple):
    """Encoded images 0 … size−1.

    Attributes:
      size: number of images.
      read: `read(i)` gives the bytes of image i.
      where: `where(i)` names image i in errors.
      name: `name(i)` is what image i is called below the root, wherever that lies.
      labels, factors: as of a `Split`.
      cut: `cut(i, pixels)` gives the part of decoded image i that is wanted; None takes all of it.
    """

    size: int
    read: Callable[[int], bytes]
    where: Callable[[int], str]
    name: Callable[[int], str]
    labels: Int[np.ndarray, " n"] | None = None
    factors: Mapping[str, Float[np.ndarray, " n"]] = {}
    cut: Callable[[int, UInt8[np.ndarray, "h w 3"]], UInt8[np.ndarray, "a b 3"]] | None = None


def decoded(encoded: Encoded, *, size: int | None, corrupt: str) -> tuple[Split, int]:
    """A streamed split over encoded images, and the number of corrupt ones left out.

    With corrupt="error" an image that cannot be decoded raises when it is read. With "skip" all
    images are decoded once here, and the bad ones left out, so that later reads do not fail.

    Raises:
      ValueError: if corrupt="skip" leaves no image.
    """

    def one(index: int) -> np.ndarray:
        whole = None if encoded.cut else size
        pixels = images.decode(lambda: encoded.read(index), encoded.where(index), whole)
        if encoded.cut is None:
            return pixels
        part = encoded.cut(index, pixels)
        return part if size is None else images.fit(part, size)

    def load(indices: Int[np.ndarray, " b"]) -> np.ndarray:
        numbers = [int(index) for index in indices]
        first = one(numbers[0])
        # Written where they belong as they come: a list of all to be stacked costs a quarter more.
        found = np.empty((len(numbers), *first.shape), np.uint8)
        found[0] = first

        def place(row: int) -> None:
            pixels = one(numbers[row])
            if pixels.shape != first.shape:
                raise images.differ(
                    first, encoded.where(numbers[0]), pixels, encoded.where(numbers[row])
                )
            found[row] = pixels

        pipeline.in_parallel(place, range(1, len(numbers)))
        return found

    split = pipeline.streamed(load, size=encoded.size, labels=encoded.labels)
    split = split._replace(
        factors=encoded.factors,
        names=lambda indices: [encoded.name(int(index)) for index in indices],
    )
    if corrupt == "error":
        return split, 0
    good = _readable(one, encoded.size)
    if not len(good):
        raise ValueError(
            f"None of the {encoded.size} images can be decoded, from {encoded.where(0)} on: check "
            "that they are JPEG or PNG files."
        )
    return partition.subset(split, good), encoded.size - len(good)


def _readable(one: Callable[[int], np.ndarray], size: int) -> Int[np.ndarray, " m"]:
    def works(index: int) -> bool:
        try:
            one(index)
        except ValueError:
            return False
        return True

    found: list[bool] = []
    for start in range(0, size, _CHECKED):
        found += pipeline.in_parallel(works, range(start, min(start + _CHECKED, size)))
    return np.flatnonzero(np.array(found)).astype(np.int32)
