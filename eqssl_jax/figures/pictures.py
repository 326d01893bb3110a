"""Images side by side: what views look like, and what lies near an image."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from eqssl_jax.figures.tiles import (
    BANNER,
    GAP,
    GROUP_GAP,
    LETTER,
    LINE,
    MARGIN,
    Words,
    as_pixels,
    checked_images,
    write_page,
)


class Group(NamedTuple):
    """Consecutive columns under one heading: left edge and width, in pixels."""

    heading: str
    columns: int
    left: int
    width: int


def views_sheet(
    views: Float[np.ndarray, "v n h w c"], titles: Sequence[str], path: str | Path
) -> None:
    """A contact sheet: a row for each image, a column for each view.

    Args:
      views: [V, N, H, W, C] in [0, 1], C = 1 or 3; the first view is usually the original.
      titles: V headings; equal neighbours share one, e.g. ["original", "contrast", "contrast"].
      path: the PNG to write.

    Raises:
      ValueError: without images, for values outside [0, 1], or another number of titles.
    """
    views = checked_images("views", views, "[V, N, H, W, C]")
    if len(titles) != len(views):
        raise ValueError(
            f"A contact sheet needs a title for each of its {len(views)} views, found "
            f"{len(titles)}: {list(titles)}."
        )
    _sheet(np.swapaxes(as_pixels(views), 0, 1), titles, path)


def neighbours(
    query: Float[np.ndarray, "q h w c"],
    query_changed: Float[np.ndarray, "q h w c"],
    before: Float[np.ndarray, "q k h w c"],
    after: Float[np.ndarray, "q k h w c"],
    path: str | Path,
    *,
    change: str = "hue changed",
    title: str = "",
) -> None:
    """Nearest images of a query and of the same query after a change, one query a row.

    An encoder that ignores the change shows the same images twice; one that follows it does not.

    Args:
      query, query_changed: Q images [Q, H, W, C] in [0, 1].
      before, after: their k nearest images, nearest first, [Q, k, H, W, C].
      path: the PNG to write.
      change: heading of the changed query.
      title: a line above everything, e.g. the name of the run.

    Raises:
      ValueError: without images, for values outside [0, 1], or shapes that do not match.
    """
    one, several = "[Q, H, W, C]", "[Q, k, H, W, C]"
    query = checked_images("query", query, one)
    query_changed = checked_images("query_changed", query_changed, one)
    before, after = (
        checked_images("before", before, several),
        checked_images("after", after, several),
    )
    if query.shape != query_changed.shape or before.shape != after.shape:
        raise ValueError(
            f"A query and its change, and the neighbours of both, must have equal shapes; found "
            f"{query.shape} and {query_changed.shape}, {before.shape} and {after.shape}."
        )
    if before.shape[:1] + before.shape[2:] != query.shape:
        raise ValueError(
            f"Neighbours must be [Q, k, H, W, C] for queries [Q, H, W, C], found {before.shape} "
            f"for {query.shape}."
        )
    parts = {"query": query[:, None], "nearest images": before}
    parts |= {change: query_changed[:, None], "nearest images, after": after}
    tiles = np.concatenate([as_pixels(part) for part in parts.values()], axis=1)
    headings = [name for name, part in parts.items() for _ in range(part.shape[1])]
    _sheet(tiles, headings, path, title=title)


def column_groups(headings: Sequence[str], tile: int) -> list[Group]:
    """Where columns stand: close together under one heading, apart between headings."""
    groups, left = [], MARGIN
    for heading, same in groupby(headings):
        columns = len(list(same))
        width = columns * tile + (columns - 1) * GAP
        groups.append(Group(heading, columns, left, width))
        left += width + GROUP_GAP
    return groups


def _sheet(
    tiles: UInt8[np.ndarray, "rows columns h w 3"],
    headings: Sequence[str],
    path: str | Path,
    *,
    title: str = "",
) -> None:
    """Write tiles under their headings."""
    rows, _, height, width, _ = tiles.shape
    groups = column_groups(headings, width)
    texts = [wrap(g.heading, max(6, (g.width + GROUP_GAP - 8) // LETTER)) for g in groups]
    top = MARGIN + LINE * max(map(len, texts)) + 12 + (LINE + 12 if title else 0)
    bottom = top + rows * (height + GAP) - GAP + MARGIN
    page = np.full((bottom, groups[-1].left + groups[-1].width + MARGIN, 3), 255, np.uint8)
    column = 0
    for group in groups:
        page[top - 7 : top - 5, group.left : group.left + group.width] = 200  # rule below a heading
        for i in range(group.columns):
            left = group.left + i * (width + GAP)
            for row in range(rows):
                y = top + row * (height + GAP)
                page[y : y + height, left : left + width] = tiles[row, column]
            column += 1
    words = [
        Words(g.left + g.width / 2, top - 16, "\n".join(t))
        for g, t in zip(groups, texts, strict=True)
    ]
    if title:
        words.append(Words(MARGIN, MARGIN, title, BANNER))
    write_page(page, words, path)
