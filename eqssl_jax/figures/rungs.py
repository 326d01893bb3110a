"""What a ladder looks like: each transformation from the identity to its full strength."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.tiles import (
    GAP,
    GROUP_GAP,
    LETTER,
    LINE,
    MARGIN,
    NAME,
    Words,
    as_pixels,
    checked_images,
    write_page,
)

LONGEST = 13  # letters in a line of a name at the left


def ladders(
    images: Mapping[str, Float[np.ndarray, "v n h w c"]],
    titles: Sequence[str],
    magnitudes: Float[np.ndarray, " v"],
    path: str | Path,
) -> None:
    """A sheet of ladders: a block of rows for each transformation, a column for each magnitude.

    Args:
      images: transformation -> its ladders [V, n, H, W, C] in [0, 1], C = 1 or 3; one or two
        images (n) each make a readable sheet.
      titles: what stands at the left of each block, in the order of `images`; "" for the
        transformation's own name.
      magnitudes: [V] the magnitude s of each rung, rising within [0, 1]; 0 is the identity.
      path: the PNG to write.

    Raises:
      ValueError: without images, for values outside [0, 1], magnitudes that do not rise, ladders
        of other lengths or image sizes, or another number of titles.
    """
    magnitudes = _rising(magnitudes)
    if not images:
        raise ValueError("There are no ladders to draw: give at least one transformation.")
    if isinstance(titles, str) or len(titles) != len(images):
        raise ValueError(
            f"A sheet of ladders needs a title for each of its {len(images)} transformations "
            f"({', '.join(images)}), found {titles!r}."
        )
    blocks = {
        part: checked_images(f"The ladders of {part!r}", ladder, "[V, n, H, W, C]")
        for part, ladder in images.items()
    }
    shapes = {part: (len(ladder), *ladder.shape[2:4]) for part, ladder in blocks.items()}
    if len({*shapes.values()}) > 1 or next(iter(shapes.values()))[0] != len(magnitudes):
        raise ValueError(
            f"All ladders must have the {len(magnitudes)} rungs of the magnitudes, and images of "
            f"one size; found (rungs, height, width) {shapes}."
        )
    names = [title or part for part, title in zip(images, titles, strict=True)]
    _page([as_pixels(ladder.swapaxes(0, 1)) for ladder in blocks.values()], names, magnitudes, path)


def _rising(magnitudes: Float[np.ndarray, "..."]) -> np.ndarray:
    magnitudes = np.asarray(magnitudes, np.float64)
    within = magnitudes.ndim == 1 and magnitudes.size and 0 <= magnitudes.min() <= magnitudes.max()
    if not (within and magnitudes.max() <= 1 + 1e-6 and (np.diff(magnitudes) > 0).all()):
        raise ValueError(
            f"The magnitudes of a ladder must be a list [V] that rises within [0, 1], from the "
            f"identity (0) to full strength (1); found {magnitudes.tolist()}."
        )
    return magnitudes


def _page(
    blocks: Sequence[np.ndarray], names: Sequence[str], magnitudes: np.ndarray, path: str | Path
) -> None:
    """Names at the left, magnitudes above, tiles [n, V, h, w, 3] of each block in its rows."""
    height, width = blocks[0].shape[2:4]
    lines = [wrap(name, LONGEST) for name in names]
    left = MARGIN + LETTER * max(len(line) for name in lines for line in name)
    top = MARGIN + LINE + 8
    rungs = len(magnitudes)
    # A name of many lines may be taller than its tiles.
    depths = [
        max(len(block) * (height + GAP) - GAP, LINE * len(name))
        for block, name in zip(blocks, lines, strict=True)
    ]
    bottom = top + sum(depths) + GROUP_GAP * (len(blocks) - 1) // 2 + MARGIN
    page = np.full((bottom, left + rungs * (width + GAP) - GAP + MARGIN, 3), 255, np.uint8)
    page[top - 7 : top - 5, left : page.shape[1] - MARGIN] = 200  # rule below the magnitudes
    words = [
        Words(left + v * (width + GAP) + width / 2, top - 16, f"s = {round(float(s), 2):g}")
        for v, s in enumerate(magnitudes)
    ]
    y = top
    for block, name, depth in zip(blocks, lines, depths, strict=True):
        words.append(Words(MARGIN, y + depth / 2, "\n".join(name), NAME))
        for row, tiles in enumerate(block):
            for v, tile in enumerate(tiles):
                at, x = y + row * (height + GAP), left + v * (width + GAP)
                page[at : at + height, x : x + width] = tile
        y += depth + GROUP_GAP // 2
    write_page(page, words, path)
