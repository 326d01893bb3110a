"""How every figure looks: one palette, quiet axes, and files that are the same for the same input.

Figures are built on `matplotlib.figure.Figure`, never on pyplot: there is no global state, no
window, and no backend to choose. matplotlib is imported when the first figure is drawn.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eqssl_jax import storage
from eqssl_jax.tabular.metrics import HIGHER, LOWER, TITLES, describe
from eqssl_jax.tabular.seeds import Result, Spread, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
INK, QUIET, RULE = "#222222", "#6b6b6b", "#cfcfcf"
TITLE, TEXT, SMALL = 9.5, 8.5, 7.5  # points

# Okabe and Ito 2008, distinguishable with any colour vision; without yellow, too pale on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
ROWS = 3  # of a legend above the panels, at most
LINES: Mapping[str, Mapping[str, Any]] = {  # of floors
    "random": {"linestyle": "--", "color": "#8a8a8a", "linewidth": 1.3},
    "pixels": {"linestyle": ":", "color": "#4a4a4a", "linewidth": 1.3},
    "coordinates": {"linestyle": ":", "color": "#4a4a4a", "linewidth": 1.3},
    "chance": {"linestyle": "-", "color": RULE, "linewidth": 1.3},
}
NOTES = {HIGHER: "higher is better →", LOWER: "← lower is better", None: " "}


def run_styles(names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """A colour for each run, in order; after seven runs the colours return with other dashes."""
    return {
        name: {
            "color": PALETTE[i % len(PALETTE)],
            "linestyle": DASHES[i // len(PALETTE) % len(DASHES)],
        }
        for i, name in enumerate(dict.fromkeys(names))
    }


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, width and height in inches, that makes room for its own labels."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(hspace=0.06, wspace=0.04)
    return Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")


def panels(count: int, *, most: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure with `count` panels, in as few rows of at most `most` as do: (figure, panels).

    Width and height are those of one panel, in inches.
    """
    rows = -(-count // most)
    columns = -(-count // rows)  # 6 panels are 2 rows of 3, not 4 and 2
    figure = new_figure(max(width * columns, 4.2), height * rows + 0.35)  # 4.2: room for the key
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]


def quiet(axes: "Axes", title: str, *, note: str = "") -> None:
    """A title at the left with an optional grey second line, two spines, and small labels."""
    # The second line is the title's own last line, so that the layout keeps room for both.
    axes.set_title(title + ("\n" if note else ""), loc="left", fontsize=TITLE, color=INK)
    if note:
        axes.annotate(
            note,
            (0, 1),
            xytext=(0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=SMALL,
            color=QUIET,
            annotation_clip=False,
        ).set_in_layout(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(RULE)
    axes.tick_params(labelsize=SMALL, color=RULE, labelcolor=QUIET, which="both")


def key(figure: Any, looks: Mapping[str, Any]) -> None:
    """One legend for the whole figure: above the panels, or beside them where it needs more rows.

    Beside them the figure is made wider, so that no legend takes room from the panels.

    Args:
      figure: what it is of.
      looks: name -> how its line looks, or an artist; without any there is no legend.
    """
    from matplotlib.lines import Line2D

    if not looks:
        return
    entry = 0.5 + 0.075 * max(map(len, looks))  # inches: the line, and the longest name
    columns = max(1, min(len(looks), 5, int(figure.get_figwidth() / entry)))
    beside = len(looks) > ROWS * columns
    if beside:
        figure.set_figwidth(figure.get_figwidth() + entry)
    figure.legend(
        [Line2D([], [], **look) if isinstance(look, Mapping) else look for look in looks.values()],
        list(looks),
        loc="outside right upper" if beside else "outside upper left",
        ncols=1 if beside else columns,
        frameon=False,
        fontsize=TEXT,
        labelcolor=INK,
        handlelength=1.8,
        columnspacing=1.6,
    )


def floors_of(results: Sequence[Result], metric: str) -> dict[str, float]:
    """The mean over trainings of each floor that has a line."""
    spreads = {floor: over_seeds(results, floor, metric) for floor in LINES}
    return {floor: spread.value for floor, spread in spreads.items() if spread.trainings}


def floor_looks(seen: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The lines of these floors by their titles, for `key`."""
    return {TITLES[floor]: line for floor, line in LINES.items() if floor in seen}


def value_axis(
    axes: "Axes", metric: str, drawn: Iterable[float], side: Literal["x", "y"] = "x"
) -> None:
    """The axis of a metric: logarithmic where that helps, percent where the metric is a share."""
    from matplotlib.ticker import NullFormatter, PercentFormatter

    axis = axes.xaxis if side == "x" else axes.yaxis
    if spans_decades(drawn):
        axes.set(**{f"{side}scale": "log"})
        axis.set_minor_formatter(NullFormatter())
    else:
        axes.locator_params(axis=side, nbins=4)
        if side == "x":
            axes.margins(x=0.12)
    if describe(metric).format.endswith("%"):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def metric_rows(axes: "Axes", metric: str, rows: Collection[str]) -> None:
    """A panel of a metric across, and a row for each name, the first on top."""
    first = axes.get_subplotspec().is_first_col()  # type: ignore[union-attr]
    axes.set_yticks(range(len(rows)), list(rows) if first else [])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    quiet(axes, describe(metric).title, note=NOTES[describe(metric).better])
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=TEXT)


def spread_bars(
    axes: "Axes",
    at: Sequence[float],
    spreads: Sequence[Spread],
    color: str,
    *,
    across: bool = False,
) -> None:
    """Bars of ± 1 sd: with caps over trainings, pale and without them within one training.

    Upright, at the horizontal places `at`; `across` the other way round.
    """
    looks: tuple[tuple[bool, dict[str, Any]], ...]
    looks = ((True, {"capsize": 2.5}), (False, {"alpha": 0.35}))
    for several, look in looks:
        rows = [(place, spread) for place, spread in zip(at, spreads, strict=True)
                if math.isfinite(spread.sd) and (spread.trainings > 1) == several]  # fmt: skip
        places, values = [place for place, _ in rows], [spread.value for _, spread in rows]
        x, y = (values, places) if across else (places, values)
        bars: dict[str, Any] = {"xerr" if across else "yerr": [spread.sd for _, spread in rows]}
        if rows:
            axes.errorbar(x, y, fmt="none", ecolor=color, elinewidth=1.3, zorder=4, **bars, **look)


def spans_decades(values: Iterable[float]) -> bool:
    """Whether values are all positive and cover more than two powers of ten.

    >>> spans_decades([0.001, 1.0]), spans_decades([0.5, 1.0]), spans_decades([0.0, 1000.0])
    (True, False, False)
    """
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) > 100 * min(finite)


def save(figure: "Figure", path: str | Path) -> None:
    """Write a PNG, making its directory; without dates or versions: equal figures are equal."""
    path = storage.path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
