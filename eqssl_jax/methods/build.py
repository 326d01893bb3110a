"""From a config to what is trained: view sets, weighted objectives, and a target network if any."""

from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from eqssl_jax.methods import roles, viewpoints
from eqssl_jax.methods.base import Method
from eqssl_jax.methods.card import DRAWS, LABELS, TARGET, Addition, Card, Context
from eqssl_jax.methods.entries import find, resolved
from eqssl_jax.methods.recipe import build_recipe
from eqssl_jax.methods.roles import Line
from eqssl_jax.methods.target import with_target
from eqssl_jax.objectives.base import Objective
from eqssl_jax.transforms.base import Transform
from eqssl_jax.views import Pattern, ViewSpec

_ROLES = ("", *roles.ROLES)


def build(config: ConfigDict) -> Method:
    """The method a config describes: its cards, under the roles of the transformations.

    Raises:
      ValueError: for an unknown recipe, role, method or setting, or a contradiction among them.
    """
    recipe = build_recipe(config.recipe.name, config.recipe.options)
    table = roles.resolve(config, recipe)
    method = assemble(config, recipe, roles.lines(table))
    stored = config.recipe.name == viewpoints.RECIPE
    return viewpoints.on_stored_views(method, config, recipe) if stored else method


def assemble(config: ConfigDict, recipe: Transform, lines: Mapping[str, Line]) -> Method:
    """The method under a table of roles, whose numbers may be traced: so advice trains many tables
    in one program.

    Raises:
      ValueError: as `build`.
    """
    config = resolved(config, roles={role for line in lines.values() for role in line.weights})
    chosen = sorted(
        ((key, find(values.method), values) for key, values in config.objectives.items()),
        key=_order,
    )
    chosen = [(key, card, values) for key, card, values in chosen if values.weight]
    _check_geometry(config, chosen)
    _check_draws(config, recipe, chosen)
    if any(card.compares for _, card, _ in chosen):
        roles.check_contrast(lines)
    contrast = ViewSpec(recipe, _contrast(config, recipe, lines, chosen))
    views: dict[str, ViewSpec] = {}
    objectives: dict[str, tuple[Any, Objective]] = {}
    targeted: list[str] = []
    for key, card, values in chosen:
        addition = card.build(values, Context(key, recipe, lines, contrast, config))
        _check(addition, key, card)
        for name, spec in addition.views.items():
            views[name] = _merged(name, views[name], spec, key) if name in views else spec
        objectives |= addition.objectives
        targeted += list(addition.objectives) if TARGET in card.needs else []
    if not objectives:
        raise ValueError(
            "No entry of config.objectives has a weight above 0 and parts with its role, so there "
            "is nothing to train: give one of them a positive weight, e.g. "
            "--config.objectives.info_nce.weight=1."
        )
    method = Method(
        views,
        objectives,
        joint_views=config.model.joint_views,
        labelled=any(LABELS in card.needs for _, card, _ in chosen),
    )
    return with_target(method, config, targeted) if targeted else method


def _order(chosen: tuple[str, Card, ConfigDict]) -> tuple[int, bool, str]:
    """What compares the contrast views first, then by name: JSON does not keep another order, and
    the draws and heads of a resumed run must be those that it started with."""
    key, card, _ = chosen
    return _ROLES.index(card.role), not card.compares, key


def _contrast(
    config: ConfigDict,
    recipe: Transform,
    lines: Mapping[str, Line],
    chosen: list[tuple[str, Card, ConfigDict]],
) -> Pattern:
    """Two views, drawn as the roles say and, part by part, as cards share them in their own way."""
    plain = roles.contrast_pattern(lines)
    others: dict[str, Pattern] = {}
    for key, card, values in chosen:
        context = Context(key, recipe, lines, ViewSpec(recipe, plain), config)
        shared = card.sharing(values, context)
        if twice := sorted(set(shared) & set(others)):
            raise ValueError(
                f"config.objectives.{key} and another entry both say how the contrast views share "
                f"the draws of {', '.join(twice)}: leave one of them out."
            )
        others |= shared
    return roles.contrast_pattern(lines, others) if others else plain


def _merged(name: str, first: ViewSpec, second: ViewSpec, key: str) -> ViewSpec:
    """One view set for two cards that read the same views, or different ones of them."""
    if first._replace(online=None, target=None) != second._replace(online=None, target=None):
        raise ValueError(
            f"config.objectives.{key} and another entry both have a view set {name!r}, of another "
            f"kind: give one of them another name."
        )
    online = _union(first.online, second.online)
    target = _union(first.target, second.target)
    return first._replace(online=online, target=target)


def _union(first: tuple[int, ...] | None, second: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The numbers of the views that either of two cards reads; None is all."""
    return None if first is None or second is None else tuple(sorted({*first, *second}))


def _check_draws(
    config: ConfigDict, recipe: Transform, chosen: list[tuple[str, Card, ConfigDict]]
) -> None:
    """A method that reads how its views were made needs views with known parameters."""
    reading = [f"{key} ({card.title})" for key, card, _ in chosen if DRAWS in card.needs]
    if reading and not jax.tree.leaves(recipe.identity):
        raise ValueError(
            f"config.objectives.{reading[0]} learns from the parameters of the views, and the "
            f"recipe {config.recipe.name!r} draws none that it tells: let its Transform draw them "
            f"(`sample`, with their `identity`), or choose a method that needs none."
        )


def _check(addition: Any, key: str, card: Card) -> None:
    """Refuse what a card of one's own must not return, before it is trained."""
    title = f"The method {card.name} (config.objectives.{key})"
    if not isinstance(addition, Addition):
        raise ValueError(
            f"{title} built {type(addition).__name__}, but `build` must return an Addition of view "
            f"sets and objectives, e.g. on_contrast(values, context, objective)."
        )
    for name, (_, objective) in addition.objectives.items():
        missing = [views for views in objective.names() if views not in addition.views]
        if missing:
            raise ValueError(
                f"{title} has an objective {name!r} on the view sets {missing}, which are not "
                f"among those that it adds: {sorted(addition.views)}."
            )


def _check_geometry(config: ConfigDict, chosen: list[tuple[str, Card, ConfigDict]]) -> None:
    """Every method must be defined where embeddings lie."""
    geometry = config.model.geometry
    alone = [key for key, card, _ in chosen if geometry not in card.geometries]
    if alone:
        raise ValueError(
            f"config.model.geometry is {geometry!r}, but {', '.join(alone)} compares unit "
            f"embeddings: set the geometry to 'sphere', or leave that objective (or role) out."
        )
