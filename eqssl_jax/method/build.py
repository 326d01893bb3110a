"""From a config to what is trained: view sets, weighted objectives, and a target network if any."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from eqssl_jax import views
from eqssl_jax.method import bases, losses, roles
from eqssl_jax.method.base import Method
from eqssl_jax.method.geometry import check_geometry, check_names
from eqssl_jax.method.recipe import build_recipe
from eqssl_jax.method.roles import Role
from eqssl_jax.method.target import with_target
from eqssl_jax.objectives.base import Objective
from eqssl_jax.objectives.order import FORMS
from eqssl_jax.transforms.base import Transform
from eqssl_jax.views import Pattern, ViewSpec

Addition = tuple[dict[str, ViewSpec], dict[str, tuple[float, Objective]]]


def build(config: ConfigDict) -> Method:
    """The method a config describes: contrast, and what the roles of the transformations add.

    Raises:
      ValueError: for an unknown recipe, role, objective setting, or a contradiction among them.
    """
    check_names(config)
    recipe = build_recipe(config.recipe.name, config.recipe.options)
    table = roles.resolve(config, recipe)
    compared = any(config.objectives[name].weight > 0 for name in bases.COMPARING)
    roles.check_contrast(table, compared=compared)
    contrast = ViewSpec(recipe, _contrast_pattern(config, table))
    sets: dict[str, ViewSpec] = {}
    weighted: dict[str, tuple[float, Objective]] = {}
    for more_sets, more in (
        _based(config, contrast),
        _rotational(config, table, contrast),
        _ordered(config, table, recipe),
        _predicted(config, table, contrast),
    ):
        sets |= more_sets
        weighted |= more
    if not weighted:
        raise ValueError(
            "Every weight in config.objectives is 0, so there is nothing to train: give at least "
            "one objective a positive weight, e.g. --config.objectives.info_nce.weight=1."
        )
    check_geometry(config, weighted)
    method = Method(sets, weighted, joint_views=config.model.joint_views)
    return with_target(method, config)


def _based(config: ConfigDict, contrast: ViewSpec) -> Addition:
    """The base method on two views of each image; EquiMod also looks at the image itself."""
    found = {
        name: (config.objectives[name].weight, bases.objective(name, config, contrast.transform))
        for name in bases.NAMES
        if _weight(name, config.objectives[name].weight)
    }
    if "equimod" in found:
        still = ViewSpec(contrast.transform, views.still(1))
        return {"contrast": contrast, "original": still}, found
    return ({"contrast": contrast} if found else {}), found


def _contrast_pattern(config: ConfigDict, table: Mapping[str, Role]) -> Pattern:
    """Two views; with equivariance.views "contrast", groups share their rotational parts."""
    settings = config.objectives.equivariance
    if settings.views not in ("own", "contrast"):
        raise ValueError(
            f"config.objectives.equivariance.views is {settings.views!r}; choose 'own' (two views "
            f"more, as in the paper) or 'contrast' (the two contrast views serve both)."
        )
    turning = roles.parts(table, "rotational")
    if settings.views == "own" or not turning or not settings.weight:
        return roles.contrast_pattern(table)
    unshared = [part for part in turning if table[part].sharing != roles.INDEPENDENT]
    if unshared or settings.recipe or settings.images or settings.reference != "augmented":
        raise ValueError(
            f"config.objectives.equivariance.views is 'contrast': the contrast views serve the "
            f"Gram match too, so rotational parts must be drawn for each view (sharing is not "
            f"'auto' for {unshared or 'none'}), with reference 'augmented' (found "
            f"{settings.reference!r}), the recipe of the contrast (found {settings.recipe!r}) and "
            f"all images (found images = {settings.images}). Change these, or set views to 'own'."
        )
    grouped = views.grouped(_draws(settings), 2)
    return roles.contrast_pattern(table, dict.fromkeys(turning, grouped))


def _draws(settings: ConfigDict) -> int:
    """How many distinct draws a view of the equivariance set holds."""
    return settings.splits if settings.variant == "paper" else 1


def _rotational(config: ConfigDict, table: Mapping[str, Role], contrast: ViewSpec) -> Addition:
    """CARE's Gram match of all rotational parts together."""
    settings, recipe = config.objectives.equivariance, contrast.transform
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
        recipe = build_recipe(
            settings.recipe,
            settings.recipe_options,
            "config.objectives.equivariance.recipe",
            "config.objectives.equivariance.recipe_options",
        )
    turning = roles.parts(table, "rotational")
    missing = [part for part in turning if part not in recipe.identity]
    if missing:
        raise ValueError(
            f"{missing} are rotational, but config.objectives.equivariance.recipe = "
            f"{settings.recipe!r} has only the parts {sorted(recipe.identity)}: give them another "
            f"role, or set that recipe to '' to use config.recipe."
        )
    weight = _weight("equivariance", settings.weight)
    shared = views.grouped(_draws(settings), 2, reference=settings.reference)
    if not turning or not weight:
        return {}, {}
    name = "contrast" if settings.views == "contrast" else "equivariance"
    match = losses.gram_match(
        settings.splits, name, form=settings.form, geometry=config.objectives.geometry
    )
    if name == "contrast":
        return {"contrast": contrast}, {"equivariance": (weight, match)}
    sets = {"equivariance": roles.rotational_views(turning, recipe, shared, settings.images)}
    return sets, {"equivariance": (weight, match)}


def _ordered(config: ConfigDict, table: Mapping[str, Role], recipe: Transform) -> Addition:
    """For each ordered part a ladder, and the loss that preserves its order."""
    settings = config.objectives.order
    weight = _weight("order", settings.weight)
    _check_order(settings)
    sets, weighted = {}, {}
    for part in roles.parts(table, "ordered"):
        if weight * table[part].weight:
            sets[f"ladder_{part}"] = roles.ladder_views(
                part,
                table,
                recipe,
                rungs=settings.rungs,
                spacing=settings.spacing,
                images=settings.images,
            )
            loss = losses.order_loss(f"ladder_{part}", settings)
            weighted[f"order_{part}"] = (weight * table[part].weight, loss)
    return sets, weighted


def _predicted(config: ConfigDict, table: Mapping[str, Role], contrast: ViewSpec) -> Addition:
    """For each predicted part a head on both views' features that reads how their draws differ."""
    settings = config.objectives.prediction
    weight = _weight("prediction", settings.weight)
    weighted = {}
    for part in roles.parts(table, "predicted"):
        if weight * table[part].weight:
            loss = losses.prediction_loss(part, contrast.transform, tuple(settings.hidden))
            weighted[f"prediction_{part}"] = (weight * table[part].weight, loss)
    return ({"contrast": contrast} if weighted else {}), weighted


def _check_order(settings: ConfigDict) -> None:
    if settings.rungs < 3:
        raise ValueError(
            f"config.objectives.order.rungs is {settings.rungs}; order needs at least 3 rungs."
        )
    if settings.form not in FORMS:
        raise ValueError(
            f"config.objectives.order.form is {settings.form!r}; choose from {', '.join(FORMS)}."
        )
    if settings.spacing not in ("random", "even"):
        raise ValueError(
            f"config.objectives.order.spacing is {settings.spacing!r}; choose random or even."
        )
    if not (settings.margin >= 0 and settings.temperature > 0):
        raise ValueError(
            f"config.objectives.order needs margin >= 0 and temperature > 0, found "
            f"{settings.margin} and {settings.temperature}."
        )


def _weight(name: str, weight: float) -> float:
    if not weight >= 0:  # NaN too
        raise ValueError(f"config.objectives.{name}.weight is {weight}; it must not be negative.")
    return weight
