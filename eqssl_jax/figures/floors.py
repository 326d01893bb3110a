"""Runs beside each other and beside what they must beat."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqssl_jax.figures.style import (
    INK,
    QUIET,
    RULE,
    SMALL,
    TEXT,
    key,
    panels,
    quiet,
    run_styles,
    save,
    spans_decades,
    spread_bars,
)
from eqssl_jax.tabular.metrics import (
    HIGHER,
    LOWER,
    TITLES,
    check_results,
    describe,
    in_order,
    measured,
)
from eqssl_jax.tabular.seeds import Spread, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]
LINES: Mapping[str, Mapping[str, Any]] = {
    "random": {"linestyle": "--", "color": "#8a8a8a", "linewidth": 1.3},
    "pixels": {"linestyle": ":", "color": "#4a4a4a", "linewidth": 1.3},
    "coordinates": {"linestyle": ":", "color": "#4a4a4a", "linewidth": 1.3},
    "chance": {"linestyle": "-", "color": RULE, "linewidth": 1.3},
}
NOTES = {HIGHER: "higher is better →", LOWER: "← lower is better", None: " "}


def comparison(
    results: Mapping[str, Result], path: str | Path, *, metrics: Sequence[str] | None = None
) -> None:
    """Runs beside each other, one panel a metric, with the floors they must beat as lines.

    Dots are trained encoders with one standard deviation: over trainings where a result is of
    several, else pale, over probe seeds or augmentations. Dashed lines the random encoder, dotted
    lines raw pixels, pale lines chance. A floor that differs between runs is drawn at each.

    Args:
      results: run name -> evaluation result (see `eqssl_jax.tabular.tables`).
      path: the PNG to write.
      metrics: which panels, in this order; all that a trained encoder has by default.

    Raises:
      ValueError: without results, for a result without metrics, or an unknown metric.
    """
    from matplotlib.lines import Line2D

    check_results(results, metrics)
    if metrics is None:
        metrics = in_order(name for r in results.values() for name in measured(r, "trained"))
    spreads = {m: [over_seeds([r], "trained", m) for r in results.values()] for m in metrics}
    spreads = {m: of for m, of in spreads.items() if any(one.trainings for one in of)}
    if not spreads:
        raise ValueError(
            f"No run of {list(results)} has a finite number for the metrics asked for."
        )
    figure, grid = panels(len(spreads), most=4, width=2.6, height=0.95 + 0.26 * len(results))
    seen: set[str] = set()
    for axes, name in zip(grid, spreads, strict=True):
        seen |= panel(axes, name, results)
    shown = [floor for floor in LINES if floor in seen]
    lines = {TITLES[floor]: LINES[floor] for floor in shown} | _bars(spreads)
    if lines:
        key(figure, [Line2D([], [], **look) for look in lines.values()], list(lines))
    save(figure, path)


def _bars(spreads: Mapping[str, Sequence[Spread]]) -> dict[str, Mapping[str, Any]]:
    """What the bars of `spread_bars` are over, by the words of the legend."""
    over = [one.trainings > 1 for of in spreads.values() for one in of if math.isfinite(one.sd)]
    bars: dict[str, Mapping[str, Any]] = {}
    if True in over:
        bars["± 1 sd over trainings"] = {"color": INK, "linewidth": 1.3}
    if False in over:
        bars["± 1 sd within one training"] = {"color": INK, "linewidth": 1.3, "alpha": 0.35}
    return bars


def panel(axes: "Axes", name: str, results: Mapping[str, Result], note: str = "") -> set[str]:
    """Draw one metric; the floors that it has. The `note` stands below."""
    styles = run_styles(results)
    seen, drawn = set(), []
    for y, (run, result) in enumerate(results.items()):
        for floor, line in LINES.items():
            level = over_seeds([result], floor, name)
            if level.trainings:
                # Across the run's own row only, so that equal floors join to one line.
                axes.plot([level.value] * 2, [y - 0.5, y + 0.5], zorder=1, **line)
                seen.add(floor)
                drawn.append(level.value)
        one = over_seeds([result], "trained", name)
        if one.trainings:
            colour = styles[run]["color"]
            axes.plot([one.value], [y], "o", zorder=3, color=colour, markersize=5.5)
            spread_bars(axes, [y], [one], colour, across=True)
            drawn.append(one.value)
    value_axis(axes, name, drawn)
    first = axes.get_subplotspec().is_first_col()  # type: ignore[union-attr]
    axes.set_yticks(range(len(results)), list(results) if first else [])
    axes.set_ylim(len(results) - 0.5, -0.5)  # the first run on top
    way = NOTES[describe(name).better]
    quiet(axes, describe(name).title, note=way)
    if note:
        axes.set_xlabel(note, fontsize=SMALL, color=QUIET, loc="left")
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=TEXT)
    return seen


def value_axis(axes: "Axes", name: str, drawn: Sequence[float]) -> None:
    """The x axis of a metric: logarithmic where that helps, percent where the metric is a share."""
    from matplotlib.ticker import NullFormatter, PercentFormatter

    if spans_decades(drawn):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=4)
    if describe(name).format.endswith("%"):
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
