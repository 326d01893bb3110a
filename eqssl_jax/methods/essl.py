"""E-SSL: beside matching two views, tell by how many quarter turns a third was rotated."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import views
from eqssl_jax.methods.card import Addition, Card, Context, temperature, widths
from eqssl_jax.methods.recipe import build_recipe
from eqssl_jax.methods.row import Row
from eqssl_jax.objectives.base import Metrics, Objective, Views
from eqssl_jax.objectives.equivariant import essl
from eqssl_jax.objectives.equivariant.layers import Layer, first_weight
from eqssl_jax.settings import flag, free, number
from eqssl_jax.transforms import Transform, chain, quarter_turn
from eqssl_jax.views import Draws, Pattern, ViewSpec


def all_turns() -> Pattern:
    """Four views of each image, the k-th with the draw of k quarter turns."""

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        del key
        turns = jnp.broadcast_to(jnp.arange(4)[:, None], (4, count))
        return Draws(jax.tree.map(lambda leaf: turns, transform.identity))

    return Pattern(4, draw)


def matching(values: ConfigDict) -> Objective:
    """The invariance loss, which compares no two images in the same view (`essl.cross_view`)."""

    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        return essl.cross_view(*seen.embeddings, temperature=values.temperature), {}

    return Objective("contrast", loss)


def turn_prediction(values: ConfigDict, set_name: str) -> Objective:
    """Cross-entropy of a head with LayerNorm that reads the turns off the encoder's features."""
    sizes = (*values.head, 4)

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        inputs = (seen.features.shape[-1], *sizes[:-1])
        layers = {}
        for i, (width, outputs) in enumerate(zip(inputs, sizes, strict=True)):
            key, used = jax.random.split(key)
            layer = {"weight": first_weight(used, outputs, width), "bias": jnp.zeros(outputs)}
            if i < len(sizes) - 1:
                layer |= {"scale": jnp.ones(outputs), "shift": jnp.zeros(outputs)}
            layers[f"layer{i + 1}"] = layer
        return layers

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        layers = [Layer(**head[f"layer{i + 1}"]) for i in range(len(sizes))]
        turns, count, width = seen.features.shape
        features = seen.features.reshape(turns * count, width)  # in blocks, one a turn
        logits = essl.turn_logits(features, layers, relu_before_last=values.relu_before_last)
        labels = essl.turn_labels(count)
        hit = jnp.mean((jnp.argmax(logits, axis=1) == labels).astype(jnp.float32))
        return essl.turn_loss(logits, labels), {"turn_accuracy": hit}

    return Objective(set_name, loss, init)


def build(values: ConfigDict, context: Context) -> Addition:
    """The contrast views, and one further view of each image in its four rotations.

    Departures: the projector is the network's, as `config.model` says, where theirs is 2048-2048 on
    CIFAR-10, without biases, its last BatchNorm without scale and shift, and 2048-2048-128 on
    ImageNet, that BatchNorm with them; and the optimiser is that of `config.optimizer`, where they
    use SGD with the rate .06 · batch / 256 (.03 for SimCLR alone), weight decay 5e-4, batches of
    512 and 800 epochs with 10 of warm-up. Their code's default of λ is 0 on CIFAR-10 and .4 on
    ImageNet, and .4 is meant in both; its SimSiam branch lacks the second ReLU of the head.
    """
    setting = f"config.objectives.{context.key}.recipe_options"
    recipe, options = context.recipe, values.recipe_options.to_dict()
    if options:
        shared = context.config.recipe
        options = {**shared.options.to_dict(), **options}
        recipe = build_recipe(shared.name, options, "config.recipe.name", setting)
    name = f"{context.key}_turns"
    turned = ViewSpec(
        chain(view=recipe, turn=quarter_turn()),
        views.mix(views.paired(4), turn=all_turns()),
        joint=True,
    )
    objectives = {
        context.key: (values.weight, matching(values)),
        name: (values.weight * values.turn, turn_prediction(values, name)),
    }
    return Addition({"contrast": context.contrast, name: turned}, objectives)


CARD = Card(
    name="essl",
    title="E-SSL",
    source="Dangovski et al. 2022, arXiv:2111.00899",
    settings={
        "temperature": temperature(0.5, "τ of the matching: .5 on CIFAR-10, .2 on ImageNet"),
        "turn": number(0.4, "λ of the rotations' loss, relative to the matching", low=0),
        "head": widths((2048, 2048), "of the hidden layers of the head; ImageNet adds 128"),
        "relu_before_last": flag(True, "a ReLU behind the last LayerNorm; not so on ImageNet"),
        "recipe_options": free(
            "options of the rotated view's recipe where it differs from config.recipe; the authors "
            "crop 16 of CIFAR's 32 pixels and 96 of ImageNet's 224"
        ),
    },
    build=build,
    benchmark=Row(
        small={"head": (256, 256)},
        # The authors crop 16 of CIFAR's 32 pixels for the view whose turns are told.
        recipes={"simclr_cifar": {"recipe_options": {"size": 16}}},
        tried="turn",
        cost={"": 3.0, "simclr_cifar": 3 / 2},
    ),
)
