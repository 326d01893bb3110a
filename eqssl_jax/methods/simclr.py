"""SimCLR: InfoNCE of two views of each image."""

from collections.abc import Callable

from jaxtyping import Array, Float
from ml_collections import ConfigDict

from eqssl_jax import objectives
from eqssl_jax.methods.card import Addition, Card, Context, on_contrast, temperature
from eqssl_jax.methods.row import TWO_VIEWS, Row
from eqssl_jax.objectives.base import Metrics, Objective, Views


def contrast_loss(
    function: Callable[..., Array], temperature: float, *, geometry: str = "sphere"
) -> Objective:
    """A loss of two views' points in a geometry, as an objective on the contrast views."""
    place, similarity, _ = objectives.GEOMETRIES[geometry]

    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        z1, z2 = place(seen.embeddings)
        apart = objectives.alignment(z1, z2, temperature=1.0, similarity=similarity)
        value = function(z1, z2, temperature=temperature, similarity=similarity)
        if geometry == "sphere":
            return value, {"positive_cosine": -apart}
        return value, {"positive_distance": apart}

    return Objective("contrast", loss)


def contrastive(function: Callable[..., Array]) -> Callable[[ConfigDict, Context], Addition]:
    """The `build` of a card whose one setting is the temperature of such a loss."""

    def build(values: ConfigDict, context: Context) -> Addition:
        geometry = context.config.model.geometry
        loss = contrast_loss(function, values.temperature, geometry=geometry)
        return on_contrast(values, context, loss)

    return build


CARD = Card(
    name="simclr",
    title="SimCLR",
    source="Chen, Kornblith, Norouzi and Hinton 2020, arXiv:2002.05709",
    settings={"temperature": temperature(0.5)},
    build=contrastive(objectives.info_nce),
    geometries=("sphere", "hyperboloid"),
    published="SimCLR",
    benchmark=Row(cost=TWO_VIEWS),
)
