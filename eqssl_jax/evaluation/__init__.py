"""What did it learn? Measurements of frozen encoders."""

from eqssl_jax.evaluation.features import (
    Encode,
    Features,
    extract,
    extract_views,
    subset,
)
from eqssl_jax.evaluation.knn import knn_accuracy
from eqssl_jax.evaluation.pixels import pixel_encoder, raw_pixels
from eqssl_jax.evaluation.rotation import (
    composition_error,
    effective_rank,
    gram_error,
    held_out_wahba,
    invariance_error,
    relative_rotational_equivariance,
    rotation_residual,
    wahba,
)
from eqssl_jax.evaluation.rotation_study import RotationStudy, rotation_study, wahba_study

__all__ = [
    "Encode",
    "Features",
    "RotationStudy",
    "composition_error",
    "effective_rank",
    "extract",
    "extract_views",
    "gram_error",
    "held_out_wahba",
    "invariance_error",
    "knn_accuracy",
    "pixel_encoder",
    "raw_pixels",
    "relative_rotational_equivariance",
    "rotation_residual",
    "rotation_study",
    "subset",
    "wahba",
    "wahba_study",
]
