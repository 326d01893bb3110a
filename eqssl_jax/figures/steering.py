"""How well rotations can be foretold: errors by draw, and what a steered query finds."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eqssl_jax.figures.style import INK, PALETTE, QUIET, RULE, SMALL, TEXT, key, new_figure, quiet
from eqssl_jax.figures.style import save as save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of a figure's four colours: measure, name in the key, how it is drawn.
ERRORS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "error_identity": ("not rotated", {"color": "#8a8a8a", "marker": "o"}),
    "error_mean": ("one rotation for all draws", {"color": PALETTE[4], "marker": "s"}),
    "error": ("steered, R(p)", {"color": PALETTE[0], "marker": "o"}),
    "error_wahba": ("fitted to the draw (Wahba)", {"color": PALETTE[1], "marker": "^"}),
}
BARS = {"_unsteered": "error_identity", "": "error", "_wahba": "error_wahba"}
BANKS = {"mrr": "same draw,\nother images", "view_mrr": "same image,\nother draws"}


def steering(found: Mapping[str, Mapping[str, Any]], path: str | Path) -> None:
    """A row for each part: errors of held-out draws by magnitude, and the MRR of queries.

    Left: ‖F Rᵀ − F_a‖ / √n of every draw against its distance from the identity, in standard
    deviations of its parameters, without rotation, under the one rotation that serves all draws
    best, steered, and under the rotation fitted to that very draw. Right: mean reciprocal rank of
    the augmented image, with chance as a line.

    Args:
      found: part -> {"magnitude": [T], "measures": {name: [T]}, "chance": {name: value}}, as in
        eval/<step>.json.
      path: the PNG to write.

    Raises:
      ValueError: without parts, or for a part without these numbers.
    """
    from matplotlib.lines import Line2D

    if not found:
        raise ValueError("There is no steering to draw: give at least one part.")
    figure = new_figure(6.6, 0.5 + 2.3 * len(found))
    grid = figure.subplots(len(found), 2, squeeze=False, width_ratios=(1.5, 1))
    for (left, right), (part, one) in zip(grid, found.items(), strict=True):
        _check(part, one)
        _errors(left, one)
        _bars(right, one)
        quiet(left, part.replace("_", " "), note="error of held-out draws on held-out images")
        quiet(right, "MRR", note="of the augmented image; line: chance")
    grid[-1][0].set_xlabel("distance of the draw from the identity", fontsize=TEXT, color=QUIET)
    looks = [look for _, look in ERRORS.values()]
    handles = [Line2D([], [], linestyle="", markersize=5, **look) for look in looks]
    key(figure, handles, [name for name, _ in ERRORS.values()])
    save_figure(figure, path)


def _errors(axes: "Axes", one: Mapping[str, Any]) -> None:
    order = np.argsort(one["magnitude"])
    x = np.asarray(one["magnitude"])[order]
    for name, (_, look) in ERRORS.items():
        y = np.asarray(one["measures"][name])[order]
        axes.plot(x, y, linestyle="", markersize=3.6, alpha=0.85, **look)
    axes.set_ylim(bottom=0)


def _bars(axes: "Axes", one: Mapping[str, Any]) -> None:
    for at, bank in enumerate(BANKS):
        for place, (suffix, error) in enumerate(BARS.items()):
            value = float(np.mean(one["measures"][bank + suffix]))
            x = at + 0.27 * (place - 1)
            axes.bar(x, value, width=0.25, color=ERRORS[error][1]["color"])
            label: dict[str, Any] = {
                "ha": "center",
                "va": "bottom",
                "fontsize": SMALL - 1,
                "color": INK,
            }
            axes.text(x, value + 0.01, f"{value:.2f}", **label)
        chance = float(one["chance"][bank])
        axes.plot([at - 0.42, at + 0.42], [chance] * 2, color=RULE, linewidth=1.3, zorder=3)
    axes.set_xticks(range(len(BANKS)), list(BANKS.values()))
    axes.set_ylim(0, 1.08)


def _check(part: str, one: Mapping[str, Any]) -> None:
    measures, count = one.get("measures", {}), len(one.get("magnitude", ()))
    wanted = [*ERRORS, *(bank + suffix for bank in BANKS for suffix in BARS)]
    missing = [name for name in wanted if len(measures.get(name, ())) != count or not count]
    missing += [bank for bank in BANKS if bank not in one.get("chance", {})]
    if missing:
        raise ValueError(
            f"The steering of {part!r} lacks {', '.join(missing)} for its {count} draws (keys: "
            f"{', '.join(one) or 'none'}): evaluate the run again."
        )
