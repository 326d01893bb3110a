"""Classification: a linear layer on the features names the class; for training on labels.

From random weights this is supervised training; with `config.train.init_from` it is fine-tuning.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import views
from eqssl_jax.methods.card import LABELS, Addition, Card, Context
from eqssl_jax.methods.row import Row
from eqssl_jax.objectives.base import Metrics, Objective, Views
from eqssl_jax.settings import number
from eqssl_jax.views import ViewSpec


def logits(head: PyTree, features: Float[Array, "n h"]) -> Float[Array, "n k"]:
    """The class scores of features: the linear layer that was trained beside the encoder."""
    return features @ head["weight"] + head["bias"][None, :]


def cross_entropy(smoothing: float, view_set: str) -> Objective:
    """−Σ_k y_k log softmax(logits)_k, the mean over images; y is one-hot, smoothed towards 1/K."""

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        if seen.labels is None:
            raise ValueError("Classification needs labels, and these images have none.")
        del key  # zeros: the first gradient of the layer does not depend on a draw
        shape = seen.features.shape[-1], seen.labels.shape[-1]
        return {"weight": jnp.zeros(shape), "bias": jnp.zeros(shape[1])}

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        assert seen.labels is not None  # `init` refused that
        scores, target = logits(head, seen.features[0]), seen.labels
        hit = jnp.argmax(scores, axis=1) == jnp.argmax(target, axis=1)
        target = (1 - smoothing) * target + smoothing / target.shape[1]
        value = -jnp.mean(jnp.sum(target * jax.nn.log_softmax(scores), axis=1))
        return value, {"train_accuracy": jnp.mean(hit.astype(jnp.float32))}

    return Objective(view_set, loss, init, classify=logits)


def build(values: ConfigDict, context: Context) -> Addition:
    """One view of each image, under the whole recipe whatever the roles."""
    spec = ViewSpec(context.recipe, views.independent(1))
    objective = cross_entropy(values.smoothing, context.key)
    return Addition({context.key: spec}, {context.key: (values.weight, objective)})


CARD = Card(
    name="classify",
    title="Classification",
    source="cross-entropy; label smoothing: Szegedy et al. 2016, arXiv:1512.00567",
    settings={"smoothing": number(0.0, "share of a label spread over all classes", low=0, below=1)},
    build=build,
    needs=(LABELS,),
    compares=False,
    geometries=("sphere", "hyperboloid"),
    benchmark=Row(name="supervised", cost={"": 1 / 2}, projector=False),
)
