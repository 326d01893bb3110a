"""InfoNCE and the two forces inside it, alignment and uniformity; on the sphere or elsewhere."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.objectives.blocked import block_count, log_negatives
from eqssl_jax.objectives.geometry import Similarity, inner_product


def _similarities(
    z1: Float[Array, "n d"], z2: Float[Array, "n d"], temperature: float, similarity: Similarity
) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """Positive logits [2N], and all logits [2N, 2N] with self and positive pairs at −∞."""
    z = jnp.concatenate([z1, z2]).astype(jnp.float32)  # [2N, D]
    count = z.shape[0]
    logits = similarity.matrix(z, z) / temperature  # [2N, 2N]
    row = jnp.arange(count)
    partner = (row + count // 2) % count
    excluded = (row[None, :] == row[:, None]) | (row[None, :] == partner[:, None])
    return logits[row, partner], jnp.where(excluded, -jnp.inf, logits)


def _negatives(
    z1: Float[Array, "n d"],
    z2: Float[Array, "n d"],
    temperature: float,
    similarity: Similarity,
    blocks: int,
) -> Float[Array, "n 2"]:
    """log Σ_neg e^{s/τ} of the two views of each image, block by block."""
    z = jnp.stack([z1, z2], axis=1).astype(jnp.float32)
    return log_negatives(z, float(temperature), similarity, blocks)


def info_nce(
    z1: Float[Array, "n d"],
    z2: Float[Array, "n d"],
    *,
    temperature: float = 0.5,
    similarity: Similarity = inner_product,
    block: int | None = None,
) -> Float[Array, ""]:
    """InfoNCE (NT-Xent) over the 2N views of N images, the other 2N−2 views being negatives.

    mean over the 2N anchors of −log( e^{s⁺/τ} / (e^{s⁺/τ} + Σ_neg e^{s/τ}) ), s the similarity.

    Args:
      z1, z2: embeddings of the two views, row i of both from image i: unit ones for the inner
        product, points of the hyperboloid for `hyperbolic`.
      temperature: τ > 0.
      similarity: s, symmetric; `inner_product`, or `hyperbolic` (minus the hyperbolic distance).
      block: images whose similarities to all others are held at a time, forward and backward. None:
        all of them up to N = 4,096 (256 MiB; on one CPU device 512, 4 MiB), above it as many as
        fit that size (`block_count`).
        Value and gradient do not depend on it; forward mode (`jax.jvp`) works for all of them only.

    Raises:
      ValueError: if the shapes differ, there are fewer than two images, τ ≤ 0 or block < 1.

    Source: Chen et al. 2020, arXiv:2002.05709; as used by Gupta et al. 2024, arXiv:2306.13924.

    >>> import jax.numpy as jnp
    >>> z = jnp.eye(4)
    >>> round(float(info_nce(z, z, temperature=1.0)), 4)  # log(e + 6) - 1
    1.1654
    """
    _check(z1, z2, temperature)
    blocks = block_count(z1.shape[0], block)
    if blocks > 1:
        negative = _negatives(z1, z2, temperature, similarity, blocks)
        positive = similarity.pairs(z1, z2) / temperature  # [N]
        return jnp.mean(jax.nn.softplus(negative - positive[:, None]))
    positive, others = _similarities(z1, z2, temperature, similarity)
    # log(1 + e^x) rather than a difference of logarithms, whose digits cancel at small losses.
    return jnp.mean(jax.nn.softplus(jax.nn.logsumexp(others, axis=1) - positive))


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
    block: int | None = None,
) -> Float[Array, ""]:
    """The repelling part of InfoNCE, L_unif = mean over 2N anchors of log Σ_neg e^{s/τ}.

    The positive pair is not in the sum. Source as `alignment`; arguments and errors as `info_nce`.
    """
    _check(z1, z2, temperature)
    blocks = block_count(z1.shape[0], block)
    if blocks > 1:
        return jnp.mean(_negatives(z1, z2, temperature, similarity, blocks))
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
