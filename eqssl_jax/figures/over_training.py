"""Measures over training and over the weight of a loss, from several evaluations of each run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqssl_jax.figures.floors import LINES
from eqssl_jax.figures.style import (
    PALETTE,
    QUIET,
    TEXT,
    key,
    panels,
    quiet,
    run_styles,
    save,
    spans_decades,
    spread_bars,
)
from eqssl_jax.tabular.metrics import TITLES, describe
from eqssl_jax.tabular.seeds import Result, Spread, over_seeds, what_bars_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ByStep = Mapping[int, Sequence[Result]]
BEST_PUBLISHED = (0.01, 0.1)
"""Where the paper finds the best λ: CIFAR-10, ResNet-50 (Gupta et al. 2024, Figure 7)."""
_SHADE = "#e9eef4"
_LINE: Mapping[str, Any] = {"linewidth": 1.4, "markersize": 4.5}


def measures_over_training(
    runs: Mapping[str, ByStep],
    path: str | Path,
    *,
    metrics: Sequence[str] = ("gamma", "invariance_error"),
) -> None:
    """Measures of the encoder at the steps that were evaluated, one panel a metric, all runs in it.

    The hollow point at step 0 is the encoder before training (the "random" floor of the evaluation,
    the run's own initial weights). Bars are ± 1 sd over trainings, or pale, of one training, over
    augmentations. γ is 0/0 for what does not move: its panel says how many pairs were left out.

    Args:
      runs: run name -> step -> the evaluations of its trainings (a list of one for one seed).
      path: the PNG to write.
      metrics: which panels, in this order.

    Raises:
      ValueError: when no run has a finite number of any of the metrics.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figure 8 (γ, and the invariance error beside
    it).
    """
    from matplotlib.lines import Line2D

    series = {m: {run: _over_steps(by_run, m) for run, by_run in runs.items()} for m in metrics}
    series = {m: by_run for m, by_run in series.items() if any(any(s) for s in by_run.values())}
    if not series:
        raise ValueError(
            f"No evaluation of {list(runs)} has a finite number of {', '.join(metrics)}: evaluate "
            f"several steps of each run (python -m eqssl_jax.eval --step=all)."
        )
    styles = run_styles(runs)
    figure, grid = panels(len(series), most=3, width=3.4, height=2.5)
    for axes, (metric, by_run) in zip(grid, series.items(), strict=True):
        drawn: list[Spread] = []
        for run, steps in by_run.items():
            drawn += _course(axes, steps, styles[run])
        _value_axis(axes, metric, drawn)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("step", fontsize=TEXT, color=QUIET)
        note = _left_out(runs) if metric == "gamma" else what_bars_are(drawn)
        quiet(axes, describe(metric).title, note=note or " ")
    lines = [Line2D([], [], linewidth=1.6, marker="o", markersize=4, **s) for s in styles.values()]
    key(figure, lines, list(styles))
    save(figure, path)


def weight_sweep(
    results: Mapping[float, Sequence[Result]],
    path: str | Path,
    *,
    metrics: Sequence[str] = ("probe_top1", "knn", "gram_error"),
    published: tuple[float, float] | None = BEST_PUBLISHED,
    weight: str = "λ",
) -> None:
    """Measures against the weight of a loss, on a logarithmic axis where 0 has a place of its own.

    Weight 0 stands left of a break in the axis, and no line leads to it: on a logarithm it is
    infinitely far. The shaded range is where the paper found the best weight on its own data and
    encoder, a landmark and not a claim about these runs.

    Args:
      results: weight ≥ 0 -> the evaluations of its trainings (a list of one for one seed).
      path: the PNG to write.
      metrics: which panels, in this order.
      published: the shaded range; None for none.
      weight: how the axis calls it.

    Raises:
      ValueError: without a positive weight, for a negative one, or when no run has a finite number.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figure 7.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    weights = sorted(float(w) for w in results)
    if not weights or not (weights[0] >= 0 and math.isfinite(weights[-1]) and weights[-1] > 0):
        raise ValueError(f"A sweep needs weights ≥ 0 with a positive one, found {weights}.")
    by_weight = {float(w): group for w, group in results.items()}
    spread_of = {m: [over_seeds(by_weight[w], "trained", m) for w in weights] for m in metrics}
    spread_of = {
        m: group for m, group in spread_of.items() if any(spread.trainings for spread in group)
    }
    if not spread_of:
        raise ValueError(f"No run of the sweep has a finite number of {', '.join(metrics)}.")
    figure, grid = panels(len(spread_of), most=3, width=3.2, height=2.5)
    seen: set[str] = set()
    for axes, (metric, group) in zip(grid, spread_of.items(), strict=True):
        floors = _floors(list(by_weight.values()), metric)
        seen |= set(floors)
        _sweep(axes, weights, group, published)
        for floor, level in floors.items():
            axes.axhline(level, zorder=1, **LINES[floor])
        _value_axis(axes, metric, [*group, *(Spread(v, math.nan, 1) for v in floors.values())])
        axes.set_xlabel(weight, fontsize=TEXT, color=QUIET)
        quiet(axes, describe(metric).title, note=what_bars_are(group) or " ")
    names = [floor for floor in LINES if floor in seen]
    handles: list[Any] = [Line2D([], [], **LINES[floor]) for floor in names]
    names = [TITLES[floor] for floor in names]
    if published:
        handles.append(Patch(color=_SHADE))
        names.append("best in the paper (CIFAR-10, ResNet-50)")
    if handles:
        key(figure, handles, names)
    save(figure, path)


def _over_steps(by_step: ByStep, metric: str) -> list[tuple[int, Spread]]:
    """(step, number) where there is one; step 0 is the untrained encoder."""
    steps = sorted(by_step, key=int)
    spreads = [(int(step), over_seeds(by_step[step], "trained", metric)) for step in steps]
    if steps and int(steps[0]) > 0:
        spreads.insert(0, (0, over_seeds(by_step[steps[0]], "random", metric)))
    return [(step, spread) for step, spread in spreads if spread.trainings]


def _course(
    axes: "Axes", steps: Sequence[tuple[int, Spread]], style: Mapping[str, Any]
) -> list[Spread]:
    if not steps:
        return []
    x = [step for step, _ in steps]
    y = [spread.value for _, spread in steps]
    axes.plot(x, y, marker="o", **{**_LINE, **style})
    spread_bars(axes, x, [spread for _, spread in steps], style["color"])
    axes.plot(x[:1], y[:1], "o", color=style["color"], markersize=4.5, zorder=4,
              markerfacecolor="white" if x[0] == 0 else style["color"])  # fmt: skip
    return [spread for _, spread in steps]


def _left_out(runs: Mapping[str, ByStep]) -> str:
    """The largest share of pairs that γ left out."""
    shares = []
    for by_step in runs.values():
        for results in by_step.values():
            for result in results:
                dropped = result.get("encoders", {}).get("trained", {}).get("gamma_dropped") or {}
                if dropped.get("n"):
                    shares.append(dropped["value"] / dropped["n"])
    if not shares:
        return ""
    return f"← lower is better; at most {max(shares):.2g} of pairs left out"


def _floors(results: Sequence[Sequence[Result]], metric: str) -> dict[str, float]:
    """Each floor's mean over all trainings of the sweep."""
    all_results = [result for group in results for result in group]
    spreads = {floor: over_seeds(all_results, floor, metric) for floor in LINES}
    return {floor: spread.value for floor, spread in spreads.items() if spread.trainings}


def _sweep(
    axes: "Axes",
    weights: Sequence[float],
    spreads: Sequence[Spread],
    published: tuple[float, float] | None,
) -> None:
    positive = [w for w in weights if w > 0]
    axes.set_xscale("log")
    # A weight of 0 stands half a decade or more before the first, behind a break.
    zero = positive[0] / 10 ** max(0.5, 0.25 * math.log10(positive[-1] / positive[0]))
    look = {**_LINE, "color": PALETTE[0]}
    for at, fmt in ((positive, "o-"), ([0.0], "o")):
        rows = [(w, spread) for w, spread in zip(weights, spreads, strict=True)
                if w in at and spread.trainings]  # fmt: skip
        x = [w or zero for w, _ in rows]
        axes.plot(x, [spread.value for _, spread in rows], fmt, zorder=3, **look)
        spread_bars(axes, x, [spread for _, spread in rows], PALETTE[0])
    gap = math.sqrt(zero * positive[0])
    if published and published[1] > gap:  # left of the break the axis has no scale
        low = max(published[0], gap) if 0.0 in weights else published[0]
        axes.axvspan(low, published[1], color=_SHADE, zorder=0, linewidth=0)
    places = {w or zero: f"{w:g}" for w in weights}
    axes.set_xticks(list(places), list(places.values()))
    axes.set_xticks([], minor=True)
    pad = 10**0.2
    axes.set_xlim(min(places) / pad, max(places) * pad)
    if 0.0 in weights:
        axes.text(gap, 0, "//", ha="center", va="center", color=QUIET, fontsize=TEXT, zorder=5,
                  transform=axes.get_xaxis_transform(), backgroundcolor="white")  # fmt: skip


def _value_axis(axes: "Axes", metric: str, drawn: Sequence[Spread]) -> None:
    from matplotlib.ticker import NullFormatter, PercentFormatter

    if spans_decades(spread.value for spread in drawn):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.locator_params(axis="y", nbins=5)
        if axes.get_ylim()[0] < 0 <= min(spread.value for spread in drawn if spread.trainings):
            axes.set_ylim(bottom=0)  # a bar below 0 says that the spread is skewed, not the measure
    if describe(metric).format.endswith("%"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
