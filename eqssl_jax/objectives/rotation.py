"""CARE's objective: augmentations act on the sphere of embeddings as rotations."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

HIGHEST = jax.lax.Precision.HIGHEST  # Gram matrices in true float32, also on TPU and with TF32


def orthogonal_equivariance(
    z1: Float[Array, "n d"], z2: Float[Array, "n d"], *, groups: int = 1
) -> Float[Array, ""]:
    """Match the Gram matrices of two augmentations that are shared within groups of images.

    With the N images cut into contiguous groups of m, and G1, G2 the Gram matrices of one group,

        L = mean over groups of  2 · mean_i Σ_{j≠i} (G1_ij − G2_ij)².

    It is zero exactly when in every group some orthogonal R maps z1 onto z2 (first fundamental
    theorem of O(d)); R itself is never learned. Two references are in use and both are served:
    z1 from a second augmentation of the group (CARE's Algorithm 1), or z1 from the un-augmented
    images (the equation L_equi).

    Args:
      z1, z2: unit embeddings; within a group, all rows of one view share one augmentation.
      groups: how many groups are *compared*; how many distinct augmentations are *drawn* is the
        business of `views.grouped`, and the authors' code keeps the two apart (one draw, many
        groups) where the paper's algorithm does not.

    The scale is that of the authors' code, a sum over j: it grows with m, and published weights λ
    belong to it. The diagonal is left out: it is 1 for unit embeddings.

    Raises:
      ValueError: if the shapes differ, or N is not a multiple of `groups` with at least two images
        in each.

    Source: Gupta, Robinson, Lim, Villar, Jegelka 2024, arXiv:2306.13924.

    >>> import jax.numpy as jnp
    >>> z = jnp.eye(3)
    >>> float(orthogonal_equivariance(z, z[:, ::-1]))  # a permutation of the axes is orthogonal
    0.0
    """
    if z1.shape != z2.shape or z1.ndim != 2:
        raise ValueError(
            f"The two views must be embeddings [N, D] of the same shape, found {z1.shape} and "
            f"{z2.shape}."
        )
    count, dimension = z1.shape
    if groups < 1 or count % groups or count // groups < 2:
        raise ValueError(
            f"{count} images cannot be compared in {groups} equal groups of two or more: choose a "
            f"batch size that is a multiple of the number of groups."
        )
    in_groups = (groups, count // groups, dimension)

    def gram(z: Float[Array, "n d"]) -> Float[Array, "g m m"]:
        z = z.astype(jnp.float32).reshape(in_groups)
        return jnp.einsum("gid,gjd->gij", z, z, precision=HIGHEST)

    difference = gram(z1) - gram(z2)  # [G, M, M]
    between = 1 - jnp.eye(in_groups[1], dtype=jnp.float32)
    return 2 * jnp.mean(jnp.sum(difference**2 * between[None], axis=2))
