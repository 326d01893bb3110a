"""CASSLE: the projector is told each view's draw, so that the encoder need not forget it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import encoders, objectives
from eqssl_jax.methods.card import DRAWS, Addition, Card, Context, on_contrast, temperature, widths
from eqssl_jax.methods.row import TWO_VIEWS, Row
from eqssl_jax.objectives.base import Metrics, Objective, Views
from eqssl_jax.objectives.equivariant.layers import nt_xent


def cassle_loss(values: ConfigDict) -> Objective:
    """NT-Xent of π([y; a(ω)]), with ω the draw of a view itself, not how two draws differ.

    a has six layers of 64 with BatchNorm and ReLU between them and a BatchNorm behind the last, as
    the authors'; π is the method's own and the network's projector is not trained. ω is
    `parameter_vector`: all numbers of the draw, where the authors take blur, colour, crop and grey
    (13 numbers), among them the difference of the mean colour before and after the jitter, which no
    draw knows and which is left out. A crop is top, left, height and width, where theirs is its
    centre, whose x is mirrored if the view is flipped; and numbers are as drawn, where they scale
    colours as AugSelf does. Base method SimCLR with τ .2 (that of their MoCo-v2, whose
    queue holds online embeddings); their additive, multiplicative and hypernetwork forms are not
    here. They publish MoCo-v2 on ImageNet-100: ResNet-50, 500 epochs, rate .03, decay 1e-4.
    """
    project = encoders.mlp(tuple(values.projector))
    condition = encoders.mlp(tuple(values.condition), last_batch_norm=True)

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        keys = jax.random.split(key)
        code = jax.eval_shape(objectives.parameter_vector, seen.params).shape[-1]
        width = seen.features.shape[-1] + values.condition[-1]
        return {"condition": condition.init(keys[0], code), "project": project.init(keys[1], width)}

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        code = condition.apply(head["condition"], objectives.parameter_vector(seen.params))
        z1, z2 = project.apply(head["project"], jnp.concatenate([seen.features, code], axis=-1))
        return nt_xent(z1, z2, temperature=values.temperature), {}

    return Objective("contrast", loss, init)


def build(values: ConfigDict, context: Context) -> Addition:
    return on_contrast(values, context, cassle_loss(values))


CARD = Card(
    name="cassle",
    title="CASSLE",
    source="Przewięźlikowski et al. 2024 (Knowledge-Based Systems), arXiv:2306.06082",
    settings={
        "temperature": temperature(0.2),
        "condition": widths((64,) * 6, "of the layers that read the draw", least=1),
        "projector": widths((2048, 128), "of the projector of features and code", least=1),
    },
    build=build,
    needs=(DRAWS,),
    benchmark=Row(small={"projector": (256, 64)}, cost=TWO_VIEWS, projector=False),
)
