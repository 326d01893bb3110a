"""The floor that learns nothing: pixels as features."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from eqssl_jax.evaluation.features import Encode


def raw_pixels(
    images: Float[Array, "b h w c"],
) -> tuple[Float[Array, "b p"], Float[Array, "b p"]]:
    """Flattened pixels as features, and as unit embeddings.

    Embeddings are taken from mid gray (x − ½): without it all images share one large direction.
    """
    flat = images.reshape(images.shape[0], -1).astype(jnp.float32)
    centred = flat - 0.5
    norm = jnp.linalg.norm(centred, axis=-1, keepdims=True)
    return flat, centred / jnp.maximum(norm, 1e-12)


def pixel_encoder(image_shape: tuple[int, int, int], *, dimension: int = 128) -> Encode:
    """`raw_pixels` with embeddings brought to `dimension` by a fixed random projection.

    A Gaussian projection keeps angles up to about 1/√dimension, and rotations can then be fitted
    from fewer images than there are pixels.
    """
    pixels = int(np.prod(image_shape))
    matrix = np.random.default_rng(0).normal(size=(pixels, dimension)) / np.sqrt(dimension)
    return Partial(_project, jnp.asarray(matrix, jnp.float32))


def _project(matrix: Array, images: Array) -> tuple[Array, Array]:
    flat, unit = raw_pixels(images)
    return flat, jnp.matmul(unit, matrix, precision=jax.lax.Precision.HIGHEST)
