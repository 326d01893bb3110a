"""The course of training: recorded metrics, and measures of evaluated steps, a panel a metric."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eqssl_jax.figures.style import (
    QUIET,
    TEXT,
    key,
    panels,
    quiet,
    run_styles,
    save,
    spans_decades,
    spread_bars,
    value_axis,
)
from eqssl_jax.tabular.metrics import describe
from eqssl_jax.tabular.seeds import Result, Spread, over_seeds, what_bars_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
ByStep = Mapping[int, Sequence[Result]]
LINE: Mapping[str, Any] = {"linewidth": 1.4, "markersize": 4.5}
SMOOTH_ABOVE = 150  # points; longer curves are drawn faint, with their running mean over them


def training_curves(runs: Mapping[str, Rows], path: str | Path) -> None:
    """One panel for each recorded metric, all runs in it; runs need not record the same metrics.

    Curves of more than 150 points are drawn faint, with a running mean over 2 % of them on top.
    The axis is logarithmic where all values are positive and span more than two decades.

    Args:
      runs: run name -> the lines of its metrics.jsonl, dicts with "step" and numbers.
      path: the PNG to write.

    Raises:
      ValueError: when no run has recorded a finite number.
    """
    names = dict.fromkeys(n for rows in runs.values() for row in rows for n in row if n != "step")
    series = {name: {run: series_of(rows, name) for run, rows in runs.items()} for name in names}
    series = {
        name: by_run for name, by_run in series.items() if any(len(x) for x, _ in by_run.values())
    }
    if not series:
        raise ValueError(
            f"There are no training curves to draw: none of the runs {list(runs)} has recorded a "
            f"finite number. Train first, or check the workdir's metrics.jsonl."
        )
    styles = run_styles(runs)
    last_step = max(
        1.0, *(float(x.max(initial=0)) for by_run in series.values() for x, _ in by_run.values())
    )
    figure, grid = panels(len(series), most=3, width=3.1, height=2.1)
    for axes, (name, by_run) in zip(grid, series.items(), strict=True):
        for run, (steps, values) in by_run.items():
            _curve(axes, steps, values, styles[run])
        if spans_decades(value for _, values in by_run.values() for value in values):
            axes.set_yscale("log")
        else:
            axes.locator_params(axis="y", nbins=5)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlim(-0.02 * last_step, 1.02 * last_step)  # the same course in every panel
        quiet(axes, name.replace("_", " ").replace("/", ": "))
        if axes.get_subplotspec().is_last_row():
            axes.set_xlabel("step", fontsize=TEXT, color=QUIET)
    key(figure, {run: {"linewidth": 1.6, **style} for run, style in styles.items()})
    save(figure, path)


def series_of(rows: Rows, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one metric where it was recorded as a finite number."""
    pairs = [
        (row["step"], row[name])
        for row in rows
        if isinstance(row.get(name), int | float) and math.isfinite(row[name])
    ]
    steps, values = zip(*pairs, strict=True) if pairs else ((), ())
    return np.asarray(steps, np.float64), np.asarray(values, np.float64)


def _curve(axes: "Axes", steps: np.ndarray, values: np.ndarray, style: Mapping[str, Any]) -> None:
    """A line; for a long and noisy one a faint line with its running mean above it."""
    if len(values) == 1:  # a single point has no line
        axes.plot(steps, values, marker="o", markersize=3.5, **style)
    elif len(values) <= SMOOTH_ABOVE:
        axes.plot(steps, values, linewidth=1.4, **style)
    else:
        axes.plot(steps, values, linewidth=0.8, alpha=0.3, zorder=1, **style)
        axes.plot(steps, running_mean(values), linewidth=1.4, zorder=2, **style)


def running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over 2 % of the points, centred; over those that there are at both ends."""
    half = max(2, len(values) // 100)
    total = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (total[last] - total[first]) / (last - first)


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
        spread_axis(axes, metric, drawn)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("step", fontsize=TEXT, color=QUIET)
        note = (metric == "gamma" and _left_out(runs)) or what_bars_are(drawn)
        quiet(axes, describe(metric).title, note=note or " ")
    look = {"linewidth": 1.6, "marker": "o", "markersize": 4}
    key(figure, {run: {**look, **style} for run, style in styles.items()})
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
    axes.plot(x, y, marker="o", **{**LINE, **style})
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


def spread_axis(axes: "Axes", metric: str, drawn: Sequence[Spread]) -> None:
    """The upright axis of numbers with their spreads; from 0 where none of them is below."""
    value_axis(axes, metric, [spread.value for spread in drawn], "y")
    least = min(spread.value for spread in drawn if spread.trainings)
    if axes.get_yscale() == "linear" and axes.get_ylim()[0] < 0 <= least:
        axes.set_ylim(bottom=0)  # a bar below 0 says that the spread is skewed, not the measure
