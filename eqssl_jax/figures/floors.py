"""Runs beside what they must beat, by the terms of their loss, and in two metrics at a time."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqssl_jax.figures.labels import name_points
from eqssl_jax.figures.style import (
    INK,
    LINES,
    QUIET,
    RULE,
    SMALL,
    TEXT,
    floor_looks,
    floors_of,
    key,
    metric_rows,
    new_figure,
    panels,
    quiet,
    run_styles,
    save,
    spread_bars,
    value_axis,
)
from eqssl_jax.tabular.metrics import (
    LOWER,
    arrow,
    check_results,
    describe,
    in_order,
    measured,
    show,
)
from eqssl_jax.tabular.seeds import Result, Spread, over_seeds, spreads_of, what_bars_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    check_results(results, metrics)
    if metrics is None:
        metrics = in_order(name for r in results.values() for name in measured(r, "trained"))
    spreads = spreads_of({run: [result] for run, result in results.items()}, metrics)
    figure, grid = panels(len(spreads), most=4, width=2.6, height=0.95 + 0.26 * len(results))
    seen: set[str] = set()
    for axes, name in zip(grid, spreads, strict=True):
        seen |= panel(axes, name, results)
    key(figure, floor_looks(seen) | _bars(spreads))
    save(figure, path)


def _bars(spreads: Mapping[str, Sequence[Spread]]) -> dict[str, Mapping[str, Any]]:
    """What the bars of `spread_bars` are over, by the words of the legend."""
    over = [
        spread.trainings > 1
        for by_run in spreads.values()
        for spread in by_run
        if math.isfinite(spread.sd)
    ]
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
        spread = over_seeds([result], "trained", name)
        if spread.trainings:
            colour = styles[run]["color"]
            axes.plot([spread.value], [y], "o", zorder=3, color=colour, markersize=5.5)
            spread_bars(axes, [y], [spread], colour, across=True)
            drawn.append(spread.value)
    value_axis(axes, name, drawn)
    metric_rows(axes, name, results)
    if note:
        axes.set_xlabel(note, fontsize=SMALL, color=QUIET, loc="left")
    return seen


JOINT = " + "


def ablation_bars(
    results: Mapping[str, Sequence[Result]],
    path: str | Path,
    *,
    metrics: Sequence[str] = ("probe_top1", "knn"),
) -> None:
    """A bar for each combination of terms, over a table of which terms it has.

    Bars start at 0; lines are the floors they must beat. A combination that was not measured has an
    empty place with "–".

    Args:
      results: combination -> the evaluations of its trainings (a list of one for one seed). A
        combination is written with plus signs, e.g. "L_inv + L_unif + L_equi".
      path: the PNG to write.
      metrics: one row of bars each; those that no combination has are left out.

    Raises:
      ValueError: when no combination has a finite number of any of the metrics.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figures 10 to 16.
    """
    spread_of = spreads_of(results, metrics)
    terms = list(dict.fromkeys(term for name in results for term in name.split(JOINT)))
    below = 0.25 * len(terms)
    figure = new_figure(max(5.0, 1.9 + 0.62 * len(results)), 1.75 * len(spread_of) + below + 0.4)
    ratios = [1.75] * len(spread_of) + [below]
    grid = figure.subplots(
        len(spread_of) + 1, 1, squeeze=False, sharex=True, height_ratios=ratios
    ).ravel()
    all_results = [result for group in results.values() for result in group]
    seen: set[str] = set()
    for axes, (metric, group) in zip(grid, spread_of.items(), strict=False):
        floors = floors_of(all_results, metric)
        seen |= set(floors)
        _ablation_bars(axes, metric, dict(zip(results, group, strict=True)), floors)
    _table(grid[-1], list(results), terms)
    key(figure, floor_looks(seen))
    save(figure, path)


def _ablation_bars(
    axes: "Axes", metric: str, spread_by_name: Mapping[str, Spread], floors: Mapping[str, float]
) -> None:
    styles = run_styles(spread_by_name)
    tops = [
        spread.value + (spread.sd if math.isfinite(spread.sd) else 0)
        for spread in spread_by_name.values()
    ]
    top = max(value for value in (*tops, *floors.values()) if math.isfinite(value))
    for x, (name, spread) in enumerate(spread_by_name.items()):
        if not spread.trainings:
            axes.text(x, 0, "–", ha="center", va="bottom", fontsize=TEXT, color=QUIET)
            continue
        axes.bar(x, spread.value, width=0.68, color=styles[name]["color"], alpha=0.6, zorder=2)
        spread_bars(axes, [x], [spread], INK)
        axes.text(x, max(tops[x], 0) + 0.02 * top, show(metric, spread.value), ha="center",
                  va="bottom", fontsize=SMALL, color=INK, zorder=5)  # fmt: skip
    for floor, level in floors.items():
        axes.axhline(level, zorder=3, **LINES[floor])
    axes.set_ylim(min(0.0, *(t for t in tops if math.isfinite(t))), 1.14 * top)
    value_axis(axes, metric, (), "y")  # bars start at 0: never logarithmic
    quiet(axes, describe(metric).title, note=what_bars_are(list(spread_by_name.values())) or " ")
    axes.tick_params(axis="x", length=0, labelbottom=False)


def _table(axes: "Axes", combinations: Sequence[str], terms: Sequence[str]) -> None:
    """Dots where a combination has a term, pale ones where it has not."""
    look: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6.5}
    for x, name in enumerate(combinations):
        has = [y for y, term in enumerate(terms) if term in name.split(JOINT)]
        axes.plot([x] * len(terms), range(len(terms)), color=RULE, **look)
        axes.plot([x] * len(has), has, color=INK, **{**look, "linestyle": "-"}, linewidth=1.4)
    axes.set(xlim=(-0.6, len(combinations) - 0.4), ylim=(len(terms) - 0.5, -0.5))
    axes.set_yticks(range(len(terms)), list(terms))
    axes.tick_params(length=0, labelsize=TEXT, labelcolor=INK, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


Point = tuple[tuple[float, float], tuple[float, float]]  # (mean, half interval) of either axis


def pareto(
    points: Mapping[str, Point],
    metrics: tuple[str, str],
    path: Path,
    ceilings: Collection[str] = (),
) -> Path:
    """Draw the points; those that no other one surpasses in both measures are filled.

    Ceilings are diamonds beside them: they surpass nothing.
    """
    figure = new_figure(6.0, 4.5)
    axes = figure.subplots()
    axes.margins(0.12)
    across, upward = (-1 if describe(metric).better == LOWER else 1 for metric in metrics)
    others = [point for name, point in points.items() if name not in ceilings]
    for name, ((x, dx), (y, dy)) in points.items():
        best = name not in ceilings and not any(
            across * (a - x) > 0 and upward * (b - y) > 0 for (a, _), (b, _) in others
        )
        axes.errorbar(
            [x], [y], xerr=[dx], yerr=[dy], fmt="D" if name in ceilings else "o", color=INK,
            ecolor=RULE, capsize=2, elinewidth=0.9, markerfacecolor=INK if best else "white",
            zorder=3,
        )  # fmt: skip
    several = any(math.isfinite(half) for point in points.values() for _, half in point)
    bars = "bars: 95 % intervals over trainings; " * several
    diamonds = "; diamond: a ceiling" * bool(ceilings)
    note = f"{bars}filled: none is better in both{diamonds}"
    quiet(axes, "Class against equivariance", note=note)
    value_axis(axes, metrics[0], (), "x")
    value_axis(axes, metrics[1], (), "y")
    across_title, upward_title = (f"{describe(m).title} {arrow(m)}" for m in metrics)
    axes.set_xlabel(across_title, fontsize=TEXT, color=QUIET)
    axes.set_ylabel(upward_title, fontsize=TEXT, color=QUIET)
    name_points(axes, {name: (x, y) for name, ((x, _), (y, _)) in points.items()})
    save(figure, path)
    return path
