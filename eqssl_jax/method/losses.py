"""The losses of the library as objectives: on which views, with which head, under which names."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from eqssl_jax import encoders, objectives
from eqssl_jax.objectives.base import Metrics, Objective, Views, unit
from eqssl_jax.transforms.base import Transform


def contrast_loss(
    name: str, function: Callable[..., Array], temperature: float, *, geometry: str = "sphere"
) -> Objective:
    """A loss of two views' points in a geometry, as an objective on the contrast views."""
    if temperature <= 0:
        raise ValueError(
            f"config.objectives.{name}.temperature is {temperature}; it must be positive."
        )
    place, similarity, _ = objectives.GEOMETRIES[geometry]

    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        z1, z2 = place(seen.embeddings)
        apart = objectives.alignment(z1, z2, temperature=1.0, similarity=similarity)
        value = function(z1, z2, temperature=temperature, similarity=similarity)
        if geometry == "sphere":
            return value, {"positive_cosine": -apart}
        return value, {"positive_distance": apart}

    return Objective("contrast", loss)


def gram_match(
    groups: int,
    views: str = "equivariance",
    *,
    form: str = "euclidean",
    geometry: str = "sphere",
) -> Objective:
    """CARE's Gram match of the two views of a set whose groups share their draws.

    The diagonal, constant for forms that fit the geometry, is left out.
    """
    place = objectives.GEOMETRIES[geometry].place

    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        z1, z2 = place(seen.embeddings)
        if form == "euclidean":  # the same value without a multiplication by I
            return objectives.orthogonal_equivariance(z1, z2, groups=groups), {}
        b = objectives.FORMS[form](z1.shape[-1])
        value = objectives.form_equivariance(z1, z2, form=b, groups=groups, diagonal=False)
        return value, {}

    return Objective(views, loss)


def order_loss(ladder: str, settings: ConfigDict) -> Objective:
    form, margin, temperature = settings.form, settings.margin, settings.temperature

    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        if seen.magnitude is None:
            raise ValueError(f"The view set {ladder} has no ladder, so there is no order to keep.")
        z = unit(seen.embeddings)
        value = objectives.order_preservation(
            z, seen.magnitude, margin=margin, temperature=temperature, form=form
        )
        return value, {}

    return Objective(ladder, loss)


def prediction_loss(part: str, recipe: Transform, hidden: tuple[int, ...]) -> Objective:
    """Heads read the difference from either order of the views, as in AugSelf."""
    variance = _difference_variance(part, recipe)
    head = encoders.mlp((*hidden, variance.shape[0]))

    def init(key: Key[Array, ""], seen: Views) -> object:
        return head.init(key, 2 * seen.features.shape[-1])

    def loss(weights: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        both = jnp.concatenate([seen.features, seen.features[::-1]], axis=-1)  # [2, N, 2H]
        drawn = seen.params[part]
        target = jnp.stack(
            [
                objectives.parameter_differences(drawn),
                objectives.parameter_differences(jax.tree.map(lambda leaf: leaf[::-1], drawn)),
            ]
        )  # [2, N, K]
        return objectives.unexplained_variance(head.apply(weights, both), target, variance), {}

    return Objective("contrast", loss, init)


def _difference_variance(part: str, recipe: Transform) -> Float[Array, " k"]:
    """Variance of what is predicted, over many draws, so that every target weighs the same.

    Raises:
      ValueError: if nothing of the part varies.
    """
    keys = jax.random.split(jax.random.key(0), (2, 4096))
    drawn = jax.jit(jax.vmap(jax.vmap(lambda key: recipe.sample(key)[part])))(keys)
    try:
        variance = objectives.parameter_differences(drawn).var(axis=0)
    except ValueError as error:
        raise ValueError(f"config.roles.{part} is 'predicted', but {error}") from None
    if not (variance > 0).all():
        raise ValueError(
            f"config.roles.{part} is 'predicted', but its draws never differ (variances "
            f"{variance.tolist()}): give it a strength in config.recipe.options, or another role."
        )
    return variance
