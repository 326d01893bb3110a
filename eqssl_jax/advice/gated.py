"""A method whose table of roles is numbers: what `method.build` makes, for all tables at once."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key
from ml_collections import ConfigDict

from eqssl_jax import objectives, views
from eqssl_jax.advice.candidates import Gates
from eqssl_jax.method import Method, losses
from eqssl_jax.objectives.base import Objective
from eqssl_jax.transforms.base import Params, Transform
from eqssl_jax.views import Draws, Pattern, ViewSpec

CONTRASTS = ("info_nce", "alignment", "uniformity")  # what candidates are trained with


def gated_method(
    config: ConfigDict, recipe: Transform, gate: Gates, used: set[tuple[str, str]]
) -> Method:
    """The method of one table, given as numbers [P] that may be traced.

    Objectives of roles that no table has are left out; `used` are the (part, role) of all. Three
    things differ from `method.build`: one set of ladders serves all ordered parts (image n walks
    that of the ordered part number n mod their count, and the loss counts once for each, by the
    mean of their weights); a weight of 0 leaves a loss without effect but not without cost; and the
    running averages of BatchNorm see the view sets of all roles, also under tables without them.
    """
    parts, settings = list(recipe.identity), config.objectives
    roles = {role for _, role in used}
    sets = {"contrast": ViewSpec(recipe, contrast_pattern(parts, gate))}
    weighted = _contrastive(settings)
    if "ordered" in roles:
        order = settings.order
        pattern = ladders_pattern(parts, gate, order.rungs, order.spacing)
        sets["ladder"] = ViewSpec(recipe, pattern, order.images or None, joint=True)
        weighted["order"] = (order.weight * jnp.sum(gate.order), losses.order_loss("ladder", order))
    if "rotational" in roles:
        own = settings.equivariance
        draws = own.splits if own.variant == "paper" else 1
        pattern = turning_pattern(parts, gate, draws, own.reference)
        sets["equivariance"] = ViewSpec(recipe, pattern, own.images or None)
        asked = own.weight * jnp.any(gate.turning > 0).astype(jnp.float32)
        weighted["equivariance"] = (asked, losses.gram_match(own.splits))
    for i, part in enumerate(parts):
        if (part, "predicted") in used:
            # What its targets vary by is looked at, which cannot wait for a traced step to run.
            with jax.ensure_compile_time_eval():
                loss = losses.prediction_loss(part, recipe, tuple(settings.prediction.hidden))
            weight = settings.prediction.weight * gate.prediction[i]
            weighted[f"prediction_{part}"] = (weight, loss)
    return Method(sets, weighted, joint_views=config.model.joint_views)


def _contrastive(settings: ConfigDict) -> dict[str, tuple[Any, Objective]]:
    """InfoNCE, and its two parts where they have a weight."""
    return {
        name: (
            settings[name].weight,
            losses.contrast_loss(name, getattr(objectives, name), settings[name].temperature),
        )
        for name in CONTRASTS
        if settings[name].weight or name == "info_nce"
    }


def contrast_pattern(parts: Sequence[str], gate: Gates) -> Pattern:
    """Two views, each part shared between them as its number says."""
    kinds = views.independent(2), views.paired(2), views.still(2)
    shared = {part: views.choose(gate.sharing[i], *kinds) for i, part in enumerate(parts)}
    return views.mix(views.independent(2), **shared)


def turning_pattern(parts: Sequence[str], gate: Gates, groups: int, reference: str) -> Pattern:
    """Two views of CARE: rotational parts shared within groups, the others at rest."""
    kinds = views.still(2), views.grouped(groups, 2, reference=reference)
    turning = (gate.turning > 0).astype(jnp.int32)
    shared = {part: views.choose(turning[i], *kinds) for i, part in enumerate(parts)}
    return views.mix(views.still(2), **shared)


def ladders_pattern(parts: Sequence[str], gate: Gates, rungs: int, spacing: str) -> Pattern:
    """Ladders of the ordered parts, each image of one of them; what is off stays at rest."""
    held = held_pattern(parts, gate, rungs)
    ladder = views.ladder(rungs, spacing=spacing)

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        key, sub = jax.random.split(key)
        params = dict(held.draw(sub, transform, count).params)
        magnitude = jnp.zeros((rungs, count))
        for part, walks in zip(parts, _walkers(gate.order, count), strict=True):
            key, sub = jax.random.split(key)
            alone = views.mix(views.still(rungs), **{part: ladder}).draw(sub, transform, count)
            params[part] = _where(walks, alone.params[part], params[part])
            if alone.magnitude is not None:
                magnitude = jnp.where(walks[None], alone.magnitude, magnitude)
        return Draws(params, magnitude)

    return Pattern(rungs, draw)


def held_pattern(parts: Sequence[str], gate: Gates, rungs: int) -> Pattern:
    """One draw for each image along a whole ladder, or none where the part is off."""
    kinds = views.paired(rungs), views.still(rungs)
    return views.mix(
        views.paired(rungs),
        **{part: views.choose(gate.off[i], *kinds) for i, part in enumerate(parts)},
    )


def _walkers(order: Float[Array, " p"], count: int) -> Bool[Array, "p n"]:
    """Which images walk the ladder of each part: the ordered parts take turns."""
    ordered = order > 0
    turn = jnp.arange(count) % jnp.maximum(jnp.sum(ordered), 1)
    place = jnp.cumsum(ordered) - 1
    return ordered[:, None] & (place[:, None] == turn[None, :])


def _where(chosen: Bool[Array, " n"], first: Params, second: Params) -> Params:
    def pick(a: Array, b: Array) -> Array:
        return jnp.where(chosen.reshape(1, -1, *[1] * (a.ndim - 2)), a, b)

    return jax.tree.map(pick, first, second)
