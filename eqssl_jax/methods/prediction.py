"""Prediction of how the parameters of two views differ: a head reads it from both features."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from eqssl_jax import encoders, objectives
from eqssl_jax.methods.card import DRAWS, Addition, Card, Context, widths
from eqssl_jax.methods.roles import is_zero, parts_with
from eqssl_jax.methods.row import TWO_VIEWS, Row
from eqssl_jax.objectives.base import Metrics, Objective, Views
from eqssl_jax.transforms.base import Transform


def prediction_loss(part: str, recipe: Transform, hidden: tuple[int, ...]) -> Objective:
    """Heads read the difference from either order of the views, as in AugSelf."""
    # Which numbers a target varies by is looked at, which cannot wait for a traced step to run.
    with jax.ensure_compile_time_eval():
        variance = _difference_variance(part, recipe)
    head = encoders.mlp((*hidden, variance.shape[0]))

    def init(key: Key[Array, ""], seen: Views) -> object:
        return head.init(key, 2 * seen.features.shape[-1])

    def loss(weights: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        pairs = jnp.concatenate([seen.features, seen.features[::-1]], axis=-1)  # [2, N, 2H]
        drawn = seen.params[part]
        target = jnp.stack(
            [
                objectives.parameter_differences(drawn),
                objectives.parameter_differences(jax.tree.map(lambda leaf: leaf[::-1], drawn)),
            ]
        )  # [2, N, K]
        return objectives.unexplained_variance(head.apply(weights, pairs), target, variance), {}

    return Objective("contrast", loss, init)


def _difference_variance(part: str, recipe: Transform) -> Float[Array, " k"]:
    """Variance of what is predicted, over many draws, so that every target weighs the same.

    Raises:
      ValueError: if nothing of the part varies.
    """

    @jax.jit
    def of_draws(keys: Key[Array, "2 n"]) -> Float[Array, " k"]:
        drawn = jax.vmap(jax.vmap(lambda key: recipe.sample(key)[part]))(keys)
        return objectives.parameter_differences(drawn).var(axis=0)

    try:
        variance = of_draws(jax.random.split(jax.random.key(0), (2, 4096)))
    except ValueError as error:
        raise ValueError(f"config.roles.{part} is 'predicted', but {error}") from None
    if not (np.asarray(variance) > 0).all():
        raise ValueError(
            f"config.roles.{part} is 'predicted', but its draws never differ (variances "
            f"{variance.tolist()}): give it a strength in config.recipe.options, or another role."
        )
    return variance


def build(values: ConfigDict, context: Context) -> Addition:
    """For each predicted part a head on both views' features that reads how their draws differ."""
    weighted = {}
    for part in parts_with(context.lines, "predicted"):
        weight = values.weight * context.lines[part].weights["predicted"]
        if not is_zero(weight):
            loss = prediction_loss(part, context.recipe, tuple(values.hidden))
            weighted[f"{context.key}_{part}"] = (weight, loss)
    return Addition({"contrast": context.contrast} if weighted else {}, weighted)


CARD = Card(
    name="prediction",
    title="Prediction of parameters",
    source="after Lee et al. 2021 (AugSelf), arXiv:2111.09613",
    settings={"hidden": widths((512, 512), "of the head's hidden layers")},
    build=build,
    role="predicted",
    needs=(DRAWS,),
    compares=False,
    geometries=("sphere", "hyperboloid"),
    benchmark=Row(cost=TWO_VIEWS),
)
