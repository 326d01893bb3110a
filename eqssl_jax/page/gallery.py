"""The figures of runs on a page: by kind, the runs beside each other, with a caption a kind.

PNG files become data URIs as WebP without loss, made smaller where they are large.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from PIL import Image

from eqssl_jax.page.markup import tag
from eqssl_jax.page.runs import Run
from eqssl_jax.tabular.metrics import FAMILIES, describe

# Heading and caption by the kind of a figure, <step>_<kind>.png; the longest name that fits.
# In the order of the page; kinds that are not named here follow under the words of their name.
CAPTIONS: Mapping[str, tuple[str, str]] = {
    "comparison": (
        "Runs beside each other",
        "Dots are trained encoders, bars one standard deviation; lines are the floors.",
    ),
    "views": (
        "What the encoder saw",
        "Images of the validation split, and the views of them that training drew: a row an image, "
        "a column a view. Columns under one heading belong to one view set.",
    ),
    "neighbours": (
        "Nearest neighbours",
        "Queries with their nearest training images, before and after a change of hue. An encoder "
        "that ignores hue shows the same images twice.",
    ),
    "cosines": (
        "Cosines under augmentation",
        "How alike an image and its augmentation are. A line is one augmentation over all images: "
        "narrow lines at different places are rotations by angles of their own.",
    ),
    "ladders": (
        "Ladders",
        "Each transformation from no change (s = 0) to full strength (s = 1), all else at rest.",
    ),
    "spectrum": (
        "Spectrum",
        "Layers from the stem (top) to the embedding (bottom), by transformation.",
    ),
    "steering": (
        "Steering",
        "The map from parameters to rotations that was fitted on frozen embeddings.",
    ),
    "trajectories": ("Trajectories", "The path of embeddings while an input is turned."),
    "advice": ("Advice", "The evidence for every role of every transformation."),
}
# The same for figures of a study, <study>-<scale>_<kind>.png.
STUDY_CAPTIONS: Mapping[str, tuple[str, str]] = {
    "bars": (
        "Combinations of losses",
        "A bar is the combination of the terms that are marked below it; lines are the floors.",
    ),
    "sweep": (
        "Against the weight of the loss",
        "Weight 0 stands left of a break in the axis. The shaded range is where the paper found "
        "the best weight on its own data and encoder.",
    ),
    "over_training": (
        "Over training",
        "At the steps that were evaluated; the hollow point is the encoder before training.",
    ),
    "augmentations": (
        "Every augmentation",
        "A dot is an augmentation, the bar mean ± 1 sd over all of them; lines are the floors. "
        "Where no rotation explains the change, a small error is a small move and no rotation.",
    ),
    "cosines": (
        "Cosines under augmentation",
        "A ridge is an augmentation over all images: a needle below 1 is a rotation, a needle at 1 "
        "an invariance; a broad ridge moves each image in its own way.",
    ),
    "points": (
        "On the circle",
        "Embeddings before (inner ring) and after augmentations (outer rings), coloured by their "
        "place before: the same colours, turned, are a rotation; not turned, an invariance.",
    ),
    "positive_cosines": (
        "Cosines of positive pairs",
        "How alike two augmentations of one image are; the tick is the mean. All at 1 is a "
        "collapse or a perfect invariance.",
    ),
    "axis": (
        "Principal axis",
        "Error of the axis read off frozen embeddings, by the terms of the loss that are marked "
        "below; lines are the floors, the untrained encoder among them.",
    ),
    "trajectories": (
        "Turns of one cloud",
        "Embeddings of one cloud turned once around each axis, in two dimensions; the colour is "
        "the angle, a ring the start. A regular closed curve is a rotation.",
    ),
    "neighbours": (
        "Nearest neighbours",
        "A block is a method: queries with their nearest images, and the same queries in another "
        "colour with theirs. A method that ignores colour shows the same images twice.",
    ),
}
_STUDY = re.compile(r"(?P<study>[a-z0-9_]+)-(?P<scale>[a-z]+)_(?P<kind>.+)")
HIDDEN = ("curves",)  # the page draws them itself, from the same numbers
BUDGET = 4_000_000  # bytes of all PNG files; above it they are written smaller
LIMIT = 10_000_000  # characters; what comes after is left out
LARGE = 250_000  # bytes; a larger PNG is written anew as WebP
WIDEST = 2400  # pixels
TIGHT = 1200  # pixels, where the page would become too large


class Picture(NamedTuple):
    """An image ready for `src`.

    Attributes:
      uri: "data:image/…;base64,…".
      width, height: of the original, in pixels.
      changed: what was done to make it smaller; "" where nothing was.
    """

    uri: str
    width: int
    height: int
    changed: str = ""


def figures(
    runs: Sequence[Run], shared: Mapping[str, bytes]
) -> tuple[list[Element], list[Element]]:
    """A section for each kind of figure: of all runs together, and of the runs.

    Args:
      runs: with their figures by kind; equal figures of several runs are shown once.
      shared: figures of all runs together, by file name without ending.
    """
    by_kind: dict[str, dict[bytes, list[str]]] = {}
    for kind, png in shared.items():
        by_kind.setdefault(kind, {}).setdefault(png, [])
    for run in runs:
        for kind, png in run.figures.items():
            by_kind.setdefault(kind, {}).setdefault(png, []).append(run.name)
    shown = {kind: by_kind[kind] for kind in sorted(by_kind, key=_place) if kind not in HIDDEN}
    pictures, left_out = _pictures([png for owners_of in shown.values() for png in owners_of])
    together, sections = list[Element](), list[Element]()
    for kind, owners_of in shown.items():
        heading, caption = describe_figure(kind)
        drawn = [
            _figure(pictures[png], heading, owners, alone=len(runs) == 1)
            for png, owners in owners_of.items()
            if png in pictures
        ]
        if drawn:
            parts = tag("h3", heading), tag("p", caption) if caption else None
            section = tag("section", *parts, tag("div", drawn, class_="cards"))
            (together if kind in shared else sections).append(section)
    if left_out:
        text = f"{left_out} figures were left out: unreadable, or the page would be too large."
        sections.append(tag("p", text, class_="note"))
    return together, sections


def describe_figure(figure: str) -> tuple[str, str]:
    """Heading and caption; the words of its name and no caption for a kind that is not known.

    Args:
      figure: a kind, or of a study <study>-<scale>_<kind>; after it, between brackets, the folder
        it lies in, where that must be said.

    >>> describe_figure("spectrum_magnitude_r2_over_training")[0]
    'Spectrum over training: Magnitude R²'
    >>> describe_figure("lambda_sweep-small_sweep (runs/studies)")[0]
    'Against the weight of the loss: lambda sweep, small (runs/studies)'
    >>> describe_figure("odd_one")
    ('Odd one', '')
    """
    kind, bracket, folder = figure.partition(" (")
    study = _study(kind)
    heading, caption = _of_study(*study) if study else _of_run(kind)
    return heading + bracket + folder, caption


def _study(figure: str) -> tuple[str, str, str] | None:
    """(study, scale, kind), if the figure is one of a study."""
    match = _STUDY.fullmatch(figure)
    captioned = match and match["kind"] in STUDY_CAPTIONS
    return (match["study"], match["scale"], match["kind"]) if match and captioned else None


def _of_study(study: str, scale: str, kind: str) -> tuple[str, str]:
    heading, caption = STUDY_CAPTIONS[kind]
    return f"{heading}: {study.replace('_', ' ')}, {scale}", caption


def _of_run(kind: str) -> tuple[str, str]:
    name = _captioned(kind)
    if name is None:
        words = kind.replace("_", " ")
        return words[:1].upper() + words[1:], ""
    heading, caption = CAPTIONS[name]
    over = kind.endswith("_over_training")
    subject = kind.removeprefix(name).removesuffix("_over_training").strip("_")
    if subject:
        subject = (FAMILIES[subject] if subject in FAMILIES else describe(subject)).title
    if over:
        caption = "Transformations by step of training, a panel for each layer."
    return heading + " over training" * over + (f": {subject}" if subject else ""), caption


def _captioned(kind: str) -> str | None:
    fits = [name for name in CAPTIONS if kind == name or kind.startswith(name + "_")]
    return max(fits, key=len, default=None)


def _place(figure: str) -> tuple[int, str, int]:
    """Figures of studies first, a study after the other."""
    kind = figure.partition(" (")[0]
    if study := _study(kind):
        return -1, "-".join(study[:2]), list(STUDY_CAPTIONS).index(study[2])
    name = _captioned(kind)
    return list(CAPTIONS).index(name) if name else len(CAPTIONS), figure, 0


def _pictures(pngs: Sequence[bytes]) -> tuple[dict[bytes, Picture], int]:
    """Images as data URIs within the page's limit, and how many there is no place for."""
    tight = sum(map(len, pngs)) > BUDGET
    made = {png: embed(png, tight=tight) for png in pngs}
    kept, room = {}, LIMIT
    for png, picture in made.items():
        if picture and len(picture.uri) <= room:
            kept[png] = picture
            room -= len(picture.uri)
    return kept, len(made) - len(kept)


def _figure(picture: Picture, heading: str, owners: Sequence[str], *, alone: bool) -> Element:
    """An image on a white card, with the runs it is of."""
    names = ", ".join(owners)
    image = tag(
        "img",
        src=picture.uri,
        alt=f"{heading}{f' of {names}' if names else ''}",
        width=picture.width,
        height=picture.height,
    )
    words = [] if alone else [tag("b", names)]
    if picture.changed:
        words.append(tag("small", f" shown {picture.changed}"))
    caption = tag("figcaption", words) if words else None
    card = tag("div", image, class_="card", tabindex=0, role="region", aria_label=heading)
    # Figures are drawn at 150 dots an inch, a page has 96.
    return tag("figure", caption, card, style=f"--natural: {picture.width * 96 // 150}px")


def embed(png: bytes, *, tight: bool = False) -> Picture | None:
    """A PNG as a data URI; None for bytes that are no image.

    As WebP without loss, which is half as large; above 250 kB with loss and at most 2400 pixels in
    width. It stays a PNG where that is smallest.

    Args:
      png: the file.
      tight: every image is at most 1200 pixels wide, with loss where that is smaller.
    """
    try:
        with Image.open(io.BytesIO(png)) as opened:
            width, height = opened.size
            opened.load()
            image = opened if opened.mode in ("RGB", "RGBA") else opened.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # PIL raises any of these for damaged files
    lossy = tight or len(png) > LARGE
    widest = TIGHT if tight else WIDEST
    forms = [("png", png, "")]
    if not lossy:
        forms.append(("webp", _webp(image, lossless=True, method=1, quality=50), ""))
    else:
        image = image.convert("RGB")
        shrunk = f", {widest} pixels wide" if width > widest else ""
        data = _webp(_narrowed(image, widest), quality=75 if tight else 88, method=4)
        forms.append(("webp", data, f"as WebP{shrunk}"))
    if tight and width <= widest:  # lines and text are smaller without loss
        forms.append(("webp", _webp(image, lossless=True, method=1, quality=50), ""))
    kind, data, changed = min(forms, key=lambda form: len(form[1]))
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return Picture(uri, width, height, changed)


def _narrowed(image: Image.Image, widest: int) -> Image.Image:
    height = max(1, round(image.height * widest / image.width))
    if image.width <= widest:
        return image
    return image.resize((widest, height), Image.Resampling.LANCZOS)


def _webp(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "webp", **options)
    return file.getvalue()
