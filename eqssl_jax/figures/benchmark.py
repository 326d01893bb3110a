"""Class accuracy against equivariance, a point a method with its intervals."""

from collections.abc import Mapping
from pathlib import Path

from eqssl_jax.figures.style import INK, SMALL, new_figure, quiet, save
from eqssl_jax.tabular.metrics import describe

Point = tuple[tuple[float, float], tuple[float, float]]  # (mean, half interval) of either axis


def pareto(points: Mapping[str, Point], metrics: tuple[str, str], path: Path) -> Path:
    """Draw the points; those that no other one surpasses in both are filled."""
    figure = new_figure(6.0, 4.5)
    axes = figure.subplots()
    for (x, dx), (y, dy) in points.values():
        best = not any(a > x and b > y for (a, _), (b, _) in points.values())
        axes.errorbar(
            [x], [y], xerr=[dx], yerr=[dy], fmt="o", color=INK, capsize=2, elinewidth=0.7,
            markerfacecolor=INK if best else "none",
        )  # fmt: skip
    figure.draw_without_rendering()  # which settles where the points lie
    pixels_per_point = figure.dpi / 72
    where = {
        name: tuple(axes.transData.transform((x, y)) / pixels_per_point)
        for name, ((x, _), (y, _)) in points.items()
    }
    for name, height in apart(where, 1.2 * SMALL, 70.0).items():
        (x, _), (y, _) = points[name]
        offset = (7, 4 + height - where[name][1])
        line = {"arrowstyle": "-", "lw": 0.4, "color": INK} if offset[1] < 4 else None
        axes.annotate(name, (x, y), xytext=offset, textcoords="offset points", fontsize=SMALL,
                      arrowprops=line)  # fmt: skip
    axes.set_xlabel(describe(metrics[0]).title)
    axes.set_ylabel(describe(metrics[1]).title)
    quiet(axes, "Class against equivariance", note="filled: no other run is better in both")
    save(figure, path)
    return path


def apart(
    where: Mapping[str, tuple[float, float]], height: float, width: float
) -> dict[str, float]:
    """Heights of labels of this size at (x, y), moved down until none lies on another.

    >>> apart({"a": (0.0, 9.0), "b": (1.0, 8.0), "c": (99.0, 8.0)}, 2.0, 50.0)
    {'a': 9.0, 'b': 7.0, 'c': 8.0}
    """
    placed: dict[str, tuple[float, float]] = {}
    for name, (x, y) in sorted(where.items(), key=lambda item: -item[1][1]):
        while below := [
            b for a, b in placed.values() if abs(a - x) < width and abs(b - y) < height
        ]:
            y = min(below) - height
        placed[name] = x, y
    return {name: placed[name][1] for name in where}
