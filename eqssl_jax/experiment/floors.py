"""Floors that the runs of a comparison have in common are measured once."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np

from eqssl_jax.config import plain
from eqssl_jax.measures import Arrays
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState

Result = dict[str, Any]
_BY_ENCODER = ("encoders", "spectrum", "steering", "trajectories")


def common(first: Setup, run: Setup, starts: tuple[TrainState, TrainState]) -> tuple[str, ...]:
    """The floors of one run that are those of another, too: the inputs, and the untrained network.

    Both must be measured alike: on the same data, under the same recipe, at the same budgets. The
    untrained networks must have equal weights.
    """
    if _measured(first) != _measured(run):
        return ()
    weights = [
        jax.tree.leaves(jax.device_get((state.params["network"], state.batch_stats)))
        for state in starts
    ]
    same = len(weights[0]) == len(weights[1]) and all(map(np.array_equal, *weights))
    inputs = "coordinates" if run.dataset.clouds else "pixels"
    return ("random", inputs, "poses") if same else (inputs, "poses")


def _measured(run: Setup) -> list[Any]:
    config = plain(run.config)
    recipes = [
        [entry.get("recipe"), entry.get("recipe_options")]
        for entry in config["objectives"].values()
        if entry.get("recipe")
    ]
    alike = [config[group] for group in ("data", "recipe", "evaluation", "model")]
    return [*alike, recipes, run.dimension()]


def merged(
    measured: tuple[Result, Arrays], first: tuple[Result, Arrays], names: Collection[str]
) -> tuple[Result, Arrays]:
    """An evaluation of the trained encoder with the floors of an earlier one."""
    (result, arrays), (earlier, earlier_arrays) = measured, first

    def with_floors(section: Any, before: Any) -> Any:
        return {**section, **{name: before[name] for name in names if name in before}}

    result = dict(result)
    for section in _BY_ENCODER:
        if section in earlier:
            result[section] = with_floors(result.get(section, {}), earlier[section])
    for section in ("chance", "skipped"):
        result[section] = {**earlier.get(section, {}), **result[section]}
    fields: dict[str, Any] = {}
    for field, value in arrays._asdict().items():
        before = getattr(earlier_arrays, field)
        if field == "figures":
            fields[field] = {
                card: (where, with_floors(given, before[card][1] if card in before else {}))
                for card, (where, given) in value.items()
            }
        elif isinstance(value, Mapping) and field != "hue":
            fields[field] = with_floors(value, before)
    return result, arrays._replace(**fields)
