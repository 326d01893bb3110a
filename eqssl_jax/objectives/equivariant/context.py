"""ContextSSL: NT-Xent of a sequence's outputs, cosines below zero counting as zero."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.objectives.base import unit
from eqssl_jax.objectives.contrastive import info_nce
from eqssl_jax.objectives.geometry import Similarity, inner_product

_LEAST = 1e-7  # cosine that all below are raised to

clamped = Similarity(
    lambda a, b: jnp.maximum(inner_product.pairs(a, b), _LEAST),
    lambda a, b: jnp.maximum(inner_product.matrix(a, b), _LEAST),
)
"""The cosine of unit rows, but at least 1e-7: what points apart has no gradient."""


def loss(z: Float[Array, "2*n d"], *, temperature: float = 0.1) -> Float[Array, ""]:
    """NT-Xent of outputs whose rows 2k and 2k + 1 are views of one image, with `clamped` cosines.

    Args:
      z: outputs, interleaved, not normalised.
      temperature: τ > 0; .1 in the README's command, .5 in the configuration file.

    Raises:
      ValueError: for an odd number of rows or fewer than two images, or τ ≤ 0.

    Source: Gupta et al. 2024 (ContextSSL, NeurIPS); Sharut/In-Context-Symmetries at 124736d. They
    add 5 times (1 times in the configuration file) the squared error of a head that reads the
    absolute pose or hue of the second view.
    """
    if z.ndim != 2 or z.shape[0] % 2:
        raise ValueError(f"ContextSSL takes pairs of rows, [2N, D], found shape {z.shape}.")
    z = unit(z)
    return info_nce(z[::2], z[1::2], temperature=temperature, similarity=clamped)
