"""InfoNCE and the two forces inside it, alignment and uniformity; on the sphere or elsewhere."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.objectives.geometry import Similarity, inner_product


def _similarities(
    z1: Float[Array, "n d"], z2: Float[Array, "n d"], temperature: float, similarity: Similarity
) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """Positive logits [2N], and all logits [2N, 2N] with self and positive pairs at −∞."""
    _check(z1, z2, temperature)
    z = jnp.concatenate([z1, z2]).astype(jnp.float32)  # [2N, D]
    count = z.shape[0]
    logits = similarity.matrix(z, z) / temperature  # [2N, 2N]
    row = jnp.arange(count)
    partner = (row + count // 2) % count
    excluded = (row[None, :] == row[:, None]) | (row[None, :] == partner[:, None])
    return logits[row, partner], jnp.where(excluded, -jnp.inf, logits)


def info_nce(
    z1: Float[Array, "n d"],
    z2: Float[Array, "n d"],
    *,
    temperature: float = 0.5,
    similarity: Similarity = inner_product,
) -> Float[Array, ""]:
    """InfoNCE (NT-Xent) over the 2N views of N images, the other 2N−2 views being negatives.

    mean over the 2N anchors of −log( e^{s⁺/τ} / (e^{s⁺/τ} + Σ_neg e^{s/τ}) ), s the similarity.

    Args:
      z1, z2: embeddings of the two views, row i of both from image i: unit ones for the inner
        product, points of the hyperboloid for `hyperbolic`.
      temperature: τ > 0.
      similarity: s; `inner_product`, or `hyperbolic` (minus the hyperbolic distance).

    Raises:
      ValueError: if the shapes differ, there are fewer than two images, or τ ≤ 0.

    Source: Chen et al. 2020, arXiv:2002.05709; as used by Gupta et al. 2024, arXiv:2306.13924.

    >>> import jax.numpy as jnp
    >>> z = jnp.eye(4)
    >>> round(float(info_nce(z, z, temperature=1.0)), 4)  # log(e + 6) - 1
    1.1654
    """
    positive, others = _similarities(z1, z2, temperature, similarity)
    logits = jnp.concatenate([positive[:, None], others], axis=1)
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - positive)


def alignment(
    z1: Float[Array, "n d"],
    z2: Float[Array, "n d"],
    *,
    temperature: float = 0.5,
    similarity: Similarity = inner_product,
) -> Float[Array, ""]:
    """The attracting part of InfoNCE, L_inv = −mean(s⁺/τ).

    Source: Wang and Isola 2020, arXiv:2005.10242, at the scale of Gupta et al. 2024,
    arXiv:2306.13924 (loss ablation). Arguments and errors as `info_nce`.
    """
    _check(z1, z2, temperature)
    return -jnp.mean(similarity.pairs(z1, z2)) / temperature


def uniformity(
    z1: Float[Array, "n d"],
    z2: Float[Array, "n d"],
    *,
    temperature: float = 0.5,
    similarity: Similarity = inner_product,
) -> Float[Array, ""]:
    """The repelling part of InfoNCE, L_unif = mean over 2N anchors of log Σ_neg e^{s/τ}.

    The positive pair is not in the sum. Source, arguments and errors as `alignment`.
    """
    _, others = _similarities(z1, z2, temperature, similarity)
    return jnp.mean(jax.nn.logsumexp(others, axis=1))


def check_pair(z1: Array, z2: Array) -> None:
    """Refuse what are not two views of the same two or more images."""
    if z1.shape != z2.shape or z1.ndim != 2:
        raise ValueError(
            f"The two views must be embeddings [N, D] of the same shape, found {z1.shape} and "
            f"{z2.shape}."
        )
    if z1.shape[0] < 2:
        raise ValueError(f"A loss over a batch needs at least two images, found {z1.shape[0]}.")


def check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"The temperature must be positive, found {temperature}.")


def _check(z1: Array, z2: Array, temperature: float) -> None:
    check_pair(z1, z2)
    check_temperature(temperature)
