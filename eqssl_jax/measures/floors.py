"""The floors that learn nothing: pixels, or coordinates, as features."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from eqssl_jax.measures.features import Encode


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


def pixel_encoder(image_shape: tuple[int, ...], *, dimension: int = 128, side: int = 32) -> Encode:
    """`raw_pixels` of images shrunk to `side`, with embeddings projected to `dimension`.

    A fixed random Gaussian projection keeps angles up to about 1/√dimension, and rotations can then
    be fitted from fewer images than there are pixels. Give it the dimension of the encoder it
    stands beside.

    Raises:
      ValueError: for a dimension or side below 1.
    """
    if dimension < 1 or side < 1:
        raise ValueError(
            f"pixel_encoder() needs dimension ≥ 1 and side ≥ 1, found {dimension} and {side}."
        )
    height, width = (min(length, side) for length in image_shape[:2])
    pixels = height * width * image_shape[2]
    matrix = np.random.default_rng(0).normal(size=(pixels, dimension)) / np.sqrt(dimension)
    matrix = matrix.reshape(height, width, image_shape[2], dimension)
    return Partial(_project, jnp.asarray(matrix, jnp.float32))


def coordinate_encoder(points: int, *, dimension: int) -> Encode:
    """Clouds [B, P, 4] to their coordinates in the order of the chain, [B, 3P], as features.

    The embedding is a fixed random Gaussian projection of the unit vector of all coordinates to
    `dimension`, as in `pixel_encoder`. Unprojected, a rotation of the cloud is one of this vector.

    Raises:
      ValueError: for no point or dimension.
    """
    if dimension < 1 or points < 1:
        raise ValueError(
            f"coordinate_encoder() needs points ≥ 1 and dimension ≥ 1, found {points} and "
            f"{dimension}."
        )
    matrix = np.random.default_rng(0).normal(size=(3 * points, dimension)) / np.sqrt(dimension)
    return Partial(_coordinates, jnp.asarray(matrix, jnp.float32))


def _coordinates(matrix: Array, clouds: Array) -> tuple[Array, Array]:
    flat = clouds[..., :3].reshape(clouds.shape[0], -1)
    unit = flat / jnp.maximum(jnp.linalg.norm(flat, axis=-1, keepdims=True), 1e-12)
    return flat, jnp.matmul(unit, matrix, precision=jax.lax.Precision.HIGHEST)


def _project(matrix: Array, images: Array) -> tuple[Array, Array]:
    shape = (images.shape[0], *matrix.shape[:3])
    if images.shape != shape:
        images = jax.image.resize(images, shape, "linear")  # antialiased when shrinking
    flat, unit = raw_pixels(images)
    flattened = matrix.reshape(-1, matrix.shape[-1])
    return flat, jnp.matmul(unit, flattened, precision=jax.lax.Precision.HIGHEST)
