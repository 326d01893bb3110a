"""Embeddings in the plane: on the circle under augmentations, and along the turns of an input."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.augmentations import strip
from eqssl_jax.figures.curves import checked_cosines
from eqssl_jax.figures.style import (
    INK,
    QUIET,
    RULE,
    SMALL,
    TEXT,
    TITLE,
    new_figure,
    panels,
    quiet,
    run_styles,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


BINS = np.linspace(-1, 1, 101)
LOWEST = 1e-8  # variances below are those of rounding in half precision
RINGS = 5  # augmentations on the rings of one panel


def circle_histograms(
    cosines: Mapping[str, Float[np.ndarray, "augmentations images"]], path: str | Path
) -> None:
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
    checked = {name: checked_cosines(name, array) for name, array in cosines.items()}
    if not checked:
        raise ValueError("There are no cosines to draw: give at least one method.")
    most = max(map(len, checked.values()))
    figure, grid = panels(len(checked) + 1, most=4, width=2.7, height=1.2 + 0.13 * most)
    styles = run_styles(checked)
    for axes, (name, array) in zip(grid, checked.items(), strict=False):
        _ridges(axes, array, styles[name]["color"])
        spread = float(array.var(axis=1).mean())
        quiet(axes, name, note=f"mean {array.mean():.3f}, variance {spread:.2g}")
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
    ring is one augmentation, the first five. A short arc is an encoder on its way to collapse.

    Args:
      circles: method -> embeddings [1 + A, n, 2], any length, the images as they are first.
      path: the PNG to write.

    Raises:
      ValueError: without methods, for embeddings that are not [1 + A, n, 2] with A, n ≥ 1, or that
        hold NaN.
    """
    if not circles:
        raise ValueError("There are no circles to draw: give at least one method.")
    angles = {name: _angles(name, z) for name, z in circles.items()}
    figure, grid = panels(len(angles), most=4, width=2.7, height=2.85)
    for axes, (name, angle) in zip(grid, angles.items(), strict=True):
        _rings(axes, angle[: RINGS + 1])
        quiet(axes, name, note="outwards: f(a(x)), a ring an augmentation")
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


def _angles(name: str, z: Float[np.ndarray, "v n 2"]) -> Float[np.ndarray, "v n"]:
    z = np.asarray(z, np.float64)
    if z.ndim != 3 or z.shape[0] < 2 or not z.shape[1] or z.shape[2] != 2:
        raise ValueError(
            f"The embeddings of {name!r} must be [1 + augmentations, images, 2], found shape "
            f"{z.shape}: train with a projector that ends in 2."
        )
    if not np.isfinite(z).all():
        raise ValueError(f"The embeddings of {name!r} hold NaN or infinite values.")
    return np.arctan2(z[..., 1], z[..., 0])


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


AXES = ("x", "y", "z")


def trajectories(rows: Mapping[str, Float[np.ndarray, "3 s 2"]], path: str | Path) -> None:
    """Small multiples: a row for each cloud (or run), a column for each axis it is turned around.

    A panel shows S points of one whole turn on a plane, joined to a closed curve; the colour, on a
    cyclic scale, is the angle, and the ring the start. The panels of one row share their scale and
    their plane; rows do not: the number at the left of each is the larger extent of its curves.

    Args:
      rows: name -> curves around x, y and z.
      path: the PNG to write.

    Raises:
      ValueError: without curves, or for arrays of another shape or that are not finite.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figures 3 and 17-20.
    """
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    checked = {name: _checked(name, curves) for name, curves in rows.items()}
    if not checked:
        raise ValueError("There are no trajectories to draw: give at least one row of curves.")
    figure = new_figure(6.0, 1.85 * len(checked) + 0.3)
    grid = figure.subplots(len(checked), 3, squeeze=False)
    for line, (name, curves) in zip(grid, checked.items(), strict=True):
        low, high = curves.min(axis=(0, 1)), curves.max(axis=(0, 1))
        extent = float((high - low).max())
        half = 0.56 * extent if extent > 0 else 1.0
        for axes, curve, around in zip(line, curves, AXES, strict=True):
            closed = np.concatenate([curve, curve[:1]])
            pieces = np.stack([closed[:-1], closed[1:]], axis=1)
            turn = np.arange(len(curve)) / len(curve)
            colours = colormaps["twilight_shifted"](turn)
            axes.add_collection(LineCollection(list(pieces), colors=colours, linewidths=1.2))
            axes.scatter(*curve.T, s=5, c=colours, linewidths=0, zorder=2)
            axes.scatter(*curve[0], s=34, facecolors="none", edgecolors=INK, linewidths=1, zorder=3)
            middle = (low + high) / 2
            axes.set(
                xlim=(middle[0] - half, middle[0] + half),
                ylim=(middle[1] - half, middle[1] + half),
                xticks=[],
                yticks=[],
                aspect="equal",
            )
            for side in axes.spines.values():
                side.set_visible(False)
            if axes.get_subplotspec().is_first_row():
                axes.set_title(f"around {around}", fontsize=TITLE, color=INK)
        line[0].set_ylabel(f"{name}\nextent {extent:.2g}", fontsize=TEXT, color=INK)
    note = "A ring marks the start; the colour is the angle, from 0 to a whole turn."
    figure.supxlabel(note, fontsize=SMALL, color=QUIET)
    save(figure, path)


def _checked(name: str, curves: np.ndarray) -> np.ndarray:
    curves = np.asarray(curves, np.float64)
    if curves.ndim != 3 or curves.shape[0] != 3 or curves.shape[2] != 2 or curves.shape[1] < 3:
        raise ValueError(
            f"The trajectories of {name!r} must be [3 axes, at least 3 steps, 2], found shape "
            f"{curves.shape}."
        )
    if not np.isfinite(curves).all():
        raise ValueError(f"The trajectories of {name!r} are not finite.")
    return curves
