"""CARE's objective: augmentations act on embeddings as rotations, or as another linear group."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.objectives.forms import Form, check_form
from eqssl_jax.objectives.geometry import HIGHEST


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
      z1, z2: embeddings of length 1 (`objectives.unit`); within a group, all rows of one view share
        one augmentation. Lengths are checked where values are known, to 1 %; compiled code cannot.
        They are not normalised here: longer rows would enter with the fourth power of their length,
        and the diagonal, which then matters, is left out.
      groups: how many groups are *compared*; how many distinct augmentations are *drawn* is the
        business of `views.grouped`, and the authors' code keeps the two apart (one draw, many
        groups) where the paper's algorithm does not.

    The scale is that of the authors' code, a sum over j: it grows with m, and published weights λ
    belong to it. The diagonal is left out: it is 1 for unit embeddings.

    Raises:
      ValueError: if the shapes differ, N is not a multiple of `groups` with at least two images in
        each, or rows are not finite or not of length 1.

    Source: Gupta, Robinson, Lim, Villar, Jegelka 2024, arXiv:2306.13924.

    >>> import jax.numpy as jnp
    >>> z = jnp.eye(3)
    >>> float(orthogonal_equivariance(z, z[:, ::-1]))  # a permutation of the axes is orthogonal
    0.0
    """
    loss = _gram_match(z1, z2, groups, None, diagonal=False)
    for name, z in (("z1", z1), ("z2", z2)):
        _check_unit(name, z)
    return loss


def form_equivariance(
    z1: Float[Array, "n d"],
    z2: Float[Array, "n d"],
    *,
    form: Form,
    groups: int = 1,
    diagonal: bool = True,
) -> Float[Array, ""]:
    """`orthogonal_equivariance` for any non-singular bilinear form: G_ij = z_iᵀ B z_j.

        L = mean over groups of  2 · mean_i Σ_j (G1_ij − G2_ij)².

    Any A of the stabiliser {A : Aᵀ B A = B} gives L = 0 for z2 = z1 Aᵀ. Conversely, if L = 0 with
    its diagonal and the z1 of a group span R^d, one A of the stabiliser maps that group's z1 onto
    its z2: G1 has rank d, so z2 spans too, and what B pairs with all of z2 to 0 is 0; so the linear
    map z1_i → z2_i is well defined. (Fewer than d images cannot span: they say what A does to their
    span alone.) The stabiliser is O(d) for the inner product, the Lorentz group O(1, d−1) for
    `minkowski_form`, Sp(d, R) for `symplectic_form`; see `stabiliser`.

    The diagonal says how long each embedding is, as B sees it. For a skew form it is 0, on the
    sphere (B = I) and on the hyperboloid (Minkowski) it is the same for all points: there
    `diagonal=False` changes nothing but rounding, and is what CARE's code computes. Elsewhere it
    is needed: embeddings along the axes have G_ij = 0 for i ≠ j, however long they are.

    L does not see how its points are normalised. With a skew form alone L = 0 allows any symplectic
    map, squeezes too; on unit embeddings whose z_i z_iᵀ span the symmetric matrices only
    Sp(d, R) ∩ O(d) = U(d/2) is left, and they cannot shrink to lower L.

    Args:
      z1, z2: embeddings; within a group, all rows of one view share one augmentation.
      form: B; a NumPy array, or a concrete one, for its values to be checked.
      groups: how many groups are compared.
      diagonal: whether j = i counts.

    Raises:
      ValueError: as `orthogonal_equivariance`, and as `check_form`.

    Source: Gupta, Robinson, Lim, Villar, Jegelka 2024, arXiv:2306.13924, section 3.2.

    >>> import jax.numpy as jnp
    >>> from eqssl_jax.objectives import symplectic_form
    >>> z, squeeze = jnp.eye(2), jnp.diag(jnp.array([2.0, 0.5]))
    >>> float(form_equivariance(z, z @ squeeze, form=symplectic_form(2)))
    0.0
    """
    check_form(form, z1.shape[-1])
    return _gram_match(z1, z2, groups, form, diagonal=diagonal)


def _check_unit(name: str, z: Float[Array, "n d"]) -> None:
    if isinstance(z, jax.core.Tracer):
        return
    lengths = np.linalg.norm(np.asarray(z, np.float32), axis=1)
    if not np.all(np.abs(lengths - 1) < 0.01):  # NaN too
        raise ValueError(
            f"orthogonal_equivariance() compares embeddings of length 1, and rows of {name} have "
            f"lengths from {lengths.min():.4g} to {lengths.max():.4g}: normalise them with "
            f"eqssl_jax.objectives.unit()."
        )


def _gram_match(
    z1: Float[Array, "n d"],
    z2: Float[Array, "n d"],
    groups: int,
    form: Form | None,
    *,
    diagonal: bool,
) -> Float[Array, ""]:
    """None for a form is the inner product, without a multiplication by I."""
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

    b = None if form is None else jnp.asarray(form, jnp.float32)

    def gram(z: Float[Array, "n d"]) -> Float[Array, "g m m"]:
        z = z.astype(jnp.float32).reshape(in_groups)
        left = z if b is None else jnp.einsum("gid,de->gie", z, b, precision=HIGHEST)
        return jnp.einsum("gid,gjd->gij", left, z, precision=HIGHEST)

    square = (gram(z1) - gram(z2)) ** 2  # [G, M, M]
    if not diagonal:
        square = square * (1 - jnp.eye(in_groups[1], dtype=jnp.float32))[None]
    return 2 * jnp.mean(jnp.sum(square, axis=2))
