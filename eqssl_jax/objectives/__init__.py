"""What is asked of embeddings. Losses are pure functions; `Objective` wraps them for training."""

from eqssl_jax.objectives.base import Objective, Views, unit
from eqssl_jax.objectives.contrastive import alignment, info_nce, uniformity
from eqssl_jax.objectives.rotation import orthogonal_equivariance

__all__ = [
    "Objective",
    "Views",
    "alignment",
    "info_nce",
    "orthogonal_equivariance",
    "uniformity",
    "unit",
]
