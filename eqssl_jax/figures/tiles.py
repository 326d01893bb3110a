"""How an image becomes a tile on a page, and a page with its words a file.

A pixel of a small image is a square of equal pixels on the page: nothing is smoothed, so that what
the encoder sees is what the reader sees.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from eqssl_jax.figures.style import DPI, INK, TEXT, TITLE, new_figure, save

# Distances on the page, in pixels at `DPI`.
TILE, LARGEST = 112, 256  # small images are enlarged to about TILE, large ones reduced to LARGEST
GAP, GROUP_GAP, MARGIN = 4, 26, 20
LINE = 24  # height of a line of text
LETTER = 11  # width of an average letter

HEADING: Mapping[str, Any] = {"ha": "center", "va": "baseline", "linespacing": 1.1}
NAME: Mapping[str, Any] = {"ha": "left", "va": "center", "linespacing": 1.1}
BANNER: Mapping[str, Any] = {"va": "top", "fontsize": TITLE, "weight": "bold"}


class Words(NamedTuple):
    """Text at a place, in pixels from the top left corner of the page."""

    x: float
    y: float
    text: str
    look: Mapping[str, Any] = HEADING


def checked_images(name: str, images: Float[np.ndarray, "..."], wanted: str) -> np.ndarray:
    """The images as an array of the wanted axes, not empty and in [0, 1].

    Raises:
      ValueError: for another rank, no image, other than 1 or 3 channels, or values outside [0, 1].
    """
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


def as_pixels(images: Float[np.ndarray, "*n h w c"]) -> UInt8[np.ndarray, "*n height width 3"]:
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


def write_page(page: UInt8[np.ndarray, "h w 3"], words: Sequence[Words], path: str | Path) -> None:
    """Write the page pixel by pixel, and words over it."""
    height, width = page.shape[:2]
    # A hair more than the page: the canvas rounds its size down.
    figure = new_figure((width + 1e-3) / DPI, (height + 1e-3) / DPI)
    figure.figimage(page)
    for x, y, text, look in words:
        figure.text(x / width, 1 - y / height, text, **{"fontsize": TEXT, "color": INK, **look})
    save(figure, path)
