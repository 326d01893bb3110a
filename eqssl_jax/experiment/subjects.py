"""What of a run is measured: its encoder with its heads, and floors, common ones once."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from eqssl_jax import measures, methods
from eqssl_jax import scene as layout
from eqssl_jax.config import plain
from eqssl_jax.objectives.base import Views
from eqssl_jax.rotations import matrix_from_quaternion, quaternion_from_vector
from eqssl_jax.training.mesh import local
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState


def subject(run: Setup, state: TrainState) -> measures.Subject:
    """The encoder of a state with what was trained beside it."""
    heads, classifier = prediction_heads(run, state), run.classifier(state)
    rotates = any(map(_rotates, run.config.objectives.values()))
    return measures.Subject(run.layers(state), heads, classifier, rotates)


def _rotates(entry: Any) -> bool:
    """Whether an entry of config.objectives has draws act on embeddings as rotations."""
    rotational = methods.find(entry.method).role == "rotational"
    return bool(entry.weight) and rotational and entry.get("form") == "euclidean"


def prediction_heads(run: Setup, state: TrainState) -> dict[str, Any]:
    """The heads of a state that predict embeddings, by the name of their objective."""
    heads = {}
    for name, (_, objective) in run.method.objectives.items():
        if objective.predict is not None:
            weights = local(state.params["heads"][name])
            heads[name] = functools.partial(_predicted, objective.predict, weights)
    return heads


def _predicted(predict: Any, weights: Any, before: Any, after: Any, draws: Any) -> Any:
    """Embeddings after, predicted and before, [n, D], as one view of a batch of all images."""
    seen, original = (Views(jnp.asarray(rows)[None], jnp.asarray(rows)[None])
                      for rows in (after, before))  # fmt: skip
    seen = seen._replace(params=jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], draws))
    return tuple(np.asarray(rows)[0] for rows in jax.jit(predict)(weights, seen, original))


def input_floor(run: Setup) -> dict[str, measures.Encode]:
    """The inputs as features, by the name of this floor."""
    shape, dimension, show = run.dataset.shown_shape, run.dimension(), run.dataset.show
    if run.dataset.clouds:
        return {"coordinates": measures.coordinate_encoder(shape[0], dimension=dimension)}
    pixels = measures.pixel_encoder(shape, dimension=dimension)
    return {"pixels": pixels if show is None else Partial(_of_shown(show), pixels)}


@functools.cache
def _of_shown(show: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """An encoder of what examples show; the same function for the same `show`."""
    return lambda encode, examples: encode(show(examples))


def ceiling(run: Setup) -> dict[str, measures.Subject]:
    """What an encoder that reads pose and hues without error would give; empty without scenes.

    Features are the rotation matrix and (cos, sin) of both hues [n, 13]; its head turns them.
    """
    subject = measures.Subject(Partial(read_scenes), {"poses": turn_features})
    return {} if run.dataset.show is None else {"poses": subject}


def read_scenes(scenes: Any) -> tuple[Any, Any]:
    """Pose and hues of scenes [n, 81] as features, and the same as embeddings."""
    matrices = matrix_from_quaternion(scenes[:, layout.POSE]).reshape(-1, 9)
    phases = 2 * jnp.pi * scenes[:, jnp.asarray(list(layout.HUES.values()))]
    features = jnp.concatenate([matrices, jnp.cos(phases), jnp.sin(phases)], axis=1)
    return features, features


def turn_features(before: Any, after: Any, draws: Any) -> tuple[Any, Any, Any]:
    """Embeddings after, predicted from before, and before; draws as of the recipe "solids"."""
    turns = matrix_from_quaternion(quaternion_from_vector(jnp.asarray(draws["turn"]["rotation"])))
    poses = jnp.einsum("nij,njk->nik", turns, before[:, :9].reshape(-1, 3, 3)).reshape(-1, 9)
    phase = 2 * jnp.pi * jnp.stack([draws[name]["hue"] for name in layout.HUES], axis=1)
    c, s, co, si = before[:, 9:11], before[:, 11:], jnp.cos(phase), jnp.sin(phase)
    predicted = jnp.concatenate([poses, c * co - s * si, s * co + c * si], axis=1)
    return after, np.asarray(predicted), before


Measured = tuple[dict[str, Any], measures.Arrays]
# Sections of a result by encoder.
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


def merged(measured: Measured, first: Measured, names: Collection[str]) -> Measured:
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
