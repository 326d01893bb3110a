"""SEN: the embedding of one view, mapped by the change between views, picks out the other's."""

from typing import Any

import jax
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import encoders, objectives
from eqssl_jax.methods.card import (
    DRAWS,
    WIDEST,
    Addition,
    Card,
    Context,
    code_of_draw,
    on_contrast,
    temperature,
    widths,
)
from eqssl_jax.methods.row import TWO_VIEWS, Row
from eqssl_jax.objectives.base import Metrics, Objective, Views, unit
from eqssl_jax.objectives.equivariant import sen
from eqssl_jax.objectives.equivariant.layers import first_weight, hypernetwork
from eqssl_jax.settings import choice, whole


def sen_loss(values: ConfigDict, identity: Any) -> Objective:
    """NT-Xent of predicted and true embeddings of the second view; nothing asks for invariance.

    The authors published no code that we know of. The predictor "linear" and the defaults are those
    of seq-JEPA's repository (projector 2048-2048-2048 with a last BatchNorm without scale, code of
    128 numbers, τ .5), "hypernetwork" is that of SIE's (τ .1). The code is how the two draws differ
    (`parameter_differences`), for rotations the quaternion of R₂R₁ᵀ. The projector is the method's.
    """
    project = encoders.mlp(tuple(values.projector), last_batch_norm=True)
    dimension, linear = values.projector[-1], values.predictor == "linear"

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        keys = jax.random.split(key, 3)
        code = jax.eval_shape(objectives.parameter_differences, seen.params).shape[-1]
        head = {"project": project.init(keys[0], seen.features.shape[-1])}
        if not linear:
            return head | {"maps": first_weight(keys[1], dimension**2, code)}
        return head | {
            "embed": first_weight(keys[1], values.code, code),
            "predict": first_weight(keys[2], dimension, dimension + values.code),
        }

    def carried(head: PyTree, x: Array, code: Array) -> Array:
        if not linear:
            return hypernetwork(head["maps"], code, x)
        return sen.linear_prediction(x, code, embed=head["embed"], predict=head["predict"])

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        x, y = project.apply(head["project"], seen.features)
        predicted = carried(head, x, objectives.parameter_differences(seen.params))
        return sen.loss(predicted, y, temperature=values.temperature), {}

    def predict(head: PyTree, seen: Views, original: Views) -> tuple[Array, Array, Array]:
        after, before = (project.apply(head["project"], x.features) for x in (seen, original))
        predicted = carried(head, before[0], code_of_draw(identity, seen.params))
        return unit(after), unit(predicted)[None], unit(before)

    return Objective("contrast", loss, init, predict=predict)


def build(values: ConfigDict, context: Context) -> Addition:
    return on_contrast(values, context, sen_loss(values, context.recipe.identity))


CARD = Card(
    name="sen",
    title="SEN",
    source="Park et al. 2022 (ICML), as re-implemented for arXiv:2302.10283 and seq-JEPA (2025)",
    settings={
        "temperature": temperature(0.5, "τ: .5 in seq-JEPA's repository, .1 in SIE's"),
        "predictor": choice("linear", "how a code acts", ("linear", "hypernetwork")),
        "projector": widths((2048, 2048, 2048), "of the layers of its projector", least=1),
        "code": whole(128, "of linear: width that a code gets", low=1, high=WIDEST),
    },
    build=build,
    needs=(DRAWS,),
    benchmark=Row(small={"projector": (256, 64), "code": 32}, cost=TWO_VIEWS, projector=False),
)
