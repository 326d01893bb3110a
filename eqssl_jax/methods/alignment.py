"""The part of InfoNCE that pulls two views of an image together, alone; for ablations."""

from eqssl_jax import objectives
from eqssl_jax.methods.card import Card, temperature
from eqssl_jax.methods.simclr import contrastive

CARD = Card(
    name="alignment",
    title="Alignment",
    source="Gupta et al. 2024, arXiv:2306.13924 (L_inv); Wang and Isola 2020, arXiv:2005.10242",
    settings={"temperature": temperature(0.5, "τ that the mean similarity is divided by")},
    build=contrastive(objectives.alignment),
    geometries=("sphere", "hyperboloid"),
)
