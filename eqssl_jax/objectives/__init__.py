"""What is asked of embeddings. Losses are pure functions; `Objective` wraps them for training."""

from eqssl_jax.objectives import equivariant
from eqssl_jax.objectives.base import Objective, Views, unit
from eqssl_jax.objectives.contrastive import alignment, info_nce, uniformity
from eqssl_jax.objectives.forms import (
    FORMS,
    check_form,
    euclidean_form,
    minkowski_form,
    stabiliser,
    symplectic_form,
)
from eqssl_jax.objectives.geometry import (
    GEOMETRIES,
    Geometry,
    Similarity,
    hyperbolic,
    hyperboloid,
    inner_product,
)
from eqssl_jax.objectives.momentum import enqueue, moco, negative_cosine
from eqssl_jax.objectives.order import order_preservation
from eqssl_jax.objectives.prediction import (
    parameter_differences,
    parameter_vector,
    unexplained_variance,
)
from eqssl_jax.objectives.redundancy import (
    barlow_twins,
    covariance_penalty,
    variance_hinge,
    vicreg,
)
from eqssl_jax.objectives.rotation import form_equivariance, orthogonal_equivariance

__all__ = [
    "FORMS",
    "GEOMETRIES",
    "Geometry",
    "Objective",
    "Similarity",
    "Views",
    "alignment",
    "barlow_twins",
    "check_form",
    "covariance_penalty",
    "enqueue",
    "equivariant",
    "euclidean_form",
    "form_equivariance",
    "hyperbolic",
    "hyperboloid",
    "info_nce",
    "inner_product",
    "minkowski_form",
    "moco",
    "negative_cosine",
    "order_preservation",
    "orthogonal_equivariance",
    "parameter_differences",
    "parameter_vector",
    "stabiliser",
    "symplectic_form",
    "unexplained_variance",
    "uniformity",
    "unit",
    "variance_hinge",
    "vicreg",
]
