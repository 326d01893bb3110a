"""Ladders with their distances: one image along a part, and how far its embedding goes.

Inline SVG: the images stand below the places that their embeddings have.
"""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np

from eqssl_jax.page.markup import tag
from eqssl_jax.page.runs import Run
from eqssl_jax.page.sheet import Sheets, picture
from eqssl_jax.page.training import (
    LEFT,
    LEVELS,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    grid,
    line_class,
    path,
    swatch,
)

BOTTOM, ROOM = 200, 44  # where distances are 0, and below it for numbers and images
NEEDED = {"walk_part", "walk_value", "walk_images", "walk/trained"}


def ladders(runs: Sequence[Run]) -> list[Element]:
    """A ladder of each run that has one, under a heading; nothing where none has."""
    having = [(index, run) for index, run in enumerate(runs) if set(run.arrays) >= NEEDED]
    if not having:
        return []
    sheets = Sheets("walk")
    drawn = [_ladder(run, index, sheets) for index, run in having]
    text = (
        "One held-out image along one transformation, and how far its embedding (of length 1) is "
        "from that of the untouched image. The line is the image you see; the band holds the "
        "middle half of 64 draws of everything else, each against a draw at the untouched image. "
        "Where the part is ordered, line and band rise on both sides; where it is invariant, the "
        "band stays level."
    )
    dash = {"class_": "level", "stroke_dasharray": LEVELS["random encoder"]}
    key = tag("ul", tag("li", swatch(dash), " random encoder"), class_="legend")
    panels = tag("div", drawn, class_="panels")
    heading = tag("h3", "Along a ladder, with distances")
    return [tag("section", heading, tag("p", text), sheets.defined(), key, panels)]


def _ladder(run: Run, index: int, sheets: Sheets) -> Element:
    value, images = np.asarray(run.arrays["walk_value"], float), run.arrays["walk_images"]
    across = Scale(value[0], value[-1], LEFT + 14, WIDTH - RIGHT - 14)
    up = Scale(0.0, 2.0, BOTTOM, TOP)
    name, side = sheets.name(images), (across(value[-1]) - across(value[0])) / len(value)
    parts = [grid(across, up, percent=False, bottom=BOTTOM + 14)]
    parts += [
        picture(name, n, images.shape, x - side / 2, BOTTOM + 18, side * 0.94, "rung")
        for n, x in enumerate(across(value))
    ]
    if "walk/random" in run.arrays:
        clean, _ = distances(run.arrays["walk/random"], value)
        dash = LEVELS["random encoder"]
        parts.append(tag("path", d=path(value, clean, across, up), class_="level hollow",
                         stroke_dasharray=dash))  # fmt: skip
    clean, (low, high) = distances(run.arrays["walk/trained"], value)
    around = path(np.r_[value, value[::-1]], np.r_[low, high[::-1]], across, up) + "Z"
    dots = [
        tag("circle", tag("title", f"{run.name}, {v:.2g}: {d:.3g}"), r=4,
            cx=f"{across(v):.1f}", cy=f"{up(d):.1f}")
        for v, d in zip(value, clean, strict=True)
    ]  # fmt: skip
    curve = tag("path", d=path(value, clean, across, up))
    look = line_class(index)
    parts.append(tag("g", tag("path", d=around, class_="band"), curve, dots,
                     class_=f"line {look['class_']}"))  # fmt: skip
    part = str(run.arrays["walk_part"])
    label = f"Distances of {run.name} along {part}: up to {clean.max():.2f}"
    drawn = tag("svg", parts, viewBox=f"0 0 {WIDTH} {BOTTOM + ROOM + 8}", role="img",
                aria_label=label)  # fmt: skip
    return tag("figure", tag("figcaption", f"{run.name}: {part}"), drawn, class_="panel")


def distances(z: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """From the untouched image, for each rung: of the clean image, and quartiles amid draws.

    Args:
      z: [V, 1 + S, D] of length 1, the clean image first.
      value: of the part, [V]; the rung nearest 0 is the untouched image.
    """
    z = np.asarray(z, float)
    start = int(np.abs(value).argmin())
    away = np.linalg.norm(z - z[start], axis=-1)  # [V, 1 + S]
    # At the untouched image itself: two draws, not one with itself.
    away[start, 1:] = np.linalg.norm(z[start, 1:] - np.roll(z[start, 1:], 1, axis=0), axis=-1)
    return away[:, 0], tuple(np.quantile(away[:, 1:], (0.25, 0.75), axis=1))
