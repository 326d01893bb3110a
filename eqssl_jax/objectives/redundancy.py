"""Losses without negatives that keep the dimensions of embeddings apart: Barlow Twins, VICReg."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.objectives.contrastive import check_pair
from eqssl_jax.objectives.geometry import HIGHEST

_BATCH_NORM_FLOOR = 1e-5  # ε of the BatchNorm that Barlow Twins puts before its correlation
_STD_FLOOR = 1e-4  # ε of VICReg's standard deviation


def barlow_twins(
    z1: Float[Array, "n d"], z2: Float[Array, "n d"], *, off_diagonal: float = 5e-3
) -> Float[Array, ""]:
    """Make the cross-correlation of the two views' dimensions the identity.

    C = ẑ1ᵀ ẑ2 / N with ẑ = (z − mean) / √(var + ε) over the batch (biased variance, ε = 1e-5),

        L = Σ_i (1 − C_ii)² + λ Σ_{i≠j} C_ij².

    Args:
      z1, z2: embeddings of the two views, not normalised; row i of both from image i.
      off_diagonal: λ ≥ 0.

    Raises:
      ValueError: if the shapes differ, there are fewer than two images, or λ < 0.

    Source: Zbontar et al. 2021, arXiv:2103.03230.

    >>> import jax.numpy as jnp
    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(float(barlow_twins(z, z)), 6), round(float(barlow_twins(z, -z)), 3)
    (0.0, 8.0)
    """
    check_pair(z1, z2)
    if not off_diagonal >= 0:
        raise ValueError(f"barlow_twins() needs off_diagonal >= 0, found {off_diagonal}.")

    def whitened(z: Float[Array, "n d"]) -> Float[Array, "n d"]:
        z = z.astype(jnp.float32)
        centred = z - jnp.mean(z, axis=0, keepdims=True)
        variance = jnp.mean(centred**2, axis=0, keepdims=True)
        return centred / jnp.sqrt(variance + _BATCH_NORM_FLOOR)

    count, dimension = z1.shape
    c = jnp.matmul(whitened(z1).T, whitened(z2), precision=HIGHEST) / count  # [D, D]
    on = jnp.eye(dimension, dtype=jnp.float32)
    return jnp.sum(on * (1 - c) ** 2) + off_diagonal * jnp.sum((1 - on) * c**2)


def vicreg(
    z1: Float[Array, "n d"],
    z2: Float[Array, "n d"],
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> Float[Array, ""]:
    """Pull the views together, keep every dimension spread out, and dimensions uncorrelated.

        L = s · mean (z1 − z2)²
          + v · ½ Σ_views mean_j max(0, 1 − √(Var_j + ε))
          + c · Σ_views (1/D) Σ_{i≠j} Cov_ij²,

    with unbiased variances and covariances over the batch and ε = 1e-4. The means and sums over the
    two views are those of the authors' code. The re-implementation in solo-learn does not halve
    each view's hinge: its weight v is `variance=2 * v` here.

    Args:
      z1, z2: embeddings of the two views, not normalised; row i of both from image i.
      invariance, variance, covariance: the weights s, v and c, none negative.

    Raises:
      ValueError: if the shapes differ, there are fewer than two images, or a weight is negative.

    Source: Bardes et al. 2022, arXiv:2105.04906.

    >>> import jax.numpy as jnp
    >>> z = jnp.zeros((4, 2))  # collapsed: only the variance term is left
    >>> round(float(vicreg(z, z)), 3)
    24.75
    """
    check_pair(z1, z2)
    if not min(invariance, variance, covariance) >= 0:
        raise ValueError(
            f"vicreg() needs weights that are not negative, found invariance {invariance}, "
            f"variance {variance} and covariance {covariance}."
        )
    z1, z2 = z1.astype(jnp.float32), z2.astype(jnp.float32)
    spread = variance_hinge(z1) + variance_hinge(z2)
    redundant = covariance_penalty(z1) + covariance_penalty(z2)
    return invariance * jnp.mean((z1 - z2) ** 2) + variance * spread + covariance * redundant


def variance_hinge(z: Float[Array, "n d"]) -> Float[Array, ""]:
    """VICReg's variance term of one view, ½ mean_j max(0, 1 − √(Var_j + 1e-4)), Var unbiased."""
    z = z.astype(jnp.float32)
    centred = z - jnp.mean(z, axis=0, keepdims=True)
    std = jnp.sqrt(jnp.sum(centred**2, axis=0) / (z.shape[0] - 1) + _STD_FLOOR)
    return jnp.mean(jnp.maximum(1 - std, 0)) / 2


def covariance_penalty(z: Float[Array, "n d"]) -> Float[Array, ""]:
    """VICReg's covariance term of one view, (1/D) Σ_{i≠j} Cov_ij², Cov unbiased."""
    z = z.astype(jnp.float32)
    count, dimension = z.shape
    centred = z - jnp.mean(z, axis=0, keepdims=True)
    cov = jnp.matmul(centred.T, centred, precision=HIGHEST) / (count - 1)  # [D, D]
    off = 1 - jnp.eye(dimension, dtype=jnp.float32)
    return jnp.sum(off * cov**2) / dimension
