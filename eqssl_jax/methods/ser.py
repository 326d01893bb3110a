"""SER: beside a base method, the feature map of a turned image must be the turned feature map."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import views
from eqssl_jax.methods.card import DRAWS, Addition, Card, Context, temperature, widths
from eqssl_jax.methods.row import Row
from eqssl_jax.objectives.base import Metrics, Objective, Views
from eqssl_jax.objectives.equivariant import ser
from eqssl_jax.objectives.equivariant.layers import Layer, dense, first_weight
from eqssl_jax.settings import names, text, whole
from eqssl_jax.transforms import Transform, chain, horizontal_flip, quarter_turn
from eqssl_jax.transforms.base import Params
from eqssl_jax.views import Draws, Pattern, ViewSpec

# Parts that move no pixel, by the names that recipes give them.
COLORS = (
    "jitter", "gray", "blur", "solarize", "brightness", "contrast", "saturation", "hue", "floor",
    "light",
)  # fmt: skip
FLIP, TURN = horizontal_flip(), quarter_turn()
LOOK, MOVE = "look", "move"  # what the views of a set are drawn of


def moved(maps: Float[Array, "n s s c"], start: Params, end: Params) -> Float[Array, "n s s c"]:
    """Maps of views with the draws `start`, leaves [N], in the frames of the draws `end`.

    With the view x ↦ T_a x the map T_b T_a⁻¹ m, where T first flips (if draws have a flip), then
    turns. Quarter turns and flips move whole pixels, so that nothing is interpolated.
    """

    def move(x: Array, a: Params, b: Params) -> Array:
        x = TURN.apply({"turns": (4 - a["turn"]["turns"]) % 4}, x)
        if "flip" in a:
            x = FLIP.apply(b["flip"], FLIP.apply(a["flip"], x))
        return TURN.apply(b["turn"], x)

    return jax.vmap(move)(maps, start, end)


def places(maps: Float[Array, "n ..."]) -> Float[Array, "n s s c"]:
    """A map with its places in rows and columns; tokens of a vision transformer are such rows.

    Raises:
      ValueError: for tokens that are no square.
    """
    if maps.ndim == 4:
        return maps
    count, tokens, width = maps.shape
    side = round(tokens**0.5)
    if side**2 != tokens:
        raise ValueError(f"SER moves square maps, but the layer has {tokens} tokens an image.")
    return maps.reshape(count, side, side, width)


def ser_objective(values: ConfigDict, set_name: str) -> Objective:
    """½ [ℓ(m̃₁, m₂) + ℓ(m̃₂, m₁)], with m̃ᵢ the map of view i in the other's frame.

    ℓ is `objectives.equivariant.ser.loss`; a map goes through a head of layers of 1 × 1, GELU
    between them. Departures: both maps are the online network's (with MoCo-v3 the authors take the
    moved one from the momentum network); the action is a flip and quarter turns, drawn for each
    image and view (they also resize by an area of .7 to 1.3, draw the odd quarter turn for each
    GPU, and give the second view the half turn and flip that the first has not); and the term has
    the gradient of its formula, where in their code all maps come from a gather without one, so
    that only the base method trains (`objectives.equivariant.ser`). They compare 1 % of a batch;
    the benchmark 32 of 128 images, 25 %, for 1 % is one image and has no negatives. Their map is
    that of layer 3 of ViT-S/16, behind which [CLS] joins; here [CLS] is in every layer, and left
    out of the map. Their weight is 1 with MoCo-v3 and Barlow Twins and .3 with DINO.
    """

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        inputs = (_maps(seen).shape[-1], *values.head[:-1])
        keys = jax.random.split(key, len(values.head))
        return [
            {"weight": first_weight(k, outputs, width), "bias": jnp.zeros(outputs)}
            for k, width, outputs in zip(keys, inputs, values.head, strict=True)
        ]

    def projected(head: PyTree, maps: Array) -> Array:
        rows = maps.reshape(-1, maps.shape[-1])
        for layer in head[:-1]:
            rows = jax.nn.gelu(dense(rows, Layer(**layer)), approximate=False)
        rows = dense(rows, Layer(**head[-1]))
        return rows.reshape(*maps.shape[:-1], rows.shape[-1])

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        maps = [projected(head, places(view)) for view in _maps(seen)]
        draws = [jax.tree.map(lambda leaf, v=v: leaf[v], seen.params[MOVE]) for v in (0, 1)]
        positions, total = maps[0].shape[1] * maps[0].shape[2], jnp.zeros(())
        for a, b in ((0, 1), (1, 0)):
            pair = moved(maps[a], draws[a], draws[b]), maps[b]
            rows = [m.reshape(-1, m.shape[-1]) for m in pair]
            one_way = ser.loss(*rows, positions=positions, temperature=values.temperature)
            total = total + 0.5 * one_way
        return total, {}

    return Objective(set_name, loss, init)


def _maps(seen: Views) -> Array:
    if seen.maps is None:
        raise ValueError("SER reads a feature map, and its view set names no layer.")
    return seen.maps


def changing(asked: Sequence[str], identity: Mapping[str, Any], setting: str) -> tuple[str, ...]:
    """The parts that the two views draw apart.

    Raises:
      ValueError: for a part that the recipe lacks.
    """
    if missing := sorted(set(asked) - set(identity)):
        raise ValueError(f"{setting} names {missing}; the recipe has the parts {list(identity)}.")
    return tuple(asked) or tuple(part for part in identity if part in COLORS)


def build(values: ConfigDict, context: Context) -> Addition:
    """A view set of the first `images` images: two views of one crop, each flipped and turned.

    Scenes are turned alone: the picture of a scene has no flip.
    """
    setting = f"config.objectives.{context.key}"
    if values.images > context.config.train.batch_size:
        raise ValueError(
            f"{setting}.images is {values.images}, more than the "
            f"{context.config.train.batch_size} images of config.train.batch_size."
        )
    apart = changing(values.independent, context.recipe.identity, f"{setting}.independent")
    scenes = context.config.recipe.name == "solids"
    action = chain(turn=TURN) if scenes else chain(flip=FLIP, turn=TURN)
    spec = ViewSpec(
        chain(**{LOOK: context.recipe, MOVE: action}),
        _two_frames(context.recipe, action, apart),
        images=values.images,
        layer=values.layer,
    )
    name = f"{context.key}_frames"
    return Addition({name: spec}, {context.key: (values.weight, ser_objective(values, name))})


def _two_frames(recipe: Transform, action: Transform, apart: Sequence[str]) -> Pattern:
    """Two views of an image that share the recipe's draws, but for these parts, and move apart."""
    look = views.mix(views.paired(2), **{part: views.independent(2) for part in apart})

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        del transform  # the chain of the two below
        keys = jax.random.split(key)
        looks = look.draw(keys[0], recipe, count)
        moves = views.independent(2).draw(keys[1], action, count)
        return Draws({LOOK: looks.params, MOVE: moves.params})

    return Pattern(2, draw)


CARD = Card(
    name="ser",
    title="SER",
    source="arXiv:2603.06693 (ICLR 2026)",
    settings={
        "temperature": temperature(0.5, "τ: .5 with MoCo-v3, .4 with DINO and Barlow Twins"),
        "layer": text("layer2", "whose map is compared, as `layers` names it", empty=False),
        "images": whole(32, "how many images of a batch; the authors take a hundredth", low=2),
        "head": widths((512, 512), "of the layers of 1 × 1 on the map", least=1),
        "independent": names((), "parts drawn apart in both views; (): those of colours alone"),
    },
    build=build,
    needs=(DRAWS,),
    compares=False,
    benchmark=Row(
        small={"layer": "layer1", "head": (64, 64), "images": 32},
        full={"layer": "layer1", "images": 64},
        cost={"": 5 / 4},
    ),
)
