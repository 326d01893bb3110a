"""The course of training, and distributions of cosines: one panel a metric or a run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.style import (
    QUIET,
    TEXT,
    key,
    panels,
    quiet,
    run_styles,
    save,
    spans_decades,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
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
    from matplotlib.lines import Line2D

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
    lines = [Line2D([], [], linewidth=1.6, **style) for style in styles.values()]
    key(figure, lines, list(styles))
    save(figure, path)


def cosine_histograms(
    values: Mapping[str, Float[np.ndarray, "augmentations images"]], path: str | Path
) -> None:
    """How alike an image and its augmentation are: histograms of cos(f(x), f(a(x))), by run.

    A thin line is one augmentation a over all images; the tick below it is its mean. Narrow lines
    at different places are what a rotation by an angle of its own for each augmentation looks like.
    The title gives the variance over images, averaged over augmentations.

    Args:
      values: run name -> cosines in [−1, 1], [A, N].
      path: the PNG to write.

    Raises:
      ValueError: without runs, for arrays of another rank, or for numbers that are not cosines.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figure 6.
    """
    cosines = {run: checked_cosines(run, array) for run, array in values.items()}
    if not cosines:
        raise ValueError("There are no cosines to draw: give at least one run.")
    low = min(float(array.min()) for array in cosines.values())
    bins = np.linspace(max(-1.0, math.floor(low * 10 - 1e-6) / 10), 1.0, 61)
    figure, grid = panels(len(cosines), most=3, width=3.4, height=2.5)
    top = 0.0
    for axes, (run, style) in zip(grid, run_styles(cosines).items(), strict=True):
        array, colour = cosines[run], style["color"]
        faint = max(0.3, min(0.8, 10 / len(array)))
        for row in array:
            share = np.histogram(np.clip(row, -1, 1), bins)[0] / len(row)
            first, last = np.flatnonzero(share)[[0, -1]]  # no line where there are no images
            part = share[first : last + 1], bins[first : last + 2]
            axes.stairs(*part, color=colour, alpha=faint, linewidth=0.9)
            top = max(top, float(share.max()))
        below = axes.get_xaxis_transform()  # x in cosines, y in parts of the panel
        means = array.mean(axis=1)
        axes.vlines(means, 0.0, 0.045, color=colour, linewidth=1.1, transform=below)
        spread = float(array.var(axis=1).mean())
        quiet(axes, run, note=f"mean {array.mean():.3f}, variance {spread:.2g}, {_count(array)}")
        axes.set_xlabel("cos(f(x), f(a(x)))", fontsize=TEXT, color=QUIET)
    for axes in grid:
        # Histograms stand on a floor above the ticks, the same height in every panel.
        axes.set(xlim=(bins[0], bins[-1] + (bins[1] - bins[0]) / 2), ylim=(-0.07 * top, 1.05 * top))
        axes.locator_params(axis="y", nbins=4)
        axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1.05 * top])
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.3g}%")
    grid[0].set_ylabel("share of images", fontsize=TEXT, color=QUIET)
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


def checked_cosines(run: str, array: Float[np.ndarray, "a n"]) -> np.ndarray:
    """The cosines as float64 [A, n], not empty and in [−1, 1].

    Raises:
      ValueError: for another rank, no number, NaN, or a number that is no cosine.
    """
    array = np.asarray(array, np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"The cosines of {run!r} must be [augmentations, images], found shape {array.shape}."
        )
    if not np.abs(array).max() <= 1 + 1e-3:  # also refuses NaN
        raise ValueError(
            f"The cosines of {run!r} must lie in [-1, 1], found values from {array.min():.3g} to "
            f"{array.max():.3g}: divide inner products by the norms."
        )
    return array


def _count(array: np.ndarray) -> str:
    return f"{len(array)} augmentation{'s' if len(array) > 1 else ''}"
