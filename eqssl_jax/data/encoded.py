"""Splits made of encoded images (JPEG, PNG) that are decoded when they are read."""

import functools
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from eqssl_jax.data import images, partition, pipeline
from eqssl_jax.data.base import Sizes, Split
from eqssl_jax.data.images import EXACT, Decoding

_CHECKED = 1024  # images decoded at a time while looking for corrupt ones
_KEPT = 512**2  # pixels of images that are kept as they are


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


def decoded(
    encoded: Encoded, *, size: int | None, corrupt: str, decoding: Decoding = EXACT
) -> tuple[Split, Counter[str]]:
    """A streamed split over encoded images, and how many were left out, by reason.

    With corrupt="error" an image that cannot be decoded raises when it is read. With "skip" all
    images are decoded once here, and the bad ones left out, so that later reads do not fail.
    `decoding` is of whole images; of parts that are cut out of them only `framed` matters.

    Raises:
      ValueError: if corrupt="skip" leaves no image.
    """

    def example(index: int) -> np.ndarray:
        whole = None if encoded.cut else size
        pixels = images.decode(lambda: encoded.read(index), encoded.where(index), whole, decoding)
        if encoded.cut is None:
            return pixels
        part = encoded.cut(index, pixels)
        return part if size is None else images.fit(part, size, framed=decoding.framed)

    def load(indices: Int[np.ndarray, " b"]) -> np.ndarray:
        numbers = [int(index) for index in indices]
        first = example(numbers[0])
        # Written where they belong as they come: a list of all to be stacked costs a quarter more.
        batch = np.empty((len(numbers), *first.shape), np.uint8)
        batch[0] = first

        def place(row: int) -> None:
            pixels = example(numbers[row])
            if pixels.shape != first.shape:
                raise images.differ(
                    first, encoded.where(numbers[0]), pixels, encoded.where(numbers[row])
                )
            batch[row] = pixels

        pipeline.in_parallel(place, range(1, len(numbers)))
        return batch

    split = pipeline.streamed(load, size=encoded.size, labels=encoded.labels)
    split = split._replace(
        factors=encoded.factors,
        names=lambda indices: [encoded.name(int(index)) for index in indices],
    )
    if corrupt == "error":
        return split, Counter()
    problems = _problems(example, encoded.size)
    good = np.array([i for i, problem in enumerate(problems) if not problem], np.int32)
    if not len(good):
        raise ValueError(
            f"None of the {encoded.size} images can be decoded, from {encoded.where(0)} on: check "
            "that they are image files."
        )
    return partition.subset(split, good), Counter(filter(None, problems))


def all_decoded(
    parts: Mapping[str, Encoded],
    *,
    size: int | None,
    views: int | None,
    corrupt: str,
    decoding: Decoding = EXACT,
) -> tuple[dict[str, Split], Counter[str], Sizes | None]:
    """The `decoded` splits of a source, what was left out of all, and the sizes of their images."""
    sizes = found_sizes(parts.values())
    stored = stored_size(size, views, sizes)
    splits: dict[str, Split] = {}
    left_out = Counter[str]()
    for name, encoded in parts.items():
        splits[name], bad = decoded(encoded, size=stored, corrupt=corrupt, decoding=decoding)
        left_out.update(bad)
    return splits, left_out, sizes


def found_sizes(parts: Iterable[Encoded]) -> Sizes | None:
    """The sizes that the headers of up to 1,024 evenly spaced images of all parts name.

    None where no header can be read, or only a cut of each image is taken.
    """
    numbers = list(parts)
    total = sum(part.size for part in numbers)
    measured: list[tuple[int, int]] = []
    for part in numbers:
        count = min(part.size, max(1, _CHECKED * part.size // total))
        rows = np.unique(np.linspace(0, part.size - 1, count).astype(int)).tolist()
        if part.cut is None:
            sizes = pipeline.in_parallel(functools.partial(_size, part.read), rows)
            measured += [size for size in sizes if size is not None]
    if not measured:
        return None
    measured.sort(key=lambda size: (size[0] * size[1], size))
    return Sizes(measured[0], measured[len(measured) // 2], measured[-1], len(measured))


def _size(read: Callable[[int], bytes], row: int) -> tuple[int, int] | None:
    try:
        return images.upright_size(read(row))
    except (ValueError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None  # it is named where it is decoded


def stored_size(size: int | None, views: int | None, sizes: Sizes | None) -> int | None:
    """The size that images are stored at: `size`; else as they are, or as the views where need be.

    Images of one size of at most 512 × 512 pixels stay as they are. Others are brought to the size
    of the `views` (where that is known), as they have to be of one size, and fit into memory.
    """
    if size is not None or views is None or sizes is None:
        return size
    equal = sizes.smallest == sizes.largest
    return None if equal and sizes.largest[0] * sizes.largest[1] <= _KEPT else views


def _problems(decode: Callable[[int], np.ndarray], size: int) -> list[str]:
    """Why each image cannot be used; "" if it can."""

    def problem(index: int) -> str:
        try:
            decode(index)
        except images.TooLarge:
            return "images too large to decode"
        except ValueError:
            return "corrupt images"
        return ""

    problems: list[str] = []
    for start in range(0, size, _CHECKED):
        problems += pipeline.in_parallel(problem, range(start, min(start + _CHECKED, size)))
    return problems
