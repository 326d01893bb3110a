"""Embeddings with the images they are of: along a ladder with distances, and on two directions.

Inline SVG without scripts: the images of a ladder stand below the places that their embeddings
have, a point of a map shows its image while the pointer is on it, and a radio button chooses the
factor that colours it. Runs of equal images share one picture of them.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from eqssl_jax.page.markup import tag
from eqssl_jax.page.runs import Run
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

COLUMNS = 16  # images of a row
Images = UInt8[np.ndarray, "n h w c"]


class Sheets:
    """The sheets of a section: each set of images is defined once, under a name."""

    def __init__(self, prefix: str) -> None:
        self._prefix, self._sheets = prefix, dict[bytes, tuple[str, Images]]()

    def name(self, images: Images) -> str:
        """What images are called on the page; equal ones have one name."""
        key = repr(images.shape).encode() + images.tobytes()
        return self._sheets.setdefault(key, (f"{self._prefix}{len(self._sheets)}", images))[0]

    def defined(self) -> list[Element]:
        """An element for each sheet, which `picture` cuts images from; it shows nothing itself."""
        return [_sheet(name, images) for name, images in self._sheets.values()]


def picture(
    sheet: str, index: int, shape: tuple[int, ...], x: float, y: float, side: float, class_: str
) -> Element:
    """Image `index` of a sheet of images of `shape` [N, H, W, C], at (x, y), `side` units wide."""
    _, height, width, _ = shape
    left, top = index % COLUMNS * width, index // COLUMNS * height
    place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{side:g}", "height": f"{side:g}"}
    return tag("svg", tag("use", href=f"#{sheet}"), **place, class_=class_,
               viewBox=f"{left} {top} {width} {height}")  # fmt: skip


def _sheet(name: str, images: Images) -> Element:
    count, height, width, channels = images.shape
    rows = -(-count // COLUMNS)
    padded = np.zeros((rows * COLUMNS, height, width, channels), np.uint8)
    padded[:count] = images
    grid = padded.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
    pixels = grid.reshape(rows * height, COLUMNS * width, channels)
    stored = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(stored, "WEBP", quality=85)
    uri = f"data:image/webp;base64,{base64.b64encode(stored.getvalue()).decode()}"
    image = tag("image", id=name, href=uri, width=COLUMNS * width, height=rows * height)
    return tag("svg", tag("defs", image), width=0, height=0, aria_hidden="true", class_="sheet")


BOTTOM, ROOM = 200, 44  # where distances are 0, and below it for numbers and images
_NEEDED = {"walk_part", "walk_value", "walk_images", "walk/trained"}


def ladders(runs: Sequence[Run]) -> list[Element]:
    """A ladder of each run that has one, under a heading; nothing where none has."""
    having = [(index, run) for index, run in enumerate(runs) if set(run.arrays) >= _NEEDED]
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


SIDE, MARGIN, SHOWN = 300, 12, 76  # of a map, in units of its view box, and of an image on it
PCA = (
    "the first two principal components",
    "Two of many directions: what lies apart here is apart, what lies together may not be.",
)
UMAP = (
    "UMAP (McInnes et al. 2018, arXiv:1802.03426)",
    "It shows who is near whom; the sizes of groups and the distances between them say little.",
)
FACTORS = 4  # factors that colour a map, beside the class


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
    some = dict(list(factors.items())[:FACTORS])
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
