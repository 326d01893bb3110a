"""Which layer still knows which transformation: heat maps over layers, and over training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.heatmaps import SCALES, SIDES, WIDEST, HeatMap, draw, panel_width
from eqssl_jax.tabular.metrics import TITLES

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
      ValueError: without encoders, for an unknown metric, or numbers that are not [L, P].
    """
    if not spectra:
        raise ValueError("There is no equivariance spectrum to draw: give at least one encoder.")
    _known(metric)
    maps = []
    for encoder, found in spectra.items():
        values = _numbers(found, metric, encoder)
        maps.append(
            HeatMap(
                TITLES.get(encoder, encoder), list(found["layers"]), list(found["parts"]), values
            )
        )
    widest = panel_width(max(len(one.columns) for one in maps))
    draw(maps, metric, path, most=max(1, int((WIDEST - SIDES) / widest)))


def spectrum_over_training(
    by_step: Mapping[int, Spectrum], path: str | Path, *, metric: str, layer: str | None = None
) -> None:
    """When order appears in training or is lost: transformations by step, one panel a layer.

    Numbers are written in the cells of up to 18 steps.

    Args:
      by_step: training step -> the spectrum of the one encoder then, as for `spectrum`.
      path: the PNG to write.
      metric: as in `spectrum`.
      layer: which layer; "features", where there is such a layer, and the last one by default.

    Raises:
      ValueError: without steps, for an unknown metric or layer, numbers that are not [L, P], or
        steps with other layers or transformations than the first.
    """
    if not by_step:
        raise ValueError("There is no course of training to draw: give at least one step.")
    _known(metric)
    steps = sorted(by_step, key=int)
    layers, parts = (list(by_step[steps[0]].get(name, ())) for name in ("layers", "parts"))
    for step in steps:
        found = [list(by_step[step].get(name, ())) for name in ("layers", "parts")]
        if found != [layers, parts]:
            raise ValueError(
                f"Every step must measure the same layers and transformations: step {step} has "
                f"{found[0]} and {found[1]}, step {steps[0]} has {layers} and {parts}."
            )
    if layer is not None and layer not in layers:
        raise ValueError(f"There is no layer {layer!r}; choose from {', '.join(layers)}.")
    over = np.stack([_numbers(by_step[s], metric, f"step {s}") for s in steps])
    chosen = [layer] if layer else [*(n for n in layers[:-1] if n == "features"), layers[-1]]
    columns = [f"{int(step):,}" for step in steps]
    maps = [HeatMap(name, parts, columns, over[:, layers.index(name)].T) for name in chosen]
    draw(maps, metric, path, most=1, below="step")


def _known(metric: str) -> None:
    if metric not in SCALES:
        raise ValueError(
            f"An equivariance spectrum cannot show {metric!r}; choose from {', '.join(SCALES)}."
        )


def _numbers(found: Spectrum, metric: str, owner: str) -> Float[np.ndarray, "layers parts"]:
    missing = [name for name in ("layers", "parts", metric) if name not in found]
    if missing:
        raise ValueError(
            f"The spectrum of {owner!r} lacks {', '.join(missing)} (it has "
            f"{', '.join(map(str, found)) or 'nothing'}): measure it again."
        )
    values = np.asarray(found[metric], np.float64)  # None becomes NaN
    wanted = len(found["layers"]), len(found["parts"])
    if values.shape != wanted or values.size == 0:
        raise ValueError(
            f"{metric} of {owner!r} must be [layers, parts] = {list(wanted)}, at least one of "
            f"each; found shape {list(values.shape)}."
        )
    return values
