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
    for name, ((x, dx), (y, dy)) in points.items():
        best = not any(a > x and b > y for (a, _), (b, _) in points.values())
        axes.errorbar(
            [x], [y], xerr=[dx], yerr=[dy], fmt="o", color=INK, capsize=2, elinewidth=0.7,
            markerfacecolor=INK if best else "none",
        )  # fmt: skip
        axes.annotate(name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=SMALL)
    axes.set_xlabel(describe(metrics[0]).title)
    axes.set_ylabel(describe(metrics[1]).title)
    quiet(axes, "Class against equivariance", note="filled: no other run is better in both")
    save(figure, path)
    return path
