"""The training recipes that several configs share: base methods, CARE on them, and ours.

A config is one line: `presets.method("moco", "cifar10,care")`.
"""

from eqssl_jax.config import DATASETS
from eqssl_jax.presets.bases import BASES, method, with_base, with_equimod
from eqssl_jax.presets.care import (
    IMAGENET_PROBE,
    OWN_WEIGHT,
    SHAPES_VIEWS,
    VIEWS,
    WEIGHTS,
    contrastive,
    objectives,
    two_views,
    with_care,
)
from eqssl_jax.presets.factors import COLOURS, FACTORED, factored
from eqssl_jax.presets.proteins import PROTEIN_METHODS, protein_overrides, proteins
from eqssl_jax.presets.variants import Variant, parse

__all__ = [
    "BASES",
    "COLOURS",
    "DATASETS",
    "FACTORED",
    "IMAGENET_PROBE",
    "OWN_WEIGHT",
    "PROTEIN_METHODS",
    "SHAPES_VIEWS",
    "VIEWS",
    "WEIGHTS",
    "Variant",
    "contrastive",
    "factored",
    "method",
    "objectives",
    "parse",
    "protein_overrides",
    "proteins",
    "two_views",
    "with_base",
    "with_care",
    "with_equimod",
]
