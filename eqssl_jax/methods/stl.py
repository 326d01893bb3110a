"""STL: two images share their draws, and what one shows of the change carries the other over."""

from collections.abc import Mapping
from functools import partial

import jax
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import encoders, views
from eqssl_jax.methods.card import Addition, Card, Context, on_contrast, temperature, widths
from eqssl_jax.methods.row import TWO_VIEWS, Row
from eqssl_jax.objectives.base import Metrics, Objective, Views
from eqssl_jax.objectives.equivariant import stl
from eqssl_jax.objectives.equivariant.layers import first_weight
from eqssl_jax.settings import number
from eqssl_jax.views import Pattern

OWN_DRAWS = ("flip", "blur")  # parts that the authors draw for each image


def sharing(values: ConfigDict, context: Context) -> Mapping[str, Pattern]:
    """Rows 2k and 2k + 1 share the draws of all parts but flip and blur, in each view."""
    del values
    kinds = views.grouped(size=2), views.paired(2), views.fixed(2)
    aligned = [part for part in context.lines if part not in OWN_DRAWS]
    return {part: views.choose(context.lines[part].sharing, *kinds) for part in aligned}


def stl_loss(values: ConfigDict) -> Objective:
    """The three losses of STL on the contrast views (`eqssl_jax.objectives.equivariant.stl`).

    The heads of codes, of predicted features and of the codes' own comparison are the method's.

    Departures: the invariance loss reads the network's own projector, as wide as `config.model`
    says, where theirs has layers of 512 and 128 without biases; the optimiser is that of
    `config.optimizer`, where theirs is SGD (rate .03, momentum .9, weight decay 5e-4, batches of
    256, 200 epochs).
    They share crop, jitter and grey between two images and draw flip and blur for each; here all
    parts of the recipe but these two are shared, on `solids` therefore all (turn, floor and light),
    and none is drawn for each image. λ is .1 in their code and README, .2 in their paper.
    """
    heads = {
        "code": encoders.mlp(tuple(values.code), bias=False),
        "project": encoders.mlp(tuple(values.projector), bias=False),
        "compare": encoders.mlp(tuple(values.code_projector), bias=False),
    }

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        keys = jax.random.split(key, 4)
        width, code = seen.features.shape[-1], values.code[-1]
        return {
            "code": heads["code"].init(keys[0], 2 * width),
            "project": heads["project"].init(keys[1], width),
            "compare": heads["compare"].init(keys[2], code),
            "maps": first_weight(keys[3], width * width, code),
        }

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        code, project, compare = (partial(heads[name].apply, head[name]) for name in heads)
        options = {"temperature": values.temperature}
        y1, y2 = seen.features
        c12, c21 = stl.codes(y1, y2, code)
        predicted = stl.predictions(y1, y2, c12, c21, head["maps"])
        parts = {
            "invariance": stl.invariance(*seen.embeddings, **options),
            "equivariance": stl.equivariance(*map(project, (y1, y2, *predicted)), **options),
            "transformation": stl.transformation(c12, c21, compare, **options),
        }
        metrics = {f"stl_{name}": value for name, value in parts.items()}
        return stl.loss(**parts, weight=values.transformation), metrics

    return Objective("contrast", loss, init)


def build(values: ConfigDict, context: Context) -> Addition:
    if context.config.train.batch_size % 2:
        raise ValueError(
            f"config.objectives.{context.key} is STL, which pairs neighbouring images of a batch, "
            f"but config.train.batch_size is {context.config.train.batch_size}: make it even."
        )
    return on_contrast(values, context, stl_loss(values))


CARD = Card(
    name="stl",
    title="STL",
    source="Yu et al. 2024, arXiv:2501.08712",
    settings={
        "temperature": temperature(0.2, "τ of all three losses"),
        "transformation": number(
            0.1, "λ of the codes' loss: .1 in the authors' code, .2 in their paper", low=0
        ),
        "code": widths((128, 128), "of the head that reads a code off both views", least=1),
        "projector": widths((512, 128), "of the projector of true and predicted features", least=1),
        "code_projector": widths((128, 128), "of the projector of codes", least=1),
    },
    build=build,
    sharing=sharing,
    benchmark=Row(
        small={"code": (128, 32), "projector": (256, 64), "code_projector": (64, 64)},
        tried="transformation",
        cost=TWO_VIEWS,
    ),
)
