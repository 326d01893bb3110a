"""Images side by side: what views and ladders look like, and what lies near an image.

Pixels are drawn as squares: nothing is smoothed, so that what the encoder sees is what the reader
sees.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from eqssl_jax.figures.style import INK, QUIET, SMALL, TEXT, TITLE, new_figure, save
from eqssl_jax.tabular.tables import cell_of

Images = Float[np.ndarray, "q h w c"] | UInt8[np.ndarray, "q h w c"]
Near = Float[np.ndarray, "q k h w c"] | UInt8[np.ndarray, "q k h w c"]

TILE = 0.72  # inches of an image
LARGEST = 256  # pixels of an image that is drawn; larger ones are averaged over blocks
GAP = 1 / 16  # of an image's width, between neighbours


def views_sheet(
    views: Float[np.ndarray, "v n h w c"], titles: Sequence[str], path: str | Path
) -> None:
    """A contact sheet: a row for each image, a column for each view.

    Args:
      views: [V, N, H, W, C] in [0, 1], C = 1 or 3; the first view is usually the original.
      titles: V headings; equal neighbours share one, e.g. ["original", "contrast", "contrast"].
      path: the PNG to write.

    Raises:
      ValueError: without images, or for values outside [0, 1].
    """
    views = checked_images("views", views, "[V, N, H, W, C]")
    _sheet({"": np.swapaxes(views, 0, 1)}, titles, path)


def ladders(
    images: Mapping[str, Float[np.ndarray, "v n h w c"]],
    magnitudes: Float[np.ndarray, " v"],
    path: str | Path,
) -> None:
    """A sheet of ladders: a block of rows for each transformation, a column for each magnitude.

    Args:
      images: transformation -> its ladders [V, n, H, W, C] in [0, 1], C = 1 or 3; one or two
        images (n) each make a readable sheet.
      magnitudes: [V] the magnitude s of each rung, rising within [0, 1]; 0 is the identity.
      path: the PNG to write.

    Raises:
      ValueError: without images, or for values outside [0, 1].
    """
    blocks = {
        part: checked_images(f"The ladders of {part!r}", ladder, "[V, n, H, W, C]").swapaxes(0, 1)
        for part, ladder in images.items()
    }
    ticks = [f"s = {round(float(s), 2):g}" for s in magnitudes]
    _sheet(blocks, [""] * len(magnitudes), path, ticks=ticks)


def neighbours(
    query: Images,
    changed: Images,
    before: Mapping[str, Near],
    after: Mapping[str, Near],
    path: str | Path,
    *,
    results: Mapping[str, Mapping[str, Any]] = {},
    change: str = "colour changed",
) -> None:
    """A block a run: each query with its nearest images, and its change with its own, one a row.

    An encoder that ignores the change shows the same images twice; one that follows it retrieves
    the new colour. Neighbours are Euclidean among unit embeddings, where they are those of the
    cosine.

    Args:
      query, changed: the same Q images for all runs, [Q, H, W, C] in [0, 1], or uint8.
      before, after: run -> its k nearest images, nearest first, [Q, k, H, W, C].
      path: the PNG to write.
      results: run -> its evaluation, whose overlap and rank over all queries stand below its
        block, with those of the random encoder.
      change: heading of the changed query.

    Raises:
      ValueError: for values outside [0, 1].

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figures 9 and 21.
    """
    query = checked_images("query", query, "[Q, H, W, C]")
    changed = checked_images("changed", changed, "[Q, H, W, C]")
    blocks = {}
    for name in before:
        near = [
            checked_images(f"The neighbours of {name!r}", part[name], "[Q, k, H, W, C]")
            for part in (before, after)
        ]
        parts = (query[:, None], near[0], changed[:, None], near[1])
        blocks[name] = np.concatenate(parts, axis=1)
    k = next(iter(before.values())).shape[1]
    headings = ["query", *["nearest images"] * k, change, *["nearest images, after"] * k]
    notes = {name: neighbour_note(results.get(name, {})) for name in blocks}
    _sheet(blocks, headings, path, notes=notes)


def neighbour_note(result: Mapping[str, Any]) -> str:
    """How many neighbours stay, and where the first one goes (from 0; k if it left), in words.

    Empty for an evaluation without retrieval.

    >>> trained = {"neighbour_overlap": {"value": 0.25}, "neighbour_rank": {"value": 2.0}}
    >>> neighbour_note({"encoders": {"trained": trained}})
    'overlap 0.25, new rank of the first neighbour 2.0'
    """
    names = ("neighbour_overlap", "neighbour_rank")
    values = {
        encoder: [cell_of(result, name, encoder).value for name in names]
        for encoder in ("trained", "random")
    }
    if None in values["trained"]:
        return ""
    overlap, rank = values["trained"]
    note = f"overlap {overlap:.2f}, new rank of the first neighbour {rank:.1f}"
    if None in values["random"]:
        return note
    overlap, rank = values["random"]
    return note + f" (random encoder: {overlap:.2f}, {rank:.1f})"


def checked_images(name: str, images: np.ndarray, axes: str) -> np.ndarray:
    """The images as floats of three channels with the wanted axes, not empty and in [0, 1].

    Raises:
      ValueError: for another rank, no image, other than 1 or 3 channels, or values outside [0, 1].
    """
    images = np.asarray(images)
    if images.dtype == np.uint8:
        images = images / np.float32(255)
    if images.ndim != len(axes.split(",")) or images.size == 0 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"{name} must be images {axes} with 1 or 3 channels and at least one image, found "
            f"shape {images.shape}."
        )
    if not (images.min() >= -1e-3 and images.max() <= 1 + 1e-3):  # also refuses NaN
        raise ValueError(
            f"{name} must lie in [0, 1], found values from {images.min():.3g} to "
            f"{images.max():.3g}: draw images before they are normalised, and divide uint8 by 255."
        )
    return np.broadcast_to(np.clip(images, 0, 1), (*images.shape[:-1], 3))


def montage(
    images: Float[np.ndarray, "rows columns h w 3"],
) -> tuple[Float[np.ndarray, "height width 3"], Float[np.ndarray, " columns"]]:
    """One picture of a grid of images with white gaps, and the middle of each of its columns."""
    rows, columns, height, width, _ = images.shape
    step = -(-max(height, width) // LARGEST)
    if step > 1:
        images = images[:, :, : height // step * step, : width // step * step]
        blocks = (rows, columns, height // step, step, width // step, step, 3)
        images = images.reshape(blocks).mean(axis=(3, 5))
        height, width = images.shape[2:4]
    gap = max(1, round(GAP * width))
    white = ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0))
    tiles = np.pad(images, white, constant_values=1.0)
    picture = tiles.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), 3)
    middles = (np.arange(columns) * (width + gap)) + (width - 1) / 2
    return picture[:-gap, :-gap], middles


def _sheet(
    blocks: Mapping[str, Float[np.ndarray, "rows columns h w 3"]],
    headings: Sequence[str],
    path: str | Path,
    *,
    ticks: Sequence[str] = (),
    notes: Mapping[str, str] = {},
) -> None:
    """A row of pictures for each block, one for each run of columns under the same heading.

    Names of blocks stand at the left, `ticks` above the single columns, notes below a block.
    """
    groups = [(heading, len(list(same))) for heading, same in groupby(headings)]
    depths = [len(block) for block in blocks.values()]
    wide = TILE * len(headings) + 0.25 * len(groups) + (1.0 if any(blocks) else 0.0)
    figure = new_figure(max(wide, 3.0), TILE * sum(depths) + 0.35 * len(blocks) + 0.5)
    grid = figure.subplots(
        len(blocks),
        len(groups),
        squeeze=False,
        height_ratios=depths,
        width_ratios=[columns for _, columns in groups],
    )
    for line, (name, block) in zip(grid, blocks.items(), strict=True):
        first = 0
        for axes, (heading, columns) in zip(line, groups, strict=True):
            picture, middles = montage(block[:, first : first + columns])
            axes.imshow(picture, interpolation="nearest", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            top = axes.get_subplotspec().is_first_row()
            if top and heading:
                axes.set_title(fill(heading, max(8, 9 * columns)), fontsize=TEXT, color=INK)
            if top and ticks:
                axes.xaxis.tick_top()
                axes.set_xticks(middles, list(ticks), fontsize=SMALL, color=INK)
                axes.tick_params(length=0)
            first += columns
        if name:
            label = {"rotation": 0, "ha": "right", "va": "center", "color": INK}
            line[0].set_ylabel(fill(name, 14), fontsize=TITLE, **label)
        if notes.get(name):
            # Aligned with the left edge of the block, however narrow its first picture is.
            look: dict[str, Any] = {"fontsize": SMALL, "color": QUIET, "ha": "left"}
            line[0].set_xlabel(notes[name], x=0.0, **look)
            line[0].xaxis.label.set_in_layout(False)
    save(figure, path)
