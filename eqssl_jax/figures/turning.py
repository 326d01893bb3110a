"""How embeddings move while the input turns: closed curves, coloured by the angle."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.style import INK, QUIET, SMALL, TEXT, TITLE, new_figure, save

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
