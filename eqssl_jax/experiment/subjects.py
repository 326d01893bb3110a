"""What of a run is measured: its encoder with its heads, and its inputs as a floor."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from eqssl_jax import measures
from eqssl_jax.objectives.base import Views
from eqssl_jax.training.mesh import local
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState


def subject(run: Setup, state: TrainState) -> measures.Subject:
    """The encoder of a state with what was trained beside it."""
    return measures.Subject(run.layers(state), prediction_heads(run, state), run.classifier(state))


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
