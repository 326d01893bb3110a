"""Squares cut out of photographs around annotated boxes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from eqssl_jax.data import images, manifest, pipeline


class Box(NamedTuple):
    """A box in pixels from the top left corner; `right` and `bottom` are the first ones outside."""

    left: float
    top: float
    right: float
    bottom: float


class Boxed(NamedTuple):
    """A box in the photograph at `path`, and the kind of thing it is drawn around."""

    path: str
    kind: str
    box: Box


def read_boxes(file: Path, *, kind: str) -> list[Boxed]:
    """The boxes of a CSV with the columns path, `kind`, xmin, ymin, xmax, ymax (pixels).

    Raises:
      FileNotFoundError: without such a file.
      ValueError: for missing columns, and edges that are no numbers.
    """
    edges = ("xmin", "ymin", "xmax", "ymax")
    rows = manifest.read_rows(file, ("path", kind, *edges))
    # A photograph may have many boxes: its path alone is no name for a row.
    lines = {f"{row['path']} (line {line})": row for line, row in enumerate(rows, start=2)}
    values = [manifest.numbers(lines, edge, file) for edge in edges]
    return [
        Boxed(row["path"], row[kind], Box(*(value[name] for value in values)))
        for name, row in lines.items()
    ]


def square(box: Box, *, width: int, height: int, margin: float) -> tuple[int, int, int]:
    """(left, top, side) of the square around a box, inside a photograph of width × height pixels.

    side = min(round(max(box width, box height) · (1 + margin)), width, height), at least 1; centred
    on the box, then shifted inside where it would leave the photograph. So a crop holds nothing
    invented (no black, no reflections), and what lies at the border is not in the middle of it.

    >>> square(Box(0, 10, 20, 20), width=100, height=50, margin=0.5)
    (0, 0, 30)
    """
    longest = max(box.right - box.left, box.bottom - box.top)
    side = min(max(1, round(longest * (1 + margin))), width, height)
    left = round((box.left + box.right - side) / 2)
    top = round((box.top + box.bottom - side) / 2)
    return min(max(left, 0), width - side), min(max(top, 0), height - side), side


def cut(
    pixels: UInt8[np.ndarray, "h w 3"], box: Box, *, margin: float, where: str
) -> UInt8[np.ndarray, "s s 3"]:
    """The `square` around a box of a photograph.

    Raises:
      ValueError: naming `where`, for a box that is empty or not inside the photograph.
    """
    height, width = pixels.shape[:2]
    problem = _problem(box, width, height)
    if problem:
        raise ValueError(f"{where} has a box {problem}: correct it, or take it out.")
    left, top, side = square(box, width=width, height=height, margin=margin)
    return pixels[top : top + side, left : left + side]


def crops(
    boxed: Sequence[Boxed],
    read: Mapping[str, Callable[[], bytes]],
    *,
    size: int,
    margin: float,
    corrupt: str,
) -> tuple[UInt8[np.ndarray, "m s s 3"], Int[np.ndarray, " m"]]:
    """Crops of all boxes at size × size pixels, and the numbers of their boxes.

    Every photograph is decoded once, whatever the number of its boxes, and not kept.

    Args:
      boxed: the boxes; the crops keep their order.
      read: how to read the photograph at a path.
      size: side of the crops in pixels.
      margin: see `square`.
      corrupt: "error" stops at a photograph that cannot be decoded; "skip" leaves out its boxes.

    Raises:
      ValueError: naming the boxes that are empty or outside, or unreadable photographs.
    """
    numbers: dict[str, list[int]] = {}
    for number, box in enumerate(boxed):
        numbers.setdefault(box.path, []).append(number)
    paths = list(numbers)

    def of_photograph(index: int) -> list[tuple[int, np.ndarray | str]]:
        path = paths[index]
        try:
            pixels = images.decode(read[path], path)
        except ValueError:
            if corrupt == "error":
                raise
            return []
        return [(number, _crop(pixels, boxed[number], size, margin)) for number in numbers[path]]

    per_photograph = pipeline.in_parallel(of_photograph, range(len(paths)))
    cropped = dict(sorted(pair for pairs in per_photograph for pair in pairs))
    wrong = [crop for crop in cropped.values() if isinstance(crop, str)]
    if wrong:
        raise ValueError(f"These boxes cannot be cut out: {manifest.first_of(wrong)}.")
    if not cropped:
        raise ValueError(f"None of the {len(paths)} photographs can be decoded, from {paths[:1]}.")
    return np.stack(list(cropped.values())), np.array(list(cropped), np.int32)


def _crop(pixels: np.ndarray, box: Boxed, size: int, margin: float) -> np.ndarray | str:
    """The crop, or in words what is wrong with its box: all such boxes are named at once."""
    problem = _problem(box.box, pixels.shape[1], pixels.shape[0])
    if problem:
        return f"{box.kind} of {box.path} {problem}"
    return images.fit(cut(pixels, box.box, margin=margin, where=box.path), size)


def _problem(box: Box, width: int, height: int) -> str:
    edges = f"({', '.join(f'{edge:g}' for edge in box)})"
    if not (box.left < box.right and box.top < box.bottom):
        return f"{edges} without area"
    if min(box) < 0 or box.right > width or box.bottom > height:
        return f"{edges} outside the photograph of {width} × {height} pixels"
    return ""
