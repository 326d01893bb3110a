"""Images side by side: what views look like, and what lies near an image.

A pixel of a small image is a square of equal pixels on the page: nothing is smoothed, so that what
the encoder sees is what the reader sees.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from eqssl_jax.reporting.style import DPI, INK, TEXT, TITLE, new_figure, save

# Distances on the page, in pixels at `DPI`.
TILE, LARGEST = 112, 256  # small images are enlarged to about TILE, large ones reduced to LARGEST
GAP, GROUP_GAP, MARGIN = 4, 26, 20
LINE = 24  # height of a line of text
LETTER = 11  # width of an average letter


class _Group(NamedTuple):
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
    views = _images("views", views, "[V, N, H, W, C]")
    if len(titles) != len(views):
        raise ValueError(
            f"A contact sheet needs a title for each of its {len(views)} views, found "
            f"{len(titles)}: {list(titles)}."
        )
    _sheet(np.swapaxes(_pixels(views), 0, 1), titles, path)


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
    query = _images("query", query, one)
    query_changed = _images("query_changed", query_changed, one)
    before, after = _images("before", before, several), _images("after", after, several)
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
    tiles = np.concatenate([_pixels(part) for part in parts.values()], axis=1)
    headings = [name for name, part in parts.items() for _ in range(part.shape[1])]
    _sheet(tiles, headings, path, title=title)


def _images(name: str, images: Float[np.ndarray, "..."], wanted: str) -> np.ndarray:
    """The images as an array of the wanted axes, not empty and in [0, 1]."""
    images = np.asarray(images)
    rank = len(wanted.split(","))
    if images.ndim != rank or images.size == 0 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"{name} must be images {wanted} with 1 or 3 channels and at least one image, found "
            f"shape {images.shape}."
        )
    if not (images.min() >= -1e-3 and images.max() <= 1 + 1e-3):  # also refuses NaN
        raise ValueError(
            f"{name} must lie in [0, 1], found values from {images.min():.3g} to "
            f"{images.max():.3g}: draw images before they are normalised, and divide uint8 by 255."
        )
    return images


def _pixels(images: Float[np.ndarray, "*n h w c"]) -> UInt8[np.ndarray, "*n height width 3"]:
    """Images as bytes in three channels, enlarged or reduced by a whole factor."""
    height, width = images.shape[-3:-1]
    images = np.broadcast_to(images, (*images.shape[:-1], 3))
    longest = max(height, width)
    if longest > LARGEST:
        step = -(-longest // LARGEST)
        images = images[..., : height // step * step, : width // step * step, :]
        blocks = (*images.shape[:-3], height // step, step, width // step, step, 3)
        images = images.reshape(blocks).mean(axis=(-4, -2))
    factor = max(1, round(TILE / longest))
    bytes_ = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return bytes_.repeat(factor, -3).repeat(factor, -2)


def _groups(headings: Sequence[str], tile: int) -> list[_Group]:
    """Where columns stand: close together under one heading, apart between headings."""
    groups, left = [], MARGIN
    for heading, same in groupby(headings):
        columns = len(list(same))
        width = columns * tile + (columns - 1) * GAP
        groups.append(_Group(heading, columns, left, width))
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
    groups = _groups(headings, width)
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
    centred = [(g.left + g.width / 2, "\n".join(t)) for g, t in zip(groups, texts, strict=True)]
    _write(page, centred, top - 16, title, path)


def _write(
    page: UInt8[np.ndarray, "h w 3"],
    headings: Sequence[tuple[float, str]],
    baseline: int,
    title: str,
    path: str | Path,
) -> None:
    """Write the page pixel by pixel, and text over it; positions are pixels from the top left."""
    height, width = page.shape[:2]
    # A hair more than the page: the canvas rounds its size down.
    figure = new_figure((width + 1e-3) / DPI, (height + 1e-3) / DPI)
    figure.figimage(page)
    for x, text in headings:
        at = x / width, 1 - baseline / height
        figure.text(
            *at, text, ha="center", va="baseline", fontsize=TEXT, color=INK, linespacing=1.1
        )
    if title:
        at = MARGIN / width, 1 - MARGIN / height
        figure.text(*at, title, va="top", fontsize=TITLE, color=INK, weight="bold")
    save(figure, path)
