"""The part of InfoNCE that pushes different images apart, alone; for ablations."""

from eqssl_jax import objectives
from eqssl_jax.methods.card import Card, temperature
from eqssl_jax.methods.simclr import contrastive

CARD = Card(
    name="uniformity",
    title="Uniformity",
    source="Gupta et al. 2024, arXiv:2306.13924 (L_unif); Wang and Isola 2020, arXiv:2005.10242",
    settings={"temperature": temperature(0.5)},
    build=contrastive(objectives.uniformity),
    compares=False,
    geometries=("sphere", "hyperboloid"),
)
