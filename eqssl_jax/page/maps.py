"""Embeddings of a few images on two directions, by class and by factor, with the image on hover.

Inline SVG without scripts: a point holds its image, which CSS shows while the pointer is on it. All
images of a run are one picture, which runs of equal images share.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

import numpy as np
from PIL import Image

from eqssl_jax.page.markup import tag
from eqssl_jax.page.runs import Run

SIDE, MARGIN, SHOWN = 300, 12, 76  # of a map, in units of its view box, and of an image on it
COLUMNS = 16  # images of a row of the sheet
MOST = 4  # factors that have a map, beside the class


def maps(runs: Sequence[Run]) -> list[Element]:
    """A map of each run and colouring, under a heading; nothing where no run has embeddings."""
    having = [run for run in runs if {"map", "map_images"} <= set(run.arrays)]
    if not having:
        return []
    sheets: dict[bytes, str] = {}
    drawn = []
    for run in having:
        name = sheets.setdefault(run.arrays["map_images"].tobytes(), f"sheet{len(sheets)}")
        drawn += [_map(run, what, values, name) for what, values in _colourings(run.arrays).items()]
    defined = [
        _sheet(name, next(r for r in having if r.arrays["map_images"].tobytes() == raw))
        for raw, name in sheets.items()
    ]
    text = (
        "Held-out images by the first two principal components of their embeddings of length 1. "
        "The colour is a class or a factor, from low (dark) to high; the pointer shows the image. "
        "Two of many directions: what lies apart here is apart, what lies together may not be."
    )
    return [
        tag("section", tag("h3", "Embeddings"), tag("p", text), defined,
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


def _map(run: Run, what: str, values: np.ndarray, sheet: str) -> Element:
    places, share = np.asarray(run.arrays["map"], float), run.arrays["map_share"]
    half = float(np.abs(places).max()) or 1.0
    x, y = (SIDE / 2 + (SIDE / 2 - MARGIN) * places * np.array([1, -1]) / half).T
    points = []
    for n, colour in enumerate(_colours(what, values)):
        dot = tag("circle", tag("title", f"{what} {values[n]:.4g}".strip()),
                  cx=f"{x[n]:.1f}", cy=f"{y[n]:.1f}", r=4.5, fill=colour)  # fmt: skip
        points.append(tag("g", dot, _picture(sheet, n, run.arrays["map_images"].shape)))
    title = f"{run.name}: {what}" if what else run.name
    note = f" {100 * float(share[0]):.0f} % and {100 * float(share[1]):.0f} % of the variance"
    picture = tag("svg", points, viewBox=f"0 0 {SIDE} {SIDE}", role="img",
                  aria_label=f"Embeddings of {title}", class_="map")  # fmt: skip
    return tag("figure", tag("figcaption", title, tag("small", note)), picture, class_="panel")


def _picture(sheet: str, index: int, shape: tuple[int, ...]) -> Element:
    """Image `index` of a sheet, in the lower right corner of the map."""
    _, height, width, _ = shape
    left, top = index % COLUMNS * width, index // COLUMNS * height
    corner = SIDE - SHOWN
    return tag("svg", tag("use", href=f"#{sheet}"), x=corner, y=corner, width=SHOWN, height=SHOWN,
               viewBox=f"{left} {top} {width} {height}", class_="seen")  # fmt: skip


def _sheet(name: str, run: Run) -> Element:
    """All images of a run as one picture, defined once and shown nowhere."""
    images = run.arrays["map_images"]
    count, height, width, channels = images.shape
    rows = -(-count // COLUMNS)
    padded = np.zeros((rows * COLUMNS, height, width, channels), np.uint8)
    padded[:count] = images
    grid = padded.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
    pixels = grid.reshape(rows * height, COLUMNS * width, channels)
    stored = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(stored, "WEBP", quality=85)
    uri = f"data:image/webp;base64,{base64.b64encode(stored.getvalue()).decode()}"
    size = {"width": COLUMNS * width, "height": rows * height}
    image = tag("image", id=name, href=uri, **size)
    return tag("svg", tag("defs", image), width=0, height=0, aria_hidden="true", class_="sheet")


def _colours(what: str, values: np.ndarray) -> list[str]:
    """Hexadecimal colours: of classes by number, of hues themselves, of other factors by rank."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    numbers = np.asarray(values, float)
    if what == "class":
        table = [to_hex(colour) for colour in colormaps["tab10"](np.arange(10))]
        return [table[int(label) % len(table)] for label in numbers]
    if what == "hue":
        return [to_hex(colour) for colour in colormaps["hsv"](numbers % 1.0)]
    low, spread = numbers.min(), float(np.ptp(numbers)) or 1.0
    return [to_hex(colour) for colour in colormaps["plasma"](0.9 * (numbers - low) / spread)]
