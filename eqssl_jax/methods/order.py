"""Order: along a ladder from the identity to a draw, embeddings move away step by step."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key
from ml_collections import ConfigDict

from eqssl_jax import objectives, views
from eqssl_jax.methods.card import DRAWS, Addition, Card, Context, first_images, temperature
from eqssl_jax.methods.roles import Line, amount, is_zero, parts_with
from eqssl_jax.methods.row import Row
from eqssl_jax.objectives.base import Metrics, Objective, Views, unit
from eqssl_jax.objectives.order import FORMS
from eqssl_jax.settings import choice, number, whole
from eqssl_jax.transforms.base import Params, Transform
from eqssl_jax.views import Draws, Pattern, ViewSpec

_OTHERS: Mapping[str, Callable[[int], Pattern]] = {
    "shared": views.paired,
    "independent": views.independent,
}


def order_loss(ladder: str, values: ConfigDict) -> Objective:
    """Order preservation of the unit embeddings of a view set that is a ladder."""
    form, margin, temperature = values.form, values.margin, values.temperature

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


def build(values: ConfigDict, context: Context) -> Addition:
    """For each ordered part a ladder, and the loss that preserves its order.

    Where the roles are numbers, one set of ladders serves all ordered parts: image n is on the
    ladder of the ordered part number n mod their count, and the loss counts once for each, by the
    mean of their weights.
    """
    lines, images = context.lines, values.images or None
    weights = {part: lines[part].weights["ordered"] for part in parts_with(lines, "ordered")}
    if not all(isinstance(weight, float) for weight in weights.values()):
        pattern = ladders_pattern(lines, values.rungs, values.spacing, values.others)
        total = jnp.sum(jnp.stack(list(weights.values())))
        spec = ViewSpec(context.recipe, pattern, images, joint=True)
        loss = order_loss("ladder", values)
        return Addition({"ladder": spec}, {context.key: (values.weight * total, loss)})
    sets, weighted = {}, {}
    for part, weight in weights.items():
        if not is_zero(values.weight * weight):
            name = f"ladder_{part}"
            pattern = ladder_pattern(part, lines, values.rungs, values.spacing, values.others)
            sets[name] = ViewSpec(context.recipe, pattern, images, joint=True)
            loss = order_loss(name, values)
            weighted[f"{context.key}_{part}"] = (values.weight * weight, loss)
    return Addition(sets, weighted)


def ladder_pattern(
    part: str, lines: Mapping[str, Line], rungs: int, spacing: str, others: str = "shared"
) -> Pattern:
    """A ladder of one part; what is off stays at the identity.

    All else is drawn once for each image (`others` is "shared"), so that only the part changes, or
    for each rung ("independent"), so that the order must hold amid other changes.
    """
    fixed = {other: views.fixed(rungs) for other in parts_with(lines, "off")}
    ladder = views.ladder(rungs, spacing=spacing)
    return views.mix(_OTHERS[others](rungs), **fixed, **{part: ladder})


def ladders_pattern(
    lines: Mapping[str, Line], rungs: int, spacing: str, others: str = "shared"
) -> Pattern:
    """Ladders of the ordered parts, each image of one of them; what is off stays at identity."""
    held = _held_pattern(lines, rungs, others)
    ladder = views.ladder(rungs, spacing=spacing)
    weights = [jnp.asarray(line.weights.get("ordered", 0.0)) for line in lines.values()]

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        key, sub = jax.random.split(key)
        params = dict(held.draw(sub, transform, count).params)
        magnitude = jnp.zeros((rungs, count))
        for part, turns in zip(lines, _turns(jnp.stack(weights), count), strict=True):
            key, sub = jax.random.split(key)
            alone = views.mix(views.fixed(rungs), **{part: ladder}).draw(sub, transform, count)
            params[part] = _where(turns, alone.params[part], params[part])
            if alone.magnitude is not None:
                magnitude = jnp.where(turns[None], alone.magnitude, magnitude)
        return Draws(params, magnitude)

    return Pattern(rungs, draw)


def _held_pattern(lines: Mapping[str, Line], rungs: int, others: str) -> Pattern:
    """One draw for each image along a whole ladder, or for each rung; none where a part is off."""
    kinds = _OTHERS[others](rungs), views.fixed(rungs)
    off = {part: amount(line.weights.get("off", 0.0)) for part, line in lines.items()}
    return views.mix(
        kinds[0], **{part: views.choose(switch, *kinds) for part, switch in off.items()}
    )


def _turns(order: Float[Array, " p"], count: int) -> Bool[Array, "p n"]:
    """Which images are on the ladder of each part: the ordered parts take turns."""
    ordered = order > 0
    turn = jnp.arange(count) % jnp.maximum(jnp.sum(ordered), 1)
    place = jnp.cumsum(ordered) - 1
    return ordered[:, None] & (place[:, None] == turn[None, :])


def _where(chosen: Bool[Array, " n"], first: Params, second: Params) -> Params:
    def pick(a: Array, b: Array) -> Array:
        return jnp.where(chosen.reshape(1, -1, *[1] * (a.ndim - 2)), a, b)

    return jax.tree.map(pick, first, second)


CARD = Card(
    name="order",
    title="Order preservation",
    source="after Xie et al. 2022 (CVPRW, pp. 4111-4120); loss and sharing are ours",
    settings={
        "rungs": whole(4, "views on a ladder", low=3, high=256),
        "spacing": choice(
            "random",
            "random: drawn for each image; even: from identity to draw",
            ("random", "even"),
        ),
        "others": choice(
            "shared",
            "what else varies on a ladder: shared: one draw for all rungs; independent: one for "
            "each, so that the order must hold amid other changes",
            ("shared", "independent"),
        ),
        "form": choice("hinge", "of the loss", tuple(FORMS)),
        "margin": number(0.5, "hinge: distance for each unit of magnitude", low=0, high=1e4),
        "temperature": temperature(0.1, "listwise: τ of the softmax"),
        "images": first_images(),
    },
    build=build,
    role="ordered",
    needs=(DRAWS,),
    compares=False,
    benchmark=Row(
        small={"images": 32},  # a quarter of the batch
        full={"images": 64},
        cost={"": 3 / 2},
    ),
)
