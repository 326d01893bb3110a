"""Barlow Twins: the cross-correlation of the views' dimensions becomes the identity."""

from collections.abc import Callable

from jaxtyping import Array, Float
from ml_collections import ConfigDict

from eqssl_jax import objectives
from eqssl_jax.methods.card import Addition, Card, Context, on_contrast
from eqssl_jax.objectives.base import Metrics, Objective, Views, mean_cosine, unit
from eqssl_jax.settings import number


def of_dimensions(
    function: Callable[..., Array], names: tuple[str, ...]
) -> Callable[[ConfigDict, Context], Addition]:
    """The `build` of a card whose loss compares dimensions over a batch: `function(z1, z2, …)`."""

    def build(values: ConfigDict, context: Context) -> Addition:
        options = {name: values[name] for name in names}

        def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
            del head
            z1, z2 = seen.embeddings
            value = function(z1, z2, **options)
            return value, {"positive_cosine": mean_cosine(unit(z1), unit(z2))}

        return on_contrast(values, context, Objective("contrast", loss))

    return build


CARD = Card(
    name="barlow_twins",
    title="Barlow Twins",
    source="Zbontar, Jing, Misra, LeCun and Deny 2021, arXiv:2103.03230",
    settings={"off_diagonal": number(5e-3, "λ of the off-diagonal part", low=0, high=1e6)},
    build=of_dimensions(objectives.barlow_twins, ("off_diagonal",)),
    published="Barlow Twins",
)
