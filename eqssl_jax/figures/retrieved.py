"""What several methods retrieve for the same queries, before and after a change of their colour."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from eqssl_jax.figures.pictures import column_groups
from eqssl_jax.figures.style import QUIET, TITLE
from eqssl_jax.figures.tiles import (
    GAP,
    GROUP_GAP,
    LINE,
    MARGIN,
    Words,
    as_pixels,
    checked_images,
    write_page,
)
from eqssl_jax.tabular.metrics import measured

Images = Float[np.ndarray, "q h w c"] | UInt8[np.ndarray, "q h w c"]
Near = Float[np.ndarray, "q k h w c"] | UInt8[np.ndarray, "q k h w c"]

_ENCODERS = ("trained", "random")
_NAME: Mapping[str, Any] = {"va": "baseline", "fontsize": TITLE, "weight": "bold"}
_NOTE: Mapping[str, Any] = {"va": "baseline", "ha": "right", "color": QUIET}


def retrieval_blocks(
    query: Images,
    changed: Images,
    before: Mapping[str, Near],
    after: Mapping[str, Near],
    path: str | Path,
    *,
    results: Mapping[str, Mapping[str, Any]] = {},
    change: str = "colour changed",
) -> None:
    """One block a method: each query with its nearest images, and its change with its own.

    A method that ignores colour shows the same images twice; one that follows it retrieves the new
    colour. Neighbours are Euclidean among unit embeddings, where they are those of the cosine.

    Args:
      query, changed: the same Q images for all methods, [Q, H, W, C] in [0, 1], or uint8.
      before, after: method -> its k nearest images, nearest first, [Q, k, H, W, C].
      path: the PNG to write.
      results: method -> its evaluation, whose overlap and rank over all queries stand beside its
        name, with those of the random encoder.
      change: heading of the changed query.

    Raises:
      ValueError: without methods, for methods without a block, or images as `neighbours`.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figures 9 and 21.
    """
    if not before or list(before) != list(after):
        raise ValueError(
            f"Every method needs its neighbours before and after, found {list(before)} and "
            f"{list(after)}."
        )
    query = checked_images("query", _floats(query), "[Q, H, W, C]")
    changed = checked_images("changed", _floats(changed), "[Q, H, W, C]")
    blocks = {}
    for name in before:
        near = [
            checked_images(f"The neighbours of {name!r}", _floats(part[name]), "[Q, k, H, W, C]")
            for part in (before, after)
        ]
        shapes = {part.shape[:1] + part.shape[2:] for part in near} | {changed.shape}
        if shapes != {query.shape} or near[0].shape != near[1].shape:
            raise ValueError(
                f"The neighbours of {name!r} must be [Q, k, H, W, C] for queries {query.shape}, "
                f"found {near[0].shape} and {near[1].shape}, and changed queries {changed.shape}."
            )
        parts = (query[:, None], near[0], changed[:, None], near[1])
        blocks[name] = np.concatenate([as_pixels(part) for part in parts], axis=1)
    if len({tiles.shape for tiles in blocks.values()}) > 1:
        raise ValueError("All methods must have the same number of neighbours.")
    k = next(iter(before.values())).shape[1]
    headings = ["query", *["nearest images"] * k, change, *["nearest images, after"] * k]
    _page(blocks, headings, {name: neighbour_note(results.get(name, {})) for name in blocks}, path)


def neighbour_note(result: Mapping[str, Any]) -> str:
    """How many neighbours stay, and where the first one goes (from 0; k if it left), in words.

    Empty for an evaluation without retrieval.

    >>> one = {"neighbour_overlap": {"value": 0.25}, "neighbour_rank": {"value": 2.0}}
    >>> neighbour_note({"encoders": {"trained": one}})
    'overlap 0.25, new rank of the first neighbour 2.0'
    """
    names = ("neighbour_overlap", "neighbour_rank")
    found = {e: [measured(result, e).get(n, {}).get("value") for n in names] for e in _ENCODERS}
    if None in found["trained"]:
        return ""
    overlap, rank = found["trained"]
    note = f"overlap {overlap:.2f}, new rank of the first neighbour {rank:.1f}"
    if None in found["random"]:
        return note
    overlap, rank = found["random"]
    return note + f" (random encoder: {overlap:.2f}, {rank:.1f})"


def _page(
    blocks: Mapping[str, np.ndarray], headings: list[str], notes: Mapping[str, str],
    path: str | Path,
) -> None:  # fmt: skip
    """Headings once, above all; under each method's name its tiles [Q, columns, h, w, 3]."""
    rows, columns, height, width, _ = next(iter(blocks.values())).shape
    groups = column_groups(headings, width)
    lefts = [g.left + i * (width + GAP) for g in groups for i in range(g.columns)]
    right = lefts[-1] + width
    top = MARGIN + 2 * LINE
    deep = LINE + 12 + rows * (height + GAP) - GAP + GROUP_GAP
    page = np.full(
        (top + len(blocks) * deep + MARGIN - GROUP_GAP, right + MARGIN, 3), 255, np.uint8
    )
    words = [Words(g.left + g.width / 2, top - 20, _broken(g.heading)) for g in groups]
    for b, (name, tiles) in enumerate(blocks.items()):
        y = top + b * deep
        words.append(Words(MARGIN, y + LINE - 8, name, _NAME))
        words.append(Words(right, y + LINE - 8, notes[name], _NOTE))
        page[y + LINE : y + LINE + 2, MARGIN:right] = 200  # rule below a name
        for row in range(rows):
            at = y + LINE + 12 + row * (height + GAP)
            for column in range(columns):
                x = lefts[column]
                page[at : at + height, x : x + width] = tiles[row, column]
    write_page(page, words, path)


def _broken(heading: str) -> str:
    """Headings of one column on two lines."""
    return heading.replace(" ", "\n", 1) if heading.endswith("changed") else heading


def _floats(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    return images / np.float32(255) if images.dtype == np.uint8 else images
