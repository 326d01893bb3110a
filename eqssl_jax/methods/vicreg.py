"""VICReg: variance, invariance and covariance of the embeddings."""

from eqssl_jax import objectives
from eqssl_jax.methods.barlow_twins import of_dimensions
from eqssl_jax.methods.card import Card
from eqssl_jax.methods.row import TWO_VIEWS, Row
from eqssl_jax.settings import number

SETTINGS = {
    "invariance": number(25.0, "weight of the distance of the views", low=0, high=1e6),
    "variance": number(25.0, "weight of the spread of each dimension", low=0, high=1e6),
    "covariance": number(1.0, "weight of the covariances", low=0, high=1e6),
}

CARD = Card(
    name="vicreg",
    title="VICReg",
    source="Bardes, Ponce and LeCun 2022, arXiv:2105.04906",
    settings=SETTINGS,
    build=of_dimensions(objectives.vicreg, tuple(SETTINGS)),
    published="VICReg",
    benchmark=Row(cost=TWO_VIEWS),
)
