"""Runs beside each other and beside what they must beat."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqssl_jax.figures.style import (
    INK,
    RULE,
    TEXT,
    key,
    panels,
    quiet,
    run_styles,
    save,
    spans_decades,
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

    Dots are trained encoders with one standard deviation; dashed lines the random encoder, dotted
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
    metrics = [m for m in metrics if any(_number(r, "trained", m) for r in results.values())]
    if not metrics:
        raise ValueError(
            f"No run of {list(results)} has a finite number for the metrics asked for."
        )
    figure, grid = panels(len(metrics), most=4, width=2.6, height=0.95 + 0.26 * len(results))
    seen: set[str] = set()
    for axes, name in zip(grid, metrics, strict=True):
        seen |= _panel(axes, name, results)
    shown = [floor for floor in LINES if floor in seen]
    if shown:
        key(figure, [Line2D([], [], **LINES[f]) for f in shown], [TITLES[f] for f in shown])
    save(figure, path)


def _panel(axes: "Axes", name: str, results: Mapping[str, Result]) -> set[str]:
    """Draw one metric; the floors that it has."""
    styles = run_styles(results)
    seen, drawn = set(), []
    for y, (run, result) in enumerate(results.items()):
        for floor, line in LINES.items():
            for value, _ in _number(result, floor, name):
                # Across the run's own row only, so that equal floors join to one line.
                axes.plot([value, value], [y - 0.5, y + 0.5], zorder=1, **line)
                seen.add(floor)
                drawn.append(value)
        for value, sd in _number(result, "trained", name):
            look = {"color": styles[run]["color"], "markersize": 5.5, "elinewidth": 1.4}
            axes.errorbar([value], [y], xerr=[sd] if sd else None, fmt="o", zorder=3, **look)
            drawn.append(value)
    value_axis(axes, name, drawn)
    first = axes.get_subplotspec().is_first_col()  # type: ignore[union-attr]
    axes.set_yticks(range(len(results)), list(results) if first else [])
    axes.set_ylim(len(results) - 0.5, -0.5)  # the first run on top
    quiet(axes, describe(name).title, note=NOTES[describe(name).better])
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=TEXT)
    return seen


def _number(result: Result, encoder: str, name: str) -> list[tuple[float, float]]:
    """[(value, sd)] of one encoder or of chance; empty where missing or not finite."""
    if encoder == "chance":
        found: Mapping[str, Any] = {"value": result.get("chance", {}).get(name)}
    else:
        found = measured(result, encoder).get(name) or {}
    value, sd = found.get("value"), found.get("sd")
    if value is None or not math.isfinite(value):
        return []
    return [(value, sd if sd is not None and math.isfinite(sd) else 0.0)]


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
