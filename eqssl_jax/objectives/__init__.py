"""What is asked of embeddings. Losses are pure functions; `Objective` wraps them for training."""

from eqssl_jax.objectives.base import Objective, Views, unit
from eqssl_jax.objectives.contrastive import alignment, info_nce, uniformity
from eqssl_jax.objectives.order import order_preservation
from eqssl_jax.objectives.prediction import parameter_differences, unexplained_variance
from eqssl_jax.objectives.rotation import orthogonal_equivariance

__all__ = [
    "Objective",
    "Views",
    "alignment",
    "info_nce",
    "order_preservation",
    "orthogonal_equivariance",
    "parameter_differences",
    "unexplained_variance",
    "uniformity",
    "unit",
]
