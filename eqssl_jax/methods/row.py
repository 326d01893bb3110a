"""How a method stands in the equivariance benchmark, and what a step costs its encoder."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from eqssl_jax.methods.base import Method
from eqssl_jax.transforms.base import Transform


class Row(NamedTuple):
    """What the benchmark (`presets.benchmark`) sets for a method; a card without one gets this.

    Attributes:
      name: of the row; "": the card's.
      small: its settings beside an encoder of 128 features and batches of 128 images.
      full: its settings beside a ResNet-18 and batches of 256. All others are the card's defaults.
      recipes: further settings of its own, by the name of config.recipe.
      config: settings of the whole config by path, e.g. {"model.joint_views": True}.
      beside: the cards that it is added to; None: SimCLR, unless it compares two views itself or
        learns from labels or a target network.
      tried: its setting that is tried for a choice on validation; "": its weight or, where it
        stands alone, the learning rate.
      cost: `relative_cost` by the name of config.recipe, "" for all others; without, it is counted
        when the method is built, which takes a second or more.
      projector: whether its losses train the network's projector, whose embeddings are measured.
    """

    name: str = ""
    small: Mapping[str, Any] = {}
    full: Mapping[str, Any] = {}
    recipes: Mapping[str, Mapping[str, Any]] = {}
    config: Mapping[str, Any] = {}
    beside: tuple[str, ...] | None = None
    tried: str = ""
    cost: Mapping[str, float] = {}
    projector: bool = True


TWO_VIEWS: Mapping[str, float] = {"": 1.0}  # the cost of what reads the contrast views alone


def relative_cost(
    method: Method,
    recipe: Transform,
    example: Float[Array, "..."] | jax.ShapeDtypeStruct,
    *,
    batch: int,
) -> float:
    """What a step costs the encoder, relative to two views of each image with their gradients.

    A view with its gradient counts three times one of the target network. Pixels count, relative to
    a view of `recipe`; heads and rendering do not.

    Args:
      method: with its view sets.
      recipe: what config.recipe names.
      example: what it is applied to, or its shape.
      batch: images in a step.
    """

    def pixels(transform: Transform) -> int:
        return jax.eval_shape(functools.partial(transform.apply, transform.identity), example).size

    total = 0.0
    for name, spec in method.views.items():
        every = range(spec.pattern.views)
        views = 3 * len(every if spec.online is None else spec.online)
        if name in method.target_views:
            views += len(every if spec.target is None else spec.target)
        share = pixels(spec.transform) / pixels(recipe)
        total += views * share * (spec.images or batch) / batch
    return total / 6
