"""The figures of runs on a page: by kind, the runs beside each other, with a caption a kind."""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from eqssl_jax.reporting.embedded import Picture, embed
from eqssl_jax.reporting.markup import tag
from eqssl_jax.reporting.metrics import FAMILIES, describe
from eqssl_jax.reporting.runs import Run

# Heading and caption by the kind of a figure, <step>_<kind>.png; the longest name that fits.
# In the order of the page; kinds that are not named here follow under their file name.
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
    "retrieval": ("Retrieval", "Queries and what the encoder finds for them, nearest first."),
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
    "circle": ("On the circle", "Embeddings of dimension two."),
    "advice": ("Advice", "The evidence for every role of every transformation."),
}
HIDDEN = ("curves",)  # the page draws them itself, from the same numbers
BUDGET = 8_000_000  # characters of all images; above it they are written smaller
LIMIT = 10_000_000  # characters; what comes after is left out


def figures(runs: Sequence[Run], shared: Mapping[str, bytes]) -> list[Element]:
    """A section for each kind of figure.

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
    pictures, left_out = _pictures([png for found in shown.values() for png in found])
    sections = []
    for kind, found in shown.items():
        heading, caption = describe_figure(kind)
        drawn = [
            _figure(pictures[png], heading, owners, alone=len(runs) == 1)
            for png, owners in found.items()
            if png in pictures
        ]
        if drawn:
            parts = tag("h3", heading), tag("p", caption) if caption else None
            sections.append(tag("section", *parts, tag("div", drawn, class_="cards")))
    if left_out:
        text = f"{left_out} figures were left out: unreadable, or the page would be too large."
        sections.append(tag("p", text, class_="note"))
    return sections


def describe_figure(kind: str) -> tuple[str, str]:
    """Heading and caption of a kind; the file's name and no caption for one that is not known.

    >>> describe_figure("spectrum_magnitude_r2_over_training")[0]
    'Spectrum over training: Magnitude R²'
    >>> describe_figure("odd_one")
    ('odd_one.png', '')
    """
    name = _known(kind)
    if name is None:
        return f"{kind}.png", ""
    heading, caption = CAPTIONS[name]
    over = kind.endswith("_over_training")
    rest = kind.removeprefix(name).removesuffix("_over_training").strip("_")
    if rest:
        rest = (FAMILIES[rest] if rest in FAMILIES else describe(rest)).title
    if over:
        caption = "Transformations by step of training, a panel for each layer."
    return heading + " over training" * over + (f": {rest}" if rest else ""), caption


def _known(kind: str) -> str | None:
    fits = [name for name in CAPTIONS if kind == name or kind.startswith(name + "_")]
    return max(fits, key=len, default=None)


def _place(kind: str) -> tuple[int, str]:
    name = _known(kind)
    return (list(CAPTIONS).index(name) if name else len(CAPTIONS), kind)


def _pictures(pngs: Sequence[bytes]) -> tuple[dict[bytes, Picture], int]:
    """Images as data URIs within the page's limit, and how many there is no place for."""
    made = {png: embed(png) for png in pngs}
    if sum(len(one.uri) for one in made.values() if one) > BUDGET:
        made = {png: embed(png, tight=True) for png in pngs}
    kept, room = {}, LIMIT
    for png, one in made.items():
        if one and len(one.uri) <= room:
            kept[png] = one
            room -= len(one.uri)
    return kept, len(made) - len(kept)


def _figure(picture: Picture, heading: str, owners: Sequence[str], *, alone: bool) -> Element:
    """An image on a white card, with the runs it is of."""
    of = ", ".join(owners)
    image = tag(
        "img",
        src=picture.uri,
        alt=f"{heading}{f' of {of}' if of else ''}",
        width=picture.width,
        height=picture.height,
    )
    words = [] if alone else [tag("b", of)]
    if picture.changed:
        words.append(tag("small", f" shown {picture.changed}"))
    caption = tag("figcaption", words) if words else None
    card = tag("div", image, class_="card", tabindex=0, role="region", aria_label=heading)
    # Figures are drawn at 150 dots an inch, a page has 96.
    return tag("figure", caption, card, style=f"--natural: {picture.width * 96 // 150}px")
