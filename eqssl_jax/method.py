"""From a config to what is trained: view sets, weighted objectives, and a target network if any."""

import functools
import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from eqssl_jax import objectives, transforms, views
from eqssl_jax.config import ROLES
from eqssl_jax.objectives.base import Metrics, Objective, Views, unit
from eqssl_jax.transforms.base import Transform
from eqssl_jax.views import Pattern, ViewSpec


class Method(NamedTuple):
    """What the training step needs to know, and all it knows about a method.

    Attributes:
      views: view sets by name, computed once each, in this order.
      objectives: (weight, objective) by name; the total is the weighted sum.
      momentum: m(step) of the target network, target ← m·target + (1−m)·online; None: no target.
      target_views: names of the view sets that the target network sees too.
      joint_views: one BatchNorm over all views of a forward, instead of one for each view.
    """

    views: Mapping[str, ViewSpec]
    objectives: Mapping[str, tuple[float, Objective]]
    momentum: Callable[[Int[Array, ""]], Float[Array, ""]] | None = None
    target_views: tuple[str, ...] = ()
    joint_views: bool = False


def build(config: ConfigDict) -> Method:
    """The method a config describes.

    Raises:
      ValueError: for an unknown recipe, role, objective setting, or a contradiction among them.
    """
    recipe = build_recipe(config.recipe.name, config.recipe.options)
    roles = check_roles(config.roles, recipe)
    sets: dict[str, ViewSpec] = {}
    weighted: dict[str, tuple[float, Objective]] = {}
    for name in ("info_nce", "alignment", "uniformity"):
        settings = config.objectives[name]
        if _weight(name, settings.weight):
            sets["contrast"] = ViewSpec(recipe, _contrast_pattern(roles))
            loss = getattr(objectives, name)
            weighted[name] = (settings.weight, _contrastive(name, loss, settings.temperature))
    settings = config.objectives.equivariance
    if _weight("equivariance", settings.weight):
        sets["equivariance"] = _equivariance_views(settings, recipe, roles)
        weighted["equivariance"] = (settings.weight, _gram_match(settings.splits))
    if not weighted:
        raise ValueError(
            "Every weight in config.objectives is 0, so there is nothing to train: give at least "
            "one objective a positive weight, e.g. --config.objectives.info_nce.weight=1."
        )
    return Method(sets, weighted, joint_views=config.model.joint_views)


def build_recipe(name: str, options: Mapping[str, object]) -> Transform:
    """The named recipe with its options.

    Raises:
      ValueError: for an unknown recipe or option, and whatever the recipe itself refuses.
    """
    return _recipe(name, json.dumps(dict(options), sort_keys=True))


# Cached, so that equal recipes are the same functions and compiled code is found again.
@functools.cache
def _recipe(name: str, options: str) -> Transform:
    known = transforms.recipes.RECIPES
    if name not in known:
        raise ValueError(
            f"config.recipe.name is {name!r}, which is no recipe; choose from {sorted(known)}."
        )
    try:
        return known[name](**json.loads(options))
    except TypeError as error:
        raise ValueError(f"config.recipe.options does not fit the recipe {name}: {error}") from None


def check_roles(roles: Mapping[str, str], recipe: Transform) -> dict[str, str]:
    """The role of every part of the recipe; parts without an entry are invariant.

    Raises:
      ValueError: for an unknown role, or a role for a part the recipe does not have.
    """
    for part, role in roles.items():
        if part not in recipe.identity:
            raise ValueError(
                f"config.roles names {part!r}, which is not a part of the recipe; its parts are "
                f"{sorted(recipe.identity)}."
            )
        if role not in ROLES:
            raise ValueError(f"config.roles.{part} is {role!r}; choose from {', '.join(ROLES)}.")
    return {part: roles.get(part, "invariant") for part in recipe.identity}


def _contrast_pattern(roles: Mapping[str, str]) -> Pattern:
    """Two views of each image; what is off stays at its identity."""
    off = {part: views.still(2) for part, role in roles.items() if role == "off"}
    return views.mix(views.independent(2), **off)


def _equivariance_views(
    settings: ConfigDict, recipe: Transform, roles: Mapping[str, str]
) -> ViewSpec:
    """Views whose rotational parts are shared within groups; other parts stay at the identity."""
    if settings.variant not in ("paper", "code"):
        raise ValueError(
            f"config.objectives.equivariance.variant is {settings.variant!r}; choose 'paper' (a "
            f"draw for each group) or 'code' (one draw for all groups, as the authors' code does)."
        )
    if settings.splits < 1:
        raise ValueError(
            f"config.objectives.equivariance.splits = {settings.splits} is no number of groups: "
            f"use 1 or more."
        )
    if settings.recipe:
        recipe = build_recipe(settings.recipe, settings.recipe_options)
    turning = [part for part in recipe.identity if roles.get(part) == "rotational"]
    if not turning:
        raise ValueError(
            f"config.objectives.equivariance.weight is {settings.weight}, but no transformation of "
            f"the recipe is rotational: set config.roles.PART='rotational' for at least one of "
            f"{sorted(recipe.identity)}, or the weight to 0."
        )
    draws = settings.splits if settings.variant == "paper" else 1
    shared = views.grouped(draws, 2, reference=settings.reference)
    at_rest = {part: views.still(2) for part in recipe.identity if part not in turning}
    return ViewSpec(recipe, views.mix(shared, **at_rest), settings.images or None)


def _contrastive(name: str, function: Callable[..., Array], temperature: float) -> Objective:
    """A loss of two unit embeddings, as an objective on the contrast views."""
    if temperature <= 0:
        raise ValueError(
            f"config.objectives.{name}.temperature is {temperature}; it must be positive."
        )

    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        z1, z2 = unit(seen.embeddings)
        positive = objectives.alignment(z1, z2, temperature=1.0)
        return function(z1, z2, temperature=temperature), {"positive_cosine": -positive}

    return Objective("contrast", loss)


def _gram_match(groups: int) -> Objective:
    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        z1, z2 = unit(seen.embeddings)
        return objectives.orthogonal_equivariance(z1, z2, groups=groups), {}

    return Objective("equivariance", loss)


def _weight(name: str, weight: float) -> float:
    if weight < 0:
        raise ValueError(f"config.objectives.{name}.weight is {weight}; it must not be negative.")
    return weight
