"""Runs beside each other, beside what they must beat, and by the terms of their loss."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.curves import checked_cosines
from eqssl_jax.figures.style import (
    INK,
    QUIET,
    RULE,
    SMALL,
    TEXT,
    key,
    new_figure,
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
    show,
)
from eqssl_jax.tabular.seeds import Spread, over_seeds, what_bars_are

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
    spreads = {
        m: by_encoder
        for m, by_encoder in spreads.items()
        if any(spread.trainings for spread in by_encoder)
    }
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
    from matplotlib.lines import Line2D

    spread_of = {
        m: [over_seeds(group, "trained", m) for group in results.values()] for m in metrics
    }
    spread_of = {
        m: group for m, group in spread_of.items() if any(spread.trainings for spread in group)
    }
    if not spread_of:
        raise ValueError(
            f"No combination of {list(results)} has a finite number of {', '.join(metrics)}."
        )
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
        spreads = {floor: over_seeds(all_results, floor, metric) for floor in LINES}
        floors = {floor: spread.value for floor, spread in spreads.items() if spread.trainings}
        seen |= set(floors)
        _ablation_bars(axes, metric, dict(zip(results, group, strict=True)), floors)
    _table(grid[-1], list(results), terms)
    names = [floor for floor in LINES if floor in seen]
    if names:
        key(figure, [Line2D([], [], **LINES[f]) for f in names], [TITLES[f] for f in names])
    save(figure, path)


def positive_histograms(
    cosines: Mapping[str, Float[np.ndarray, "pairs images"]], path: str | Path
) -> None:
    """How alike two augmentations of one image are: a histogram of cos(f(a(x)), f(a'(x))) by run.

    All pairs of augmentations together; the tick is the mean. All mass at 1 is a collapse, or a
    perfect invariance: the bars of `ablation_bars` tell the two apart.

    Args:
      cosines: run or combination -> cosines in [−1, 1], [P, n].
      path: the PNG to write.

    Raises:
      ValueError: without runs, for arrays of another rank, or for numbers that are not cosines.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figures 10 to 16.
    """
    checked = {name: checked_cosines(name, array) for name, array in cosines.items()}
    if not checked:
        raise ValueError("There are no cosines to draw: give at least one run.")
    low = min(float(array.min()) for array in checked.values())
    bins = np.linspace(max(-1.0, math.floor(low * 10 - 1e-6) / 10), 1.0, 61)
    figure, grid = panels(len(checked), most=4, width=2.5, height=1.8)
    for axes, (name, style) in zip(grid, run_styles(checked).items(), strict=True):
        values = np.clip(checked[name].ravel(), -1, 1)
        share = np.histogram(values, bins)[0] / len(values)
        axes.stairs(share, bins, fill=True, color=style["color"], alpha=0.55)
        mean = float(values.mean())
        below = axes.get_xaxis_transform()  # x in cosines, y in parts of the panel
        axes.vlines(mean, 0, 1, color=INK, linewidth=0.9, linestyle=":", transform=below)
        quiet(axes, name, note=f"mean {mean:.3f}, sd {values.std():.2g}")
        axes.set(xlim=(bins[0], 1 + bins[1] - bins[0]), ylim=(0, 1.08 * float(share.max())))
        axes.locator_params(axis="y", nbins=3)
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.3g}%")
        if axes.get_subplotspec().is_last_row():
            axes.set_xlabel("cosine of positive pairs", fontsize=TEXT, color=QUIET)
    grid[0].set_ylabel("share of pairs", fontsize=TEXT, color=QUIET)
    save(figure, path)


def _ablation_bars(
    axes: "Axes", metric: str, spread_by_name: Mapping[str, Spread], floors: Mapping[str, float]
) -> None:
    from matplotlib.ticker import PercentFormatter

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
    axes.locator_params(axis="y", nbins=4)
    if describe(metric).format.endswith("%"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
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
