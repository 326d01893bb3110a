"""What is asked of embeddings. Losses are pure functions; `Objective` wraps them for training."""

from eqssl_jax.objectives.base import Objective, Views, unit
from eqssl_jax.objectives.contrastive import alignment, info_nce, uniformity
from eqssl_jax.objectives.momentum import enqueue, moco, negative_cosine
from eqssl_jax.objectives.order import order_preservation
from eqssl_jax.objectives.prediction import (
    parameter_differences,
    parameter_vector,
    unexplained_variance,
)
from eqssl_jax.objectives.redundancy import barlow_twins, vicreg
from eqssl_jax.objectives.rotation import orthogonal_equivariance

__all__ = [
    "Objective",
    "Views",
    "alignment",
    "barlow_twins",
    "enqueue",
    "info_nce",
    "moco",
    "negative_cosine",
    "order_preservation",
    "orthogonal_equivariance",
    "parameter_differences",
    "parameter_vector",
    "unexplained_variance",
    "uniformity",
    "unit",
    "vicreg",
]
