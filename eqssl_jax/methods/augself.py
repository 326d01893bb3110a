"""AugSelf: beside a base method, heads on both views' features read off how their draws differ."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import encoders, objectives
from eqssl_jax.methods.card import DRAWS, Addition, Card, Context, widths
from eqssl_jax.methods.row import TWO_VIEWS, Row
from eqssl_jax.objectives.base import Metrics, Objective, Views
from eqssl_jax.objectives.equivariant import augself, augself_targets
from eqssl_jax.settings import choice, number, numbers

# What tells a type by the names of its draw; a part with none of them is "other".
TYPES = {
    "crop": ("top",), "color": ("brightness", "contrast", "saturation"), "flip": ("flip",),
    "blur": ("sigma",), "rotation": ("turns",), "solarize": ("threshold",),
}  # fmt: skip
COLOR = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}  # at the identity


def type_of(draw: Mapping[str, Any]) -> str:
    """The type of a part, by the names of its parameters; "" for grayscale, which has no target."""
    if set(draw) == {"gray"}:
        return ""
    return next((name for name, leaves in TYPES.items() if set(leaves) & set(draw)), "other")


def target(kind: str, draws: Mapping[str, Mapping[str, Array]], part: str, strengths: Any) -> Array:
    """The target of one part from view a to view b of all draws, leaves [2, N, …]: a minus b."""
    a, b = ({name: leaf[view] for name, leaf in draws[part].items()} for view in (0, 1))
    always = jnp.ones(next(iter(a.values())).shape[:1], bool)  # what is not applied is identity
    if kind == "crop":
        first, second = (
            jnp.stack([x[n] for n in ("top", "left", "height", "width")], axis=1) for x in (a, b)
        )
        flips = [d["flip"][0] for d in draws.values() if "flip" in d]
        return augself_targets.crop(first, second, flips[0] if flips else ~always)
    if kind == "color":
        still = jnp.ones_like(next(iter(a.values())), jnp.float32)
        first, second = (
            jnp.stack([x.get(name, middle * still) for name, middle in COLOR.items()], axis=1)
            for x in (a, b)
        )
        change = augself_targets.color(first, second, always, always, strengths=strengths)
        return change[:, np.array([name in a for name in COLOR])]  # a part may draw some of them
    if kind in ("blur", "solarize"):
        function, (leaf,) = getattr(augself_targets, kind), TYPES[kind]
        return function(a[leaf], b[leaf], always, always)
    if kind == "flip":
        return augself_targets.flip(a["flip"], b["flip"])
    if kind == "rotation":
        return augself_targets.rotation(a["turns"], b["turns"])
    # The change to a from b, of all other draws: rotations of objects, hues of lamps.
    return objectives.parameter_differences(
        {part: jax.tree.map(lambda leaf: leaf[::-1], draws[part])}
    )


def augself_loss(values: ConfigDict, identity: Mapping[str, Any]) -> Objective:
    """Σ weight · loss over the types with a weight, of all parts of the recipe.

    Features are the encoder's, of both views or, `second` "target" (MoCo), that of the second view
    by the momentum encoder, without gradient. Crops and colours count by default, with weight 1, as
    on STL-10 (.5 on ImageNet-100). A part of another kind, such as the rotation of an object, is
    regressed by its squared error without tanh, as SIE's repository does for "AugSelf"; grayscale
    has no target, as theirs. Targets of
    solarisation are compared element by element; the published code broadcasts them (`objectives.
    equivariant.augself`). Where the authors say that a jitter or blur was not applied, the draw is
    at its identity, which gives the same target. Their flips of both crops are drawn in a second,
    batched stage, and here with all other parts; either way a crop's target is
    mirrored by the flip of the first view alone, as in their code.
    """
    kinds = {part: type_of(draw) for part, draw in identity.items()}
    kinds = {part: kind for part, kind in kinds.items() if kind and values[kind]}
    hidden = tuple(values.hidden)

    def outputs(seen: Views) -> dict[str, int]:
        shapes = {
            part: jax.eval_shape(
                partial(target, kind, part=part, strengths=values.jitter), draws=seen.params
            )
            for part, kind in kinds.items()
        }
        return {part: 4 if s.ndim == 1 else s.shape[1] for part, s in shapes.items()}

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        width = 2 * seen.features.shape[-1]
        sizes = outputs(seen)
        keys = jax.random.split(key, len(sizes))
        return {
            part: encoders.mlp((*hidden, size)).init(k, width)
            for (part, size), k in zip(sizes.items(), keys, strict=True)
        }

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        y1 = seen.features[0]
        y2 = seen.features[1] if values.second == "online" else _by_target(seen)
        back = jax.tree.map(lambda leaf: leaf[::-1], seen.params)
        losses: dict[str, Array] = {}
        for part, kind in kinds.items():
            size = outputs(seen)[part]
            read = partial(encoders.mlp((*hidden, size)).apply, head[part])
            targets = [target(kind, d, part, values.jitter) for d in (seen.params, back)]
            rows, wanted = augself.outputs(y1, y2, read), jnp.concatenate(targets)
            value = (
                jnp.mean((rows - wanted) ** 2)
                if kind == "other"
                else augself.LOSSES[kind](rows, wanted)
            )
            losses[part] = value
        total = augself.loss(losses, {part: values[kind] for part, kind in kinds.items()})
        return total, {f"augself_{part}": value for part, value in losses.items()}

    return Objective("contrast", loss, init)


def _by_target(seen: Views) -> Array:
    if seen.target_features is None:
        raise ValueError(
            "config.objectives.augself.second is 'target', but no method of this run has a target "
            "network: add moco or byol, or set it to 'online'."
        )
    return jax.lax.stop_gradient(seen.target_features[-1])


def build(values: ConfigDict, context: Context) -> Addition:
    identity = context.recipe.identity
    if not all(isinstance(draw, Mapping) for draw in identity.values()):
        raise ValueError(
            f"config.objectives.{context.key} is AugSelf, which reads the draws of each part, and "
            f"the draws of the recipe {context.config.recipe.name!r}, {list(identity)}, are not by "
            f"part: let it return transforms.chain(NAME=…)."
        )
    types = {type_of(draw) for draw in identity.values()} - {""}
    if not any(values[kind] for kind in types):
        raise ValueError(
            f"config.objectives.{context.key} gives no weight to what the recipe has: its parts "
            f"{sorted(identity)} are of the types {sorted(types)}. Weigh one of them."
        )
    loss = augself_loss(values, identity)
    return Addition({"contrast": context.contrast}, {context.key: (values.weight, loss)})


CARD = Card(
    name="augself",
    title="AugSelf",
    source="Lee et al. 2021 (NeurIPS), arXiv:2111.09613",
    settings={
        **{
            kind: number(float(kind in ("crop", "color", "other")), "weight of this type", low=0)
            for kind in (*TYPES, "other")
        },
        "hidden": widths((512, 512), "of the hidden layers of each head"),
        "jitter": numbers((0.4, 0.4, 0.4, 0.1), "strengths that colours are scaled by", above=0),
        "second": choice("online", "which network the second feature is of", ("online", "target")),
    },
    build=build,
    needs=(DRAWS,),
    compares=False,
    benchmark=Row(small={"hidden": (256, 256)}, cost=TWO_VIEWS),
)
