"""Embeddings before and after one augmentation, [n, d]: rows are examples.

Everything in this topic runs on the host in float64: the quantities are small differences of large
ones, d × d problems are cheap there, and one set of augmentations is encoded on the device once.
"""

import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.measures.checks import check_finite

Rows = Float[Array | np.ndarray, "n d"]
Rotation = Float[np.ndarray, "d d"]


def paired(f: Rows, f_a: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, of one shape [n, d] and finite."""
    one, two = np.asarray(f, np.float64), np.asarray(f_a, np.float64)
    if one.ndim != 2 or one.shape != two.shape:
        raise ValueError(
            f"Embeddings before and after must both be [n, d] with rows as examples, found "
            f"{one.shape} and {two.shape}."
        )
    check_finite(**{"The embedding before": one, "The embedding after": two})
    return one, two
