"""Scores over the values of a setting: of the weight of a loss, and of any other."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqssl_jax.figures.curves import LINE, spread_axis
from eqssl_jax.figures.style import (
    LINES,
    PALETTE,
    QUIET,
    TEXT,
    floor_looks,
    floors_of,
    key,
    new_figure,
    panels,
    quiet,
    run_styles,
    save,
    spread_bars,
    value_axis,
)
from eqssl_jax.tabular.metrics import describe
from eqssl_jax.tabular.seeds import Result, Spread, spreads_of, what_bars_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEST_PUBLISHED = (0.01, 0.1)
"""Where the paper finds the best λ: CIFAR-10, ResNet-50 (Gupta et al. 2024, Figure 7)."""
_SHADE = "#e9eef4"


def weight_sweep(
    results: Mapping[float, Sequence[Result]],
    path: str | Path,
    *,
    metrics: Sequence[str] = ("probe_top1", "knn", "gram_error"),
) -> None:
    """Measures against the weight of a loss, on a logarithmic axis where 0 has a place of its own.

    Weight 0 stands left of a break in the axis, and no line leads to it: on a logarithm it is
    infinitely far. The shaded range is where the paper found the best weight on its own data and
    encoder, a landmark and not a claim about these runs.

    Args:
      results: weight ≥ 0 -> the evaluations of its trainings (a list of one for one seed).
      path: the PNG to write.
      metrics: which panels, in this order.

    Raises:
      ValueError: without a positive weight, or when no run has a finite number.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figure 7.
    """
    from matplotlib.patches import Patch

    weights = sorted(float(w) for w in results)
    if not weights or weights[-1] <= 0:
        raise ValueError(f"A sweep needs a positive weight, found {weights}.")
    by_weight = {float(w): group for w, group in results.items()}
    spread_of = spreads_of({w: by_weight[w] for w in weights}, metrics)
    all_results = [result for group in by_weight.values() for result in group]
    figure, grid = panels(len(spread_of), most=3, width=3.2, height=2.5)
    seen: set[str] = set()
    for axes, (metric, group) in zip(grid, spread_of.items(), strict=True):
        floors = floors_of(all_results, metric)
        seen |= set(floors)
        _sweep(axes, weights, group)
        for floor, level in floors.items():
            axes.axhline(level, zorder=1, **LINES[floor])
        spread_axis(axes, metric, [*group, *(Spread(v, math.nan, 1) for v in floors.values())])
        axes.set_xlabel("λ", fontsize=TEXT, color=QUIET)
        quiet(axes, describe(metric).title, note=what_bars_are(group) or " ")
    best = {"best in the paper (CIFAR-10, ResNet-50)": Patch(color=_SHADE)}
    key(figure, floor_looks(seen) | best)
    save(figure, path)


def _sweep(axes: "Axes", weights: Sequence[float], spreads: Sequence[Spread]) -> None:
    positive = [w for w in weights if w > 0]
    axes.set_xscale("log")
    # A weight of 0 stands half a decade or more before the first, behind a break.
    zero = positive[0] / 10 ** max(0.5, 0.25 * math.log10(positive[-1] / positive[0]))
    look = {**LINE, "color": PALETTE[0]}
    for at, fmt in ((positive, "o-"), ([0.0], "o")):
        rows = [(w, spread) for w, spread in zip(weights, spreads, strict=True)
                if w in at and spread.trainings]  # fmt: skip
        x = [w or zero for w, _ in rows]
        axes.plot(x, [spread.value for _, spread in rows], fmt, zorder=3, **look)
        spread_bars(axes, x, [spread for _, spread in rows], PALETTE[0])
    gap = math.sqrt(zero * positive[0])
    if BEST_PUBLISHED[1] > gap:  # left of the break the axis has no scale
        low = max(BEST_PUBLISHED[0], gap) if 0.0 in weights else BEST_PUBLISHED[0]
        axes.axvspan(low, BEST_PUBLISHED[1], color=_SHADE, zorder=0, linewidth=0)
    places = {w or zero: f"{w:g}" for w in weights}
    axes.set_xticks(list(places), list(places.values()))
    axes.set_xticks([], minor=True)
    pad = 10**0.2
    axes.set_xlim(min(places) / pad, max(places) * pad)
    if 0.0 in weights:
        axes.text(gap, 0, "//", ha="center", va="center", color=QUIET, fontsize=TEXT, zorder=5,
                  transform=axes.get_xaxis_transform(), backgroundcolor="white")  # fmt: skip


def factor_sweeps(
    sweeps: Mapping[str, Mapping[Any, Sequence[Result]]],
    path: str | Path,
    *,
    metrics: Sequence[str],
) -> None:
    """A column for each factor, a row for each measure: the values of a factor in their order.

    Args:
      sweeps: by factor and value, the evaluations of its trainings; a value without any has an
        empty place.
      path: the PNG to write.
      metrics: rows; those that no training has are left out.

    Raises:
      ValueError: when no training has a finite number of any of the metrics.
    """
    every = {(factor, value): group for factor, line in sweeps.items()
             for value, group in line.items()}  # fmt: skip
    spread_of = spreads_of(every, metrics)
    figure = new_figure(2.2 * len(sweeps), 1.9 * len(spread_of) + 0.4)
    ratios = [len(line) + 1 for line in sweeps.values()]
    grid = figure.subplots(
        len(spread_of), len(sweeps), squeeze=False, sharey="row", width_ratios=ratios
    )
    results = [result for group in every.values() for result in group]
    seen: set[str] = set()
    for row, (metric, spreads) in zip(grid, spread_of.items(), strict=True):
        by_value = dict(zip(every, spreads, strict=True))
        floors = floors_of(results, metric)
        seen |= set(floors)
        for axes, (factor, line) in zip(row, sweeps.items(), strict=True):
            group = [by_value[factor, value] for value in line]
            _factor(axes, list(line), group, floors)
            axes.set_xlabel(factor, fontsize=TEXT, color=QUIET)
            quiet(axes, "", note=what_bars_are(group) or " ")
        value_axis(row[0], metric, (), "y")
        title = textwrap.fill(describe(metric).title, 24)  # a row is too low for a long one
        row[0].set_ylabel(title, fontsize=TEXT, color=QUIET)
    key(figure, floor_looks(seen))
    save(figure, path)


def _factor(
    axes: "Axes", values: Sequence[Any], spreads: Sequence[Spread], floors: Mapping[str, float]
) -> None:
    places = range(len(values))
    drawn = [(x, spread) for x, spread in zip(places, spreads, strict=True) if spread.trainings]
    x = [place for place, _ in drawn]
    style = "o-" if all(isinstance(value, int | float) for value in values) else "o"
    axes.plot(x, [spread.value for _, spread in drawn], style, **LINE, color=PALETTE[0], zorder=3)
    spread_bars(axes, x, [spread for _, spread in drawn], PALETTE[0])
    for floor, level in floors.items():
        axes.axhline(level, zorder=1, **LINES[floor])
    axes.set_xticks(list(places), [f"{v:g}" if isinstance(v, float) else str(v) for v in values])
    axes.set_xlim(-0.5, len(values) - 0.5)


def value_sweep(
    lines: Mapping[str, Mapping[Any, Spread]],
    path: str | Path,
    *,
    setting: str,
    score: str,
    percent: bool = False,
) -> None:
    """Means over trainings with bars of ± 1 sd; values that are no numbers stand in their order.

    Args:
      lines: by the values of all other settings ("" without any), by the value of this one.
      path: the PNG to write.
      setting, score: what the axes are called.
      percent: whether the score is a share.

    Raises:
      ValueError: without a finite score.
    """
    from matplotlib.ticker import FuncFormatter, NullLocator

    finite = [spread for line in lines.values() for spread in line.values() if spread.trainings]
    if not finite:
        raise ValueError(f"No value of {setting} has a finite {score}.")
    values = list(dict.fromkeys(value for line in lines.values() for value in line))
    places, logarithmic = _places(values)
    figure = new_figure(4.4, 3.0)
    axes = figure.subplots()
    styles = run_styles(lines)
    for name, line in lines.items():
        drawn = [(places[value], spread) for value, spread in line.items() if spread.trainings]
        sd = [spread.sd if math.isfinite(spread.sd) else 0.0 for _, spread in drawn]
        x, y = [place for place, _ in drawn], [spread.value for _, spread in drawn]
        axes.errorbar(x, y, yerr=sd, marker="o", markersize=4, capsize=2.5, **styles[name])
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([places[value] for value in values], [str(value) for value in values])
    axes.set_xlabel(setting, fontsize=TEXT, color=QUIET)
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}%"))
    quiet(axes, score, note=what_bars_are(finite) or " ")
    if len(lines) > 1:
        key(figure, {name: {"marker": "o", **style} for name, style in styles.items()})
    save(figure, path)


def _places(values: Sequence[Any]) -> tuple[dict[Any, float], bool]:
    """Where values stand: numbers in logarithm if all are positive; others one after another."""
    numeric = all(isinstance(value, int | float) and value == value for value in values)
    positive = numeric and min(values) > 0 and max(values) >= 8 * min(values)
    if numeric and not isinstance(values[0], bool):
        return {value: float(value) for value in values}, positive
    return {value: float(place) for place, value in enumerate(values)}, False
