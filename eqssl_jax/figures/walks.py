"""One input while it turns, as encoders see it: an image above what they are judged by; clouds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.floors import panel
from eqssl_jax.figures.style import (
    INK,
    QUIET,
    RULE,
    SMALL,
    TEXT,
    TITLE,
    floor_looks,
    new_figure,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Walk = Float[np.ndarray, "v n d"]  # the clean image, then one draw of all other parts each

PANELS = 3  # beside each other: titles are long

SENTENCES = {  # what a number of the short table is, by the start of its name
    "knn": "near images show the same class",
    "probe_top1": "a linear map names the class",
    "gamma": "distances between images change\nwhen all are augmented alike",
    "rotation_residual": "share of the change that no\nrotation of the sphere explains",
    "invariance_error": "how far an augmented image moves",
    "effective_rank": "directions that embeddings use",
    "order_accuracy_amid": "more of it is further away, while\nall else changes, too (½: chance)",
    "magnitude_r2": "how much of it there was\ncan be read off linearly",
    "r2_": "can be read off linearly",
}


class Way(NamedTuple):
    """What is walked: images [V, h, w, c], the value of the part at each [V], and its name."""

    images: Float[np.ndarray, "v h w c"]
    value: Float[np.ndarray, " v"]
    part: str

    def labels(self) -> list[str]:
        if self.part == "rotate":
            return [f"{v:+.0f}°" for v in np.degrees(self.value)]
        return [f"{v:+.2f}" for v in self.value]

    def colours(self) -> np.ndarray:
        from matplotlib import colormaps

        return colormaps["plasma"](np.linspace(0, 0.9, len(self.value)))


def lead(
    results: Mapping[str, Mapping[str, Any]],
    walks: Mapping[str, Walk],
    way: Way,
    path: str | Path,
    *,
    metrics: Sequence[str],
    notes: Mapping[str, str] = {},
) -> None:
    """Where one image goes while it turns, by encoder, above a panel for each metric with floors.

    The planes are those in which the means over draws of each encoder move most, all at one scale:
    chords of the unit sphere. Small dots are one draw of all other parts each, large ones their
    means; the colour is the angle. Below, the mean distance from the first angle, other parts drawn
    anew for both.

    Args:
      results: run -> evaluation result.
      walks: encoder -> unit embeddings [V, 1 + S, D], the clean image first.
      way: the images.
      path: the PNG to write.
      metrics: panels, in this order.
      notes: a sentence below the plane of an encoder.
    """
    from matplotlib.lines import Line2D

    rows = -(-len(metrics) // PANELS)
    below = (1.1 + 0.26 * len(results)) * rows + 0.3
    figure = new_figure(2.65 * max(len(walks), 4), 5.6 + below)
    parts: Any = figure.subfigures(2, 1, height_ratios=(5.6, below))
    top, bottom = parts
    _draw_walks(top, walks, way, notes)
    grid = bottom.subplots(rows, -(-len(metrics) // rows), squeeze=False).ravel()
    seen: set[str] = set()
    for axes, name in zip(grid, metrics, strict=False):
        seen |= panel(axes, name, results, note=_sentence(name))
    for axes in grid[len(metrics) :]:
        axes.remove()
    looks = floor_looks(seen)
    bottom.legend([Line2D([], [], **look) for look in looks.values()], list(looks),
                  loc="outside lower left", ncols=4, frameon=False, fontsize=TEXT,
                  labelcolor=INK)  # fmt: skip
    save(figure, path)


def plane(walk: Walk) -> Float[np.ndarray, "v n 2"]:
    """The walk on the plane in which its means over draws move most, centred on their mean."""
    z = np.asarray(walk, np.float64)
    means = z[:, 1:].mean(axis=1)
    middle = means.mean(axis=0)
    points = (z - middle) @ np.linalg.svd(means - middle, full_matrices=False)[2][:2].T
    middle_rung, ends = points[len(z) // 2, 1:, 1].mean(), points[[0, -1], 1:, 0].mean(axis=1)
    return points * np.array([np.sign(ends[1] - ends[0]) or 1.0, np.sign(middle_rung) or 1.0])


def distances(walk: Walk) -> Float[np.ndarray, " v"]:
    """Mean distance from the first rung, the draws of all other parts never the same."""
    z = np.asarray(walk, np.float64)[:, 1:]
    gaps = np.linalg.norm(z[:, :, None] - z[0][None, None], axis=-1)  # [V, S, S]
    return gaps[:, ~np.eye(z.shape[1], dtype=bool)].mean(axis=1)


def _draw_walks(figure: Any, walks: Mapping[str, Walk], way: Way, notes: Mapping[str, str]) -> None:
    grid = figure.add_gridspec(3, len(walks), height_ratios=(0.8, 2.2, 0.85))
    _strip(figure.add_subplot(grid[0, :]), way)
    half = max(float(np.quantile(np.abs(plane(walk)[:, 1:]), 0.99)) for walk in walks.values())
    far = {name: distances(walk) for name, walk in walks.items()}
    low, high = min(map(np.min, far.values())), max(map(np.max, far.values()))
    for column, (name, walk) in enumerate(walks.items()):
        axes = figure.add_subplot(grid[1, column])
        _plane(axes, walk, way, 1.05 * half)
        axes.set_title(name, loc="left", fontsize=TITLE + 2, color=INK, fontweight="bold")
        axes.set_xlabel(notes.get(name, ""), fontsize=TEXT, color=INK, loc="left")
        axes = figure.add_subplot(grid[2, column])
        axes.plot(way.value, far[name], color=QUIET, linewidth=1.1)
        axes.scatter(way.value, far[name], c=way.colours(), s=26, zorder=3, linewidths=0)
        axes.set_ylim(low - 0.06 * (high - low), high + 0.08 * (high - low))
        _quiet(axes, way)
        if column == 0:
            axes.set_ylabel("distance from\nthe first angle", fontsize=SMALL, color=QUIET)
        else:
            axes.tick_params(labelleft=False)


def _strip(axes: "Axes", way: Way) -> None:
    """The images on the way, each above the colour of its value."""
    for rung, (image, label) in enumerate(zip(way.images, way.labels(), strict=True)):
        left = rung * 1.18
        axes.imshow(image, extent=(left, left + 1, 0, 1), interpolation="nearest")
        bar: dict[str, Any] = {
            "color": way.colours()[rung],
            "linewidth": 4,
            "solid_capstyle": "butt",
        }
        axes.plot([left, left + 1], [-0.1, -0.1], **bar)
        axes.text(left + 0.5, -0.22, label, ha="center", va="top", fontsize=SMALL, color=QUIET)
    axes.set(xlim=(-0.05, len(way.images) * 1.18), ylim=(-0.5, 1.05), aspect="equal")
    axes.axis("off")


def _plane(axes: "Axes", walk: Walk, way: Way, half: float) -> None:
    points = plane(walk)[:, 1:]
    for rung, colour in enumerate(way.colours()):
        x, y = points[rung].T
        axes.scatter(x, y, s=7, color=colour, alpha=0.55, linewidths=0)
    x, y = points.mean(axis=1).T
    axes.plot(x, y, color=INK, linewidth=1.1, zorder=3)
    axes.scatter(x, y, s=44, c=way.colours(), edgecolors="white", linewidths=0.9, zorder=4)
    axes.set(xlim=(-half, half), ylim=(-half, half), xticks=[], yticks=[], aspect="equal")
    for side in axes.spines.values():
        side.set_color(RULE)


def _quiet(axes: "Axes", way: Way) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(RULE)
    places = [0, len(way.value) // 2, len(way.value) - 1]
    axes.set_xticks(way.value[places], [way.labels()[place] for place in places])
    axes.tick_params(labelsize=SMALL, color=RULE, labelcolor=QUIET)


def _sentence(metric: str) -> str:
    return next((text for start, text in SENTENCES.items() if metric.startswith(start)), "")


def trajectories(rows: Mapping[str, Float[np.ndarray, "3 s 2"]], path: str | Path) -> None:
    """Small multiples: a row for each cloud (or run), a column for each axis it is turned around.

    A panel shows S points of one whole turn on a plane, joined to a closed curve; the colour, on a
    cyclic scale, is the angle, and the ring the start. The panels of one row share their scale and
    their plane; rows do not: the number at the left of each is the larger extent of its curves.

    Args:
      rows: name -> curves around x, y and z.
      path: the PNG to write.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figures 3 and 17-20.
    """
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    figure = new_figure(6.0, 1.85 * len(rows) + 0.3)
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for line, (name, curves) in zip(grid, rows.items(), strict=True):
        low, high = curves.min(axis=(0, 1)), curves.max(axis=(0, 1))
        extent = float((high - low).max())
        half = 0.56 * extent if extent > 0 else 1.0
        for axes, curve, around in zip(line, curves, "xyz", strict=True):
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
