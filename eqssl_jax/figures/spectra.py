"""Which layer still holds which transformation: heat maps over layers, and over training.

Numbers from 0 to 1 have equal colours in all of them, and stand in their cells.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.style import INK, QUIET, SMALL, TEXT, new_figure, quiet, save
from eqssl_jax.tabular.metrics import MISSING, TITLES, describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Spectrum = Mapping[str, Any]


def spectrum(spectra: Mapping[str, Spectrum], path: str | Path, *, metric: str) -> None:
    """The equivariance spectrum: layers from stem (top) to embedding (bottom), by transformation.

    One panel for each encoder, all with the same colours; the number is written in its cell. Where
    it was measured but is undefined (NaN), the cell is grey with "–"; colours end at 0 and 1, so
    that a negative R² is pale but its number stands.

    Args:
      spectra: encoder ("trained", "random", …) -> {"layers": L names, "parts": P names, metric:
        [L, P] numbers}.
      path: the PNG to write.
      metric: "order_accuracy" or "order_accuracy_amid" (0.5 is chance), "kendall_tau" or
        "magnitude_r2".

    Raises:
      ValueError: for a spectrum that lacks the metric.
    """
    maps = []
    for encoder, table in spectra.items():
        values = _numbers(table, metric, encoder)
        maps.append(
            HeatMap(
                TITLES.get(encoder, encoder), list(table["layers"]), list(table["parts"]), values
            )
        )
    widest = panel_width(max(len(chart.columns) for chart in maps))
    draw(maps, metric, path, most=max(1, int((WIDEST - SIDES) / widest)))


def spectrum_over_training(
    by_step: Mapping[int, Spectrum], path: str | Path, *, metric: str
) -> None:
    """When order appears in training or is lost: transformations by step, one panel a layer.

    Layers are "features", where there is such a layer, and the last. Numbers are written in the
    cells of up to 18 steps.

    Args:
      by_step: training step -> the spectrum of the one encoder then, as for `spectrum`.
      path: the PNG to write.
      metric: as in `spectrum`.

    Raises:
      ValueError: for a spectrum that lacks the metric, or steps with other layers or
        transformations than the first.
    """
    steps = sorted(by_step, key=int)
    layers, parts = (list(by_step[steps[0]].get(name, ())) for name in ("layers", "parts"))
    for step in steps:
        names_of = [list(by_step[step].get(name, ())) for name in ("layers", "parts")]
        if names_of != [layers, parts]:
            raise ValueError(
                f"Every step must measure the same layers and transformations: step {step} has "
                f"{names_of[0]} and {names_of[1]}, step {steps[0]} has {layers} and {parts}."
            )
    over = np.stack([_numbers(by_step[s], metric, f"step {s}") for s in steps])
    chosen = [*(name for name in layers[:-1] if name == "features"), layers[-1]]
    columns = [f"{int(step):,}" for step in steps]
    maps = [HeatMap(name, parts, columns, over[:, layers.index(name)].T) for name in chosen]
    draw(maps, metric, path, most=1, below="step")


def _numbers(table: Spectrum, metric: str, owner: str) -> Float[np.ndarray, "layers parts"]:
    missing = [name for name in ("layers", "parts", metric) if name not in table]
    if missing:
        raise ValueError(
            f"The spectrum of {owner!r} lacks {', '.join(missing)} (it has "
            f"{', '.join(map(str, table)) or 'nothing'}): measure it again."
        )
    return np.asarray(table[metric], np.float64)  # None becomes NaN


BELOW, MIDDLE, ABOVE, TOP = "#D55E00", "#f7f7f7", "#0072B2", "#00304d"
UNDEFINED = "#d9d9d9"
# By metric, the colours from 0 to 1. Chance is the pale middle of order accuracy.
SCALES: Mapping[str, Sequence[tuple[float, str]]] = {
    "order_accuracy": ((0.0, BELOW), (0.5, MIDDLE), (0.85, ABOVE), (1.0, TOP)),
    "kendall_tau": ((0.0, MIDDLE), (0.7, ABOVE), (1.0, TOP)),
    "magnitude_r2": ((0.0, MIDDLE), (0.7, ABOVE), (1.0, TOP)),
    "order_accuracy_amid": ((0.0, BELOW), (0.5, MIDDLE), (0.85, ABOVE), (1.0, TOP)),
}
WIDEST = 10.4  # inches of a figure
SIDES = 1.9  # inches for the names of rows and the colour bar
CELL = 0.46, 0.27  # inches, wide enough for "−0.12"
WRITTEN = 18  # columns; cells of more are too narrow for numbers


class HeatMap(NamedTuple):
    """One panel: its title, the names of rows and columns, and its numbers [rows, columns]."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: np.ndarray


def panel_width(columns: int) -> float:
    """Inches that a panel of so many columns would like to have."""
    return max(columns * CELL[0] + 0.2, 1.4)


def draw(
    maps: Sequence[HeatMap], metric: str, path: str | Path, *, most: int, below: str = ""
) -> None:
    """Panels of at most `most` in a row with one colour bar; `below` names the lowest x axis."""
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list(metric, list(SCALES[metric]))
    colours = scale.with_extremes(bad=UNDEFINED)
    across = -(-len(maps) // -(-len(maps) // most))
    tallest = [
        max(len(chart.rows) for chart in maps[i : i + across]) for i in range(0, len(maps), across)
    ]
    panel = min(panel_width(max(len(chart.columns) for chart in maps)), (WIDEST - SIDES) / across)
    height = max(1.9, sum(tallest) * CELL[1] + len(tallest) * 0.95)
    figure = new_figure(across * panel + SIDES, height)
    shape = len(tallest), across
    grid = figure.subplots(*shape, squeeze=False, height_ratios=tallest).ravel().tolist()
    for axes in grid[len(maps) :]:
        axes.remove()
    alike = all(chart.rows == maps[0].rows for chart in maps)
    letters = max(8, int(panel / 0.09))  # that fit over a panel
    for i, (axes, chart) in enumerate(zip(grid, maps, strict=False)):
        image = _panel(axes, chart, colours, names=i % across == 0 or not alike)
        quiet(axes, "\n".join(wrap(chart.title, letters)))
        axes.tick_params(length=0, labelcolor=INK)
        # Cells are equally high in panels side by side; the names of columns stay below the cells.
        axes.set_ylim(tallest[i // across] - 0.5, -0.5)
        axes.spines["bottom"].set_position(("data", len(chart.rows) - 0.5))
        if below and i == len(maps) - 1:
            axes.set_xlabel(below, fontsize=TEXT, color=QUIET)
    bar = figure.colorbar(
        image, ax=grid[: len(maps)], fraction=0.03, pad=0.02, aspect=height / 0.11
    )
    _label(bar, metric)
    save(figure, path)


def _label(bar: Any, metric: str) -> None:
    """The name and the ticks of a colour bar; chance by its name."""
    bar.set_label(describe(metric).title, fontsize=TEXT, color=QUIET)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"])
    if metric in ("order_accuracy", "order_accuracy_amid"):
        bar.ax.set_yticks([0.5], labels=["chance"], minor=True)
        bar.set_ticks([0, 0.25, 0.75, 1], labels=["0", "0.25", "0.75", "1"])
    bar.ax.tick_params(labelsize=SMALL, labelcolor=QUIET, length=0, which="both")
    bar.outline.set_visible(False)


def _panel(axes: "Axes", chart: HeatMap, colours: Any, *, names: bool) -> Any:
    """One heat map, white lines between cells, the number in each."""
    rows, columns = chart.values.shape
    masked = np.ma.masked_invalid(chart.values)
    image = axes.imshow(masked, cmap=colours, vmin=0, vmax=1, aspect="auto")
    axes.hlines(np.arange(rows - 1) + 0.5, -0.5, columns - 0.5, color="white", linewidth=1.2)
    axes.vlines(np.arange(columns - 1) + 0.5, -0.5, rows - 0.5, color="white", linewidth=1.2)
    for (y, x), value in np.ndenumerate(chart.values):
        if columns > WRITTEN:
            break
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.46 and np.isfinite(value)
        text = _short(value)
        colour = "white" if dark else INK
        axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, color=colour)
    axes.spines[:].set_visible(False)
    stride = -(-columns // WRITTEN)  # labels of many steps would overlap
    axes.set_xticks(range(0, columns, stride), chart.columns[::stride])
    if max(map(len, chart.columns)) > 5:
        axes.tick_params(axis="x", rotation=40)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(range(rows), chart.rows if names else [])
    return image


def _short(value: float) -> str:
    """Two decimals with a true minus sign; the mark of what is missing for NaN.

    >>> _short(0.8749), _short(-0.001), _short(float("nan"))
    ('0.87', '0.00', '–')
    """
    if not np.isfinite(value):
        return MISSING
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
