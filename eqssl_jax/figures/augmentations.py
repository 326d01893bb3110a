"""Numbers of each augmentation, which a mean would hide; of steering, errors and ranks by draw."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.style import (
    INK,
    LINES,
    PALETTE,
    QUIET,
    RULE,
    SMALL,
    TEXT,
    floor_looks,
    key,
    metric_rows,
    new_figure,
    panels,
    quiet,
    run_styles,
    save,
    value_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Measures = Mapping[str, Float[np.ndarray, " a"]]
PANELS = ("gamma", "rotation_residual", "invariance_error", "wahba_per_root_n")


def augmentation_strips(
    methods: Mapping[str, Measures],
    path: str | Path,
    *,
    floors: Mapping[str, Measures] = {},
) -> None:
    """A dot for each augmentation, by method: one panel a measure, with the mean and its spread.

    The bar beside the dots is mean ± 1 sd over augmentations. Floors are lines at their mean:
    dashed the random encoder, dotted raw pixels. W² / n is the share that no rotation explains by
    the invariance error: a small W with a share near 1 is a small move, not a rotation. γ and the
    share therefore lead, and W stands last.

    Args:
      methods: method -> measure -> a number for each augmentation, [A]; A may differ. A method
        without a measure, or with NaN alone, has an empty row.
      path: the PNG to write.
      floors: "random" and "pixels" -> the same.

    Raises:
      ValueError: for arrays that are not [A], or when no method has a finite number.

    Source: after Gupta et al. 2024 (arXiv:2306.13924), Figure 5.
    """
    shown = {m: {name: _finite(name, m, named) for name, named in methods.items()} for m in PANELS}
    shown = {m: rows for m, rows in shown.items() if any(len(v) for v in rows.values())}
    if not shown:
        raise ValueError(
            f"None of the methods {list(methods)} has a finite number of {', '.join(PANELS)}: "
            f"evaluate them with more images than the embedding has dimensions."
        )
    figure, grid = panels(len(shown), most=4, width=2.9, height=0.95 + 0.42 * len(methods))
    seen: set[str] = set()
    for axes, (measure, rows) in zip(grid, shown.items(), strict=True):
        levels = {floor: _finite(floor, measure, named) for floor, named in floors.items()}
        levels = {floor: x for floor, x in levels.items() if len(x) and floor in LINES}
        seen |= set(levels)
        strip(axes, measure, rows, levels)
    dot = {"linestyle": "", "marker": "o", "markersize": 3.6, "color": INK, "alpha": 0.45}
    bar = {"marker": "D", "markersize": 4.5, "color": INK, "linewidth": 1.4}
    key(figure, {"an augmentation": dot, "mean ± 1 sd": bar, **floor_looks(seen)})
    save(figure, path)


def strip(
    axes: "Axes", measure: str, rows: Mapping[str, np.ndarray], floors: Mapping[str, np.ndarray]
) -> None:
    """One panel: a row for each method, with its dots and their mean."""
    styles = run_styles(rows)
    for y, (name, values) in enumerate(rows.items()):
        colour = styles[name]["color"]
        # Heights within the row repeat in a fixed order: equal values stay apart.
        spread = 0.09 * ((np.arange(len(values)) * 3) % 5 - 2) / 2
        axes.plot(values, y - 0.12 + spread, "o", color=colour, alpha=0.45, markersize=3.6,
                  markeredgewidth=0, zorder=2)  # fmt: skip
        if len(values):
            sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
            bar = {"color": colour, "markersize": 5, "elinewidth": 1.6, "capsize": 2.5}
            axes.errorbar([values.mean()], [y + 0.2], xerr=[sd], fmt="D", zorder=3, **bar)
    for floor, values in floors.items():
        axes.axvline(float(values.mean()), zorder=1, **LINES[floor])
    value_axis(axes, measure, np.concatenate([*rows.values(), *floors.values()]).tolist())
    metric_rows(axes, measure, rows)


def _finite(name: str, measure: str, measures: Measures) -> np.ndarray:
    values = np.asarray(measures.get(measure, ()), np.float64)
    if values.ndim != 1:
        raise ValueError(
            f"{measure} of {name!r} must be a number for each augmentation [A], found shape "
            f"{values.shape}."
        )
    return values[[math.isfinite(value) for value in values]]


# Of a figure's four colours: measure, name in the key, how it is drawn.
ERRORS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "error_identity": ("not rotated", {"color": "#8a8a8a", "marker": "o"}),
    "error_mean": ("one rotation for all draws", {"color": PALETTE[4], "marker": "s"}),
    "error": ("steered, R(p)", {"color": PALETTE[0], "marker": "o"}),
    "error_wahba": ("fitted to the draw (Wahba)", {"color": PALETTE[1], "marker": "^"}),
}
BARS = {"_unsteered": "error_identity", "": "error", "_wahba": "error_wahba"}
BANKS = {"mrr": "same draw,\nother images", "view_mrr": "same image,\nother draws"}


def steering(parts: Mapping[str, Mapping[str, Any]], path: str | Path) -> None:
    """A row for each part: errors of held-out draws by magnitude, and the MRR of queries.

    Left: ‖F Rᵀ − F_a‖ / √n of every draw against its distance from the identity, in standard
    deviations of its parameters, without rotation, under the one rotation that serves all draws
    best, steered, and under the rotation fitted to that very draw. Right: mean reciprocal rank of
    the augmented image, with chance as a line.

    Args:
      parts: part -> {"magnitude": [T], "measures": {name: [T]}, "chance": {name: value}}, as in
        eval/<step>.json.
      path: the PNG to write.
    """
    figure = new_figure(6.6, 0.5 + 2.3 * len(parts))
    grid = figure.subplots(len(parts), 2, squeeze=False, width_ratios=(1.5, 1))
    for (left, right), (part, drawn) in zip(grid, parts.items(), strict=True):
        _errors(left, drawn)
        _bars(right, drawn)
        quiet(left, part.replace("_", " "), note="error of held-out draws on held-out images")
        quiet(right, "MRR", note="of the augmented image; line: chance")
    grid[-1][0].set_xlabel("distance of the draw from the identity", fontsize=TEXT, color=QUIET)
    dots = {"linestyle": "", "markersize": 5}
    key(figure, {name: {**dots, **look} for name, look in ERRORS.values()})
    save(figure, path)


def _errors(axes: "Axes", drawn: Mapping[str, Any]) -> None:
    order = np.argsort(drawn["magnitude"])
    x = np.asarray(drawn["magnitude"])[order]
    for name, (_, look) in ERRORS.items():
        y = np.asarray(drawn["measures"][name])[order]
        axes.plot(x, y, linestyle="", markersize=3.6, alpha=0.85, **look)
    axes.set_ylim(bottom=0)


def _bars(axes: "Axes", drawn: Mapping[str, Any]) -> None:
    for at, bank in enumerate(BANKS):
        for place, (suffix, error) in enumerate(BARS.items()):
            value = float(np.mean(drawn["measures"][bank + suffix]))
            x = at + 0.27 * (place - 1)
            axes.bar(x, value, width=0.25, color=ERRORS[error][1]["color"])
            label: dict[str, Any] = {
                "ha": "center",
                "va": "bottom",
                "fontsize": SMALL - 1,
                "color": INK,
            }
            axes.text(x, value + 0.01, f"{value:.2f}", **label)
        chance = float(drawn["chance"][bank])
        axes.plot([at - 0.42, at + 0.42], [chance] * 2, color=RULE, linewidth=1.3, zorder=3)
    axes.set_xticks(range(len(BANKS)), list(BANKS.values()))
    axes.set_ylim(0, 1.08)
