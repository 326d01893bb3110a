"""BYOL: a head predicts the embedding that a slowly moving network has of the other view."""

from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import encoders, objectives
from eqssl_jax.methods.card import TARGET, Addition, Card, Context, on_contrast, widths
from eqssl_jax.methods.row import Row
from eqssl_jax.methods.target import target_embeddings
from eqssl_jax.objectives.base import Metrics, Objective, Views, unit


def byol_loss(values: ConfigDict) -> Objective:
    """A head predicts the target network's embedding of the other view, both ways."""

    def predictor(dimension: int) -> encoders.Head:
        return encoders.mlp((*values.hidden, dimension))

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        dimension = seen.embeddings.shape[-1]
        return predictor(dimension).init(key, dimension)

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        predict = predictor(seen.embeddings.shape[-1]).apply
        predicted = unit(predict(head, seen.embeddings))
        target = unit(target_embeddings("byol", seen))
        cosine = objectives.negative_cosine(predicted[0], target[1])
        cosine += objectives.negative_cosine(predicted[1], target[0])
        # ‖p − z‖² of unit vectors, summed over the two ways as in the paper.
        return 4 + 2 * cosine, {"positive_cosine": -cosine / 2}

    return Objective("contrast", loss, init)


def build(values: ConfigDict, context: Context) -> Addition:
    return on_contrast(values, context, byol_loss(values))


CARD = Card(
    name="byol",
    title="BYOL",
    source="Grill et al. 2020, arXiv:2006.07733",
    settings={"hidden": widths((4096,), "of the predictor's hidden layers")},
    build=build,
    needs=(TARGET,),
    published="BYOL",
    benchmark=Row(small={"hidden": (256,)}, cost={"": 4 / 3}),
)
