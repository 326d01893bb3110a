"""A score over the value of a setting, one line for each combination of the others."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eqssl_jax.figures.style import QUIET, TEXT, key, new_figure, quiet, run_styles, save
from eqssl_jax.tabular.seeds import Spread, what_bars_are


def value_sweep(
    lines: Mapping[str, Mapping[Any, Spread]],
    path: str | Path,
    *,
    setting: str,
    score: str,
    percent: bool = False,
) -> None:
    """Means over trainings with bars of ± 1 sd; values that are no numbers stand in their order.

    Args:
      lines: by the values of all other settings ("" without any), by the value of this one.
      path: the PNG to write.
      setting, score: what the axes are called.
      percent: whether the score is a share.

    Raises:
      ValueError: without a finite score.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, NullLocator

    finite = [spread for line in lines.values() for spread in line.values() if spread.trainings]
    if not finite:
        raise ValueError(f"No value of {setting} has a finite {score}.")
    values = list(dict.fromkeys(value for line in lines.values() for value in line))
    places, logarithmic = _places(values)
    figure = new_figure(4.4, 3.0)
    axes = figure.subplots()
    styles = run_styles(lines)
    for name, line in lines.items():
        drawn = [(places[value], spread) for value, spread in line.items() if spread.trainings]
        sd = [spread.sd if math.isfinite(spread.sd) else 0.0 for _, spread in drawn]
        x, y = [place for place, _ in drawn], [spread.value for _, spread in drawn]
        axes.errorbar(x, y, yerr=sd, marker="o", markersize=4, capsize=2.5, **styles[name])
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([places[value] for value in values], [str(value) for value in values])
    axes.set_xlabel(setting, fontsize=TEXT, color=QUIET)
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}%"))
    quiet(axes, score, note=what_bars_are(finite) or " ")
    if len(lines) > 1:
        key(
            figure, [Line2D([], [], marker="o", **style) for style in styles.values()], list(styles)
        )
    save(figure, path)


def _places(values: Sequence[Any]) -> tuple[dict[Any, float], bool]:
    """Where values stand: numbers in logarithm if all are positive; others one after another."""
    numeric = all(isinstance(value, int | float) and value == value for value in values)
    positive = numeric and min(values) > 0 and max(values) >= 8 * min(values)
    if numeric and not isinstance(values[0], bool):
        return {value: float(value) for value in values}, positive
    return {value: float(place) for place, value in enumerate(values)}, False
