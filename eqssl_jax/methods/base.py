"""What a method is: view sets and weighted objectives."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from jaxtyping import Array, Float, Int

from eqssl_jax.objectives.base import Objective
from eqssl_jax.views import ViewSpec


class Method(NamedTuple):
    """What the training step needs to know, and all it knows about a method.

    Attributes:
      views: view sets by name, computed once each, in this order.
      objectives: (weight, objective) by name; the total is the weighted sum.
      momentum: m(step) of the target network, target ← m·target + (1−m)·online; None: no target.
      target_views: names of the view sets that the target network sees too (of each, the views
        `ViewSpec.target`).
      joint_views: one BatchNorm over all views of a forward, instead of one for each view.
      labelled: whether an objective learns from labels, which are then read with the images.
    """

    views: Mapping[str, ViewSpec]
    objectives: Mapping[str, tuple[float, Objective]]
    momentum: Callable[[Int[Array, ""]], Float[Array, ""]] | None = None
    target_views: tuple[str, ...] = ()
    joint_views: bool = False
    labelled: bool = False
