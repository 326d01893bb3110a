"""Which terms of a loss are needed: combinations beside each other."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.curves import checked_cosines
from eqssl_jax.figures.floors import LINES
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
    spread_bars,
)
from eqssl_jax.tabular.metrics import TITLES, describe, show
from eqssl_jax.tabular.seeds import Result, Spread, over_seeds, what_bars_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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

    found = {m: [over_seeds(of, "trained", m) for of in results.values()] for m in metrics}
    found = {m: of for m, of in found.items() if any(one.trainings for one in of)}
    if not found:
        raise ValueError(
            f"No combination of {list(results)} has a finite number of {', '.join(metrics)}."
        )
    terms = list(dict.fromkeys(term for name in results for term in name.split(JOINT)))
    below = 0.25 * len(terms)
    figure = new_figure(max(5.0, 1.9 + 0.62 * len(results)), 1.75 * len(found) + below + 0.4)
    ratios = [1.75] * len(found) + [below]
    grid = figure.subplots(
        len(found) + 1, 1, squeeze=False, sharex=True, height_ratios=ratios
    ).ravel()
    every = [result for of in results.values() for result in of]
    seen: set[str] = set()
    for axes, (metric, of) in zip(grid, found.items(), strict=False):
        spreads = {floor: over_seeds(every, floor, metric) for floor in LINES}
        floors = {floor: one.value for floor, one in spreads.items() if one.trainings}
        seen |= set(floors)
        _bars(axes, metric, dict(zip(results, of, strict=True)), floors)
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


def _bars(
    axes: "Axes", metric: str, found: Mapping[str, Spread], floors: Mapping[str, float]
) -> None:
    from matplotlib.ticker import PercentFormatter

    styles = run_styles(found)
    tops = [one.value + (one.sd if math.isfinite(one.sd) else 0) for one in found.values()]
    top = max(value for value in (*tops, *floors.values()) if math.isfinite(value))
    for x, (name, one) in enumerate(found.items()):
        if not one.trainings:
            axes.text(x, 0, "–", ha="center", va="bottom", fontsize=TEXT, color=QUIET)
            continue
        axes.bar(x, one.value, width=0.68, color=styles[name]["color"], alpha=0.6, zorder=2)
        spread_bars(axes, [x], [one], INK)
        axes.text(x, max(tops[x], 0) + 0.02 * top, show(metric, one.value), ha="center",
                  va="bottom", fontsize=SMALL, color=INK, zorder=5)  # fmt: skip
    for floor, level in floors.items():
        axes.axhline(level, zorder=3, **LINES[floor])
    axes.set_ylim(min(0.0, *(t for t in tops if math.isfinite(t))), 1.14 * top)
    axes.locator_params(axis="y", nbins=4)
    if describe(metric).format.endswith("%"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    quiet(axes, describe(metric).title, note=what_bars_are(list(found.values())) or " ")
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
