"""Embeddings of a few images on two directions, by class and by factor, with the image on hover.

Inline SVG without scripts: a point holds its image, which CSS shows while the pointer is on it, and
its colour by each factor, of which a radio button chooses one.
"""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

import numpy as np

from eqssl_jax.page.markup import tag
from eqssl_jax.page.runs import Run
from eqssl_jax.page.sheet import Sheets, picture

SIDE, MARGIN, SHOWN = 300, 12, 76  # of a map, in units of its view box, and of an image on it
PCA = (
    "the first two principal components",
    "Two of many directions: what lies apart here is apart, what lies together may not be.",
)
UMAP = (
    "UMAP (McInnes et al. 2018, arXiv:1802.03426)",
    "It shows who is near whom; the sizes of groups and the distances between them say little.",
)
MOST = 4  # factors that colour a map, beside the class


def maps(runs: Sequence[Run]) -> list[Element]:
    """A map of each run, under a heading; nothing where no run has embeddings."""
    having = [run for run in runs if {"map", "map_images"} <= set(run.arrays)]
    if not having:
        return []
    sheets = Sheets("map")
    drawn = [_map(run, f"map-{n}", sheets) for n, run in enumerate(having)]
    layout, caution = PCA if "map_share" in having[0].arrays else UMAP
    text = (
        f"Held-out images by {layout} of their embeddings of length 1. The colour is a class or a "
        f"factor, from low (dark) to high; the pointer shows the image. {caution}"
    )
    return [
        tag("section", tag("h3", "Embeddings"), tag("p", text), sheets.defined(),
            tag("div", drawn, class_="panels"))
    ]  # fmt: skip


def _colourings(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What colours a map: the class, then factors."""
    factors = {
        name.removeprefix("map_factor/"): values
        for name, values in arrays.items() if name.startswith("map_factor/")
    }  # fmt: skip
    some = dict(list(factors.items())[:MOST])
    named = {"class": arrays["map_label"]} | some if "map_label" in arrays else some
    return named or {"": np.zeros(len(arrays["map"]))}


def _map(run: Run, key: str, sheets: Sheets) -> Element:
    """The points of a run, behind a radio button for each of its colourings."""
    places, share = np.asarray(run.arrays["map"], float), run.arrays.get("map_share")
    images, colourings = run.arrays["map_images"], _colourings(run.arrays)
    half = float(np.abs(places).max()) or 1.0
    x, y = (SIDE / 2 + (SIDE / 2 - MARGIN) * places * np.array([1, -1]) / half).T
    sheet, corner = sheets.name(images), SIDE - SHOWN  # images show in the lower right
    columns = [_colours(colouring, values) for colouring, values in colourings.items()]
    points = []
    for n, colours in enumerate(zip(*columns, strict=True)):
        fills = ";".join(f"--f{k}:{colour}" for k, colour in enumerate(colours))
        words = ", ".join(
            f"{colouring} {values[n]:.3g}" for colouring, values in colourings.items() if colouring
        )
        dot = tag("circle", tag("title", words) if words else None, cx=f"{x[n]:.1f}",
                  cy=f"{y[n]:.1f}", r=4.5, style=fills)  # fmt: skip
        seen = picture(sheet, n, images.shape, corner, corner, SHOWN, "seen")
        points.append(tag("g", dot, seen))
    parts = [] if share is None else [f"{100 * float(part):.0f} %" for part in share]
    note = f" {' and '.join(parts)} of the variance" if parts else " UMAP"
    drawn = tag("svg", points, viewBox=f"0 0 {SIDE} {SIDE}", role="img",
                aria_label=f"Embeddings of {run.name}", class_="map")  # fmt: skip
    choices: list[Element] = []
    for k, colouring in enumerate(colourings):
        choices.append(tag("input", type="radio", name=key, id=f"{key}-{k}", checked=not k))
        choices.append(tag("label", colouring or "points", for_=f"{key}-{k}"))
    caption = tag("figcaption", run.name, tag("small", note))
    return tag("figure", caption, tag("div", choices, drawn, class_="choice"), class_="panel")


def _colours(colouring: str, values: np.ndarray) -> list[str]:
    """Hexadecimal colours: of classes by number, of hues themselves, of other factors by rank."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    numbers = np.asarray(values, float)
    if colouring == "class":
        table = [to_hex(colour) for colour in colormaps["tab10"](np.arange(10))]
        return [table[int(label) % len(table)] for label in numbers]
    if colouring == "hue":
        return [to_hex(colour) for colour in colormaps["hsv"](numbers % 1.0)]
    low, spread = numbers.min(), float(np.ptp(numbers)) or 1.0
    return [to_hex(colour) for colour in colormaps["plasma"](0.9 * (numbers - low) / spread)]
