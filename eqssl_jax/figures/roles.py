"""Which role should each transformation have? The evidence for every role tried, as a picture."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eqssl_jax.figures.style import (
    INK,
    LINES,
    NOTES,
    QUIET,
    SMALL,
    TEXT,
    key,
    new_figure,
    quiet,
    run_styles,
    save,
    value_axis,
)
from eqssl_jax.tabular.advice import (
    LABEL_FREE,
    ROLES,
    UNDECIDED,
    WITH_LABELS,
    Advice,
    AdviceTable,
    Trial,
    advice_table,
)
from eqssl_jax.tabular.metrics import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {role: style["color"] for role, style in run_styles(ROLES).items()}
STEP, PAD, LEAST = 0.17, 0.13, 0.42  # inches: a role, around a transformation, a transformation
WIDE, NARROW = 3.0, 1.65  # inches of a panel
BAND, TOGETHER = "#f5f5f5", "#dcdcdc"


class _Band(NamedTuple):
    """The rows of one transformation: from top to bottom, in inches, with the height of each."""

    top: float
    bottom: float
    trials: tuple[tuple[float, Trial], ...]


def advice(advice: Advice, path: str | Path) -> None:
    """Every role tried for every transformation, with its evidence; the advised one filled, bold.

    Methods that were tried beside the base stand in a band of their own.

    The first panel is the deciding metric (else the linear probe or kNN), the narrow ones are
    mostly what needs no labels; a second metric with labels is left to the table. Bars are
    intervals, dashed lines floors. Where no role is clearly better, all dots are hollow, and a grey
    bar behind those of the first panel spans all their intervals.

    Args:
      advice: see `eqssl_jax.tabular.advice`; labels may be missing altogether.
      path: the PNG to write.
    """
    table = advice_table(advice)
    bands = _bands(table)
    shown = _shown(table.metrics, advice.get("metric"))
    widths = [WIDE if i == 0 else NARROW for i in range(len(shown))]
    names = 1.9 + _beyond(table) / 72
    figure = new_figure(sum(widths) + names, max(1.1, bands[-1].bottom) + 0.95)
    grid = figure.subplots(1, len(shown), squeeze=False, width_ratios=widths).ravel().tolist()
    for axes, metric in zip(grid, shown, strict=True):
        _panel(axes, metric, table, bands, first=axes is grid[0])
    _names(grid[0], table, bands)
    _key(figure, table, shown)
    save(figure, path)


def _key(figure: Any, table: AdviceTable, shown: Sequence[str]) -> None:
    """What the marks mean, of those that there are."""
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "color": INK}
    looks: dict[str, Any] = {"role tried": {**dot, "markerfacecolor": "white", "markersize": 5}}
    if any(row.advised for row in table.rows):
        looks["advised"] = {**dot, "markersize": 7}
    if any(verdict.role is None for verdict in table.verdicts):
        looks[UNDECIDED] = {"color": TOGETHER, "linewidth": 7}
    if any(metric in table.floor for metric in shown):
        looks["floor"] = LINES["random"]
    key(figure, looks)


def _shown(metrics: Sequence[str], decisive: str | None) -> list[str]:
    """The deciding metric if there is one, one metric with labels, and those without labels.

    >>> _shown(["knn", "probe_top1", "natural", "info_nce"], "knn")
    ['knn', 'info_nce', 'natural']
    """
    lead = [m for m in metrics if m == decisive]
    if not set(lead) & set(WITH_LABELS):
        lead += [m for m in WITH_LABELS if m in metrics][:1]
    return list(dict.fromkeys([*lead, *(m for m in LABEL_FREE if m in metrics)]))


def _bands(table: AdviceTable) -> list[_Band]:
    """Where each transformation stands, and in it each role."""
    bands, top = [], 0.0
    for verdict in table.verdicts:
        trials = [row for row in table.rows if row.part == verdict.part]
        height = max(LEAST, STEP * len(trials) + PAD)
        start = top + (height - STEP * (len(trials) - 1)) / 2
        placed = tuple((start + STEP * i, trial) for i, trial in enumerate(trials))
        bands.append(_Band(top, top + height, placed))
        top += height
    return bands


def _panel(
    axes: "Axes", metric: str, table: AdviceTable, bands: Sequence[_Band], *, first: bool
) -> None:
    """One metric: a dot with its interval for every role that has it."""
    from matplotlib.patches import Rectangle

    column = table.metrics.index(metric)
    drawn = []
    for i, band in enumerate(bands):
        if i % 2 == 0:
            axes.axhspan(band.top, band.bottom, color=BAND, linewidth=0, zorder=0)
        ends = []
        for y, trial in band.trials:
            value, low, high, _ = trial.cells[column]
            if value is None:
                continue
            ends += [x for x in (value, low, high) if x is not None]
            _dot(axes, y, trial, (value, low, high))
        if first and ends and table.verdicts[i].role is None:
            # Everything that could not be told apart, as one thing.
            height = band.bottom - band.top - PAD
            corner = min(ends), band.top + PAD / 2
            axes.add_patch(
                Rectangle(corner, max(ends) - min(ends), height, color=TOGETHER, lw=0, zorder=1)
            )
        drawn += ends
    if metric in table.floor:
        axes.axvline(table.floor[metric], zorder=1, **LINES["random"])
        drawn.append(table.floor[metric])
    value_axis(axes, metric, drawn)
    if not first and axes.get_xscale() == "linear":
        axes.locator_params(axis="x", nbins=3)
    # A long title would run into that of the next panel.
    title = textwrap.fill(describe(metric).title, 40 if first else 16)
    quiet(axes, title, note=NOTES[describe(metric).better])
    axes.set_ylim(bands[-1].bottom, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(first)


def _dot(
    axes: "Axes", y: float, trial: Trial, numbers: tuple[float, float | None, float | None]
) -> None:
    value, low, high = numbers
    reach = None if low is None or high is None else [[value - low], [high - value]]
    colour = COLOURS.get(trial.role, INK)  # methods are told apart by their names
    axes.errorbar(
        [value],
        [y],
        xerr=reach,
        fmt="o",
        color=colour,
        markerfacecolor=colour if trial.advised else "white",
        markersize=7 if trial.advised else 4.5,
        elinewidth=2.4 if trial.advised else 1.2,
        zorder=3,
    )


def _beyond(table: AdviceTable) -> float:
    """By how many points the longest name of a row is longer than that of any role."""
    return 4.0 * max(0, max(len(row.role) for row in table.rows) - max(map(len, ROLES)))


def _names(axes: "Axes", table: AdviceTable, bands: Sequence[_Band]) -> None:
    """Roles beside their dots in their colours, transformations left of them."""
    placed = [shown for band in bands for shown in band.trials]
    axes.set_yticks([y for y, _ in placed], [trial.role for _, trial in placed])
    axes.tick_params(axis="y", length=0, labelsize=SMALL)
    for label, (_, trial) in zip(axes.get_yticklabels(), placed, strict=True):
        label.set(color=INK if trial.advised else QUIET)
        label.set_fontweight("bold" if trial.advised else "normal")
    lines = [[v.part, "" if v.role else UNDECIDED] for v in table.verdicts]
    longest = max(len(line) for pair in lines for line in pair)
    for band, (part, below) in zip(bands, lines, strict=True):
        at: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        middle = (band.top + band.bottom) / 2
        # Points: beyond the longest role, and the name's own length.
        left = -(52 + _beyond(table) + 4.4 * longest)
        up = 5.5 if below else 0
        axes.annotate(part, (0, middle), xytext=(left, up), va="center", fontsize=TEXT,
                      color=INK, annotation_clip=False, **at)  # fmt: skip
        axes.annotate(below, (0, middle), xytext=(left, -5.5), va="center", fontsize=SMALL,
                      color=QUIET, style="italic", annotation_clip=False, **at)  # fmt: skip
