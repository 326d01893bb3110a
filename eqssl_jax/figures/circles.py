"""How far augmentations turn embeddings: cosines as histograms, and points on the circle."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.augmentations import strip
from eqssl_jax.figures.style import (
    INK,
    QUIET,
    RULE,
    SMALL,
    TEXT,
    panels,
    quiet,
    run_styles,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Cosines = Float[np.ndarray, "augmentations images"]
BINS = np.linspace(-1, 1, 101)
LOWEST = 1e-8  # variances below are those of rounding in half precision
RINGS = 5  # augmentations on the rings of one panel


def cosine_histograms(values: Mapping[str, Cosines], path: str | Path) -> None:
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
    cosines = _checked(values)
    bins = _bins(cosines)
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
        count = f"{len(array)} augmentation{'s' if len(array) > 1 else ''}"
        quiet(axes, run, note=f"{_spread(array)}, {count}")
        axes.set_xlabel("cos(f(x), f(a(x)))", fontsize=TEXT, color=QUIET)
    for axes in grid:
        # Histograms stand on a floor above the ticks, the same height in every panel.
        axes.set(xlim=(bins[0], bins[-1] + (bins[1] - bins[0]) / 2), ylim=(-0.07 * top, 1.05 * top))
        axes.locator_params(axis="y", nbins=4)
        axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1.05 * top])
        _share_axis(axes)
    grid[0].set_ylabel("share of images", fontsize=TEXT, color=QUIET)
    save(figure, path)


def positive_histograms(cosines: Mapping[str, Cosines], path: str | Path) -> None:
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
    checked = _checked(cosines)
    bins = _bins(checked)
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
        _share_axis(axes)
        if axes.get_subplotspec().is_last_row():
            axes.set_xlabel("cosine of positive pairs", fontsize=TEXT, color=QUIET)
    grid[0].set_ylabel("share of pairs", fontsize=TEXT, color=QUIET)
    save(figure, path)


def circle_histograms(cosines: Mapping[str, Cosines], path: str | Path) -> None:
    """How far each augmentation turns the images: a ridge of cos(f(x), f(a(x))) for each.

    A rotation turns all images by one angle: its ridge is a needle, somewhere below 1. An
    invariance is a needle at 1; a broad ridge moves each image in its own way. Ridges are sorted by
    their mean and each is drawn to its own height. The last panel has their variances.

    Args:
      cosines: method -> [A, n], cosines in [−1, 1] of embeddings of (usually) 2 dimensions.
      path: the PNG to write.

    Raises:
      ValueError: without methods, for arrays of another rank, or for numbers that are not cosines.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figure 6.
    """
    checked = _checked(cosines)
    most = max(map(len, checked.values()))
    figure, grid = panels(len(checked) + 1, most=4, width=2.7, height=1.2 + 0.13 * most)
    styles = run_styles(checked)
    for axes, (name, array) in zip(grid, checked.items(), strict=False):
        _ridges(axes, array, styles[name]["color"])
        quiet(axes, name, note=_spread(array))
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("cos(f(x), f(a(x)))", fontsize=TEXT, color=QUIET)
    grid[0].set_ylabel("augmentations", fontsize=TEXT, color=QUIET)
    variances = {name: np.maximum(a.var(axis=1), LOWEST) for name, a in checked.items()}
    strip(grid[-1], "cosine_variance", variances, {})
    grid[-1].set_yticks(range(len(checked)), list(checked))
    quiet(grid[-1], "Variance of the cosine", note="a dot an augmentation; ← more alike")
    grid[-1].tick_params(axis="y", length=0, labelcolor=INK, labelsize=TEXT)
    save(figure, path)


def circle_points(circles: Mapping[str, Float[np.ndarray, "v n 2"]], path: str | Path) -> None:
    """Embeddings on the circle before (inner ring) and after augmentations (outer rings).

    A point keeps the colour of its place before, in order around the circle: a rotation is the same
    colour wheel, turned; an invariance the same wheel, not turned; mixed colours are neither. Each
    ring is one augmentation, the first five. A short arc is an encoder on its way to collapse: the
    mean of the unit embeddings before is then nearly of length 1; it is of length 0 where they
    are spread around the circle.

    Args:
      circles: method -> embeddings [1 + A, n, 2], any length, the images as they are first.
      path: the PNG to write.
    """
    angles = {name: np.arctan2(z[..., 1], z[..., 0]) for name, z in circles.items()}
    figure, grid = panels(len(angles), most=4, width=2.7, height=2.85)
    for axes, (name, angle) in zip(grid, angles.items(), strict=True):
        _rings(axes, angle[: RINGS + 1])
        crowded = np.hypot(np.cos(angle[0]).mean(), np.sin(angle[0]).mean())
        note = "outwards: f(a(x)), a ring an augmentation"
        quiet(axes, f"{name} (mean of length {crowded:.2f})", note=note)
    save(figure, path)


def places(angle: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The order of points around the circle, in [0, 1), whatever arc they fill.

    The cut lies opposite their mean, where there are fewest.

    >>> places(np.array([3.0, -3.0, 2.5])).tolist()  # an arc across the cut of the angle
    [0.3333333333333333, 0.6666666666666666, 0.0]
    """
    middle = np.arctan2(np.sin(angle).mean(), np.cos(angle).mean())
    around = np.angle(np.exp(1j * (angle - middle)))
    return np.argsort(np.argsort(around, kind="stable"), kind="stable") / len(angle)


def _ridges(axes: "Axes", array: np.ndarray, colour: Any) -> None:
    middle = (BINS[1:] + BINS[:-1]) / 2
    order = np.argsort(array.mean(axis=1), kind="stable")
    for y, row in enumerate(array[order]):
        share = np.histogram(np.clip(row, -1, 1), BINS)[0] / len(row)
        height = 1.7 * share / share.max()
        front = 3 + 2 * (len(array) - y)  # a lower ridge stands before those above it
        axes.fill_between(middle, y, y + height, step="mid", color=colour, alpha=0.55,
                          linewidth=0, zorder=front)  # fmt: skip
        axes.hlines(y, -1, 1, color=RULE, linewidth=0.5, zorder=front + 1)
    axes.set(xlim=(-1.04, 1.04), ylim=(-0.3, len(array) + 1.2), yticks=[])


def _rings(axes: "Axes", angles: Float[np.ndarray, "v n"]) -> None:
    colours = places(angles[0])
    for ring, angle in enumerate(angles):
        radius = 1.0 + 0.36 * ring + (0.12 if ring else 0.0)  # the inner ring stands apart
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        axes.scatter(x, y, s=9, c=colours, cmap="hsv", vmin=0, vmax=1, linewidths=0, alpha=0.7)
    axes.text(0, 0, "f(x)", ha="center", va="center", fontsize=SMALL, color=QUIET)
    outer = 1.25 + 0.36 * (len(angles) - 1)
    axes.set(xlim=(-outer, outer), ylim=(-outer, outer), aspect="equal", xticks=[], yticks=[])
    for side in ("bottom", "left"):
        axes.spines[side].set_visible(False)


def _checked(cosines: Mapping[str, Cosines]) -> dict[str, np.ndarray]:
    """The cosines by name as float64 [A, n].

    Raises:
      ValueError: without any, for another rank, no number, NaN, or a number that is no cosine.
    """
    if not cosines:
        raise ValueError("There are no cosines to draw: give at least one run.")
    checked = {name: np.asarray(array, np.float64) for name, array in cosines.items()}
    for name, array in checked.items():
        if array.ndim != 2 or array.size == 0:
            raise ValueError(
                f"The cosines of {name!r} must be [augmentations, images], found shape "
                f"{array.shape}."
            )
        if not np.abs(array).max() <= 1 + 1e-3:  # also refuses NaN
            raise ValueError(
                f"The cosines of {name!r} must lie in [-1, 1], found values from {array.min():.3g} "
                f"to {array.max():.3g}: divide inner products by the norms."
            )
    return checked


def _bins(cosines: Mapping[str, np.ndarray]) -> np.ndarray:
    """Ends of 60 bins from a tenth below the least of the cosines to 1."""
    low = min(float(array.min()) for array in cosines.values())
    return np.linspace(max(-1.0, math.floor(low * 10 - 1e-6) / 10), 1.0, 61)


def _share_axis(axes: "Axes") -> None:
    axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.3g}%")


def _spread(array: np.ndarray) -> str:
    """Mean, and the variance over images, averaged over augmentations."""
    return f"mean {array.mean():.3f}, variance {float(array.var(axis=1).mean()):.2g}"
