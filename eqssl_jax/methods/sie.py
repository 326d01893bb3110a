"""SIE: half of the features is invariant, a hypernetwork carries the other half between views."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import encoders, objectives
from eqssl_jax.methods.card import (
    DRAWS,
    Addition,
    Card,
    Context,
    code_of_draw,
    on_contrast,
    widths,
)
from eqssl_jax.methods.row import TWO_VIEWS, Row
from eqssl_jax.objectives.base import Metrics, Objective, Views, unit
from eqssl_jax.objectives.equivariant import sie
from eqssl_jax.objectives.equivariant.layers import first_weight, hypernetwork
from eqssl_jax.settings import number


def sie_loss(values: ConfigDict, identity: Any) -> Objective:
    """SIE's loss of the contrast views' features (`eqssl_jax.objectives.equivariant.sie`).

    The first half of the features is the invariant part, and each part has a projector of its own;
    the network's projector is not trained by it. The code g of the change from view 1 to view 2 is
    how their draws differ (`parameter_differences`): of rotations the quaternion of R₂R₁ᵀ with
    w ≥ 0, where the authors take that of R₁⁻¹R₂ with a sign that depends on the version of SciPy,
    and of hues (cos, sin), where they take the difference as it comes. The authors have no other
    transformation than the pose and hue of rendered objects, and train by Adam at 1e-3 without a
    schedule for 2000 epochs of batch 1024.
    """
    project = encoders.mlp(tuple(values.projector), bias=False)

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        keys = jax.random.split(key, 3)
        width, left = divmod(seen.features.shape[-1], 2)
        if left or not width:
            raise ValueError(
                f"SIE halves the features of the encoder, found {seen.features.shape[-1]}: choose "
                f"an encoder of even width."
            )
        code = jax.eval_shape(objectives.parameter_differences, seen.params).shape[-1]
        return {
            "invariant": project.init(keys[0], width),
            "equivariant": project.init(keys[1], width),
            "maps": first_weight(keys[2], values.projector[-1] ** 2, code),
        }

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        halves = zip(
            ("invariant", "equivariant"), jnp.split(seen.features, 2, axis=-1), strict=True
        )
        invariant, equivariant = (project.apply(head[name], half) for name, half in halves)
        code = objectives.parameter_differences(seen.params)
        predicted = hypernetwork(head["maps"], code, equivariant[0])
        x, y = jnp.concatenate([invariant, equivariant], axis=-1)  # [N, 2D] each
        weights = {name: values[name] for name in sie.Terms._fields}
        metrics = {f"sie_{name}": v for name, v in sie.terms(x, y, predicted)._asdict().items()}
        return sie.loss(x, y, predicted, **weights), metrics

    def predict(head: PyTree, seen: Views, original: Views) -> tuple[Array, Array, Array]:
        halves = (jnp.split(x.features, 2, axis=-1)[1] for x in (seen, original))
        after, before = (project.apply(head["equivariant"], half) for half in halves)
        predicted = hypernetwork(head["maps"], code_of_draw(identity, seen.params), before[0])
        return unit(after), unit(predicted)[None], unit(before)

    return Objective("contrast", loss, init, predict=predict)


def build(values: ConfigDict, context: Context) -> Addition:
    return on_contrast(values, context, sie_loss(values, context.recipe.identity))


_weight = partial(number, low=0, high=1e6)
CARD = Card(
    name="sie",
    title="SIE",
    source="Garrido, Najman and LeCun 2023, arXiv:2302.10283",
    settings={
        "projector": widths((1024, 1024, 1024), "of the projector of either half", least=1),
        "invariance": _weight(10.0, "of the invariant parts' squared distance"),
        "equivariance": _weight(
            4.5, "of the prediction's: 4.5 in the authors' command, 45 by the code's default"
        ),
        "variance": _weight(10.0, "of the hinge on the spread of both views"),
        "predicted_variance": _weight(10.0, "of the hinge on the spread of predictions"),
        "covariance": _weight(1.0, "of covariances, also between the two parts"),
    },
    build=build,
    needs=(DRAWS,),
    benchmark=Row(
        small={"projector": (128, 64)}, tried="equivariance", cost=TWO_VIEWS, projector=False
    ),
)
