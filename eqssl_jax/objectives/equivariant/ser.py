"""SER: the feature map of one view, moved by the known action, must match the other's by place."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.objectives.base import unit
from eqssl_jax.objectives.contrastive import check_pair, check_temperature
from eqssl_jax.objectives.geometry import HIGHEST


def loss(
    moved: Float[Array, "m d"],
    other: Float[Array, "m d"],
    *,
    positions: int,
    temperature: float = 0.5,
) -> Float[Array, ""]:
    """Tell the same place from places of other images, once for each position of the map.

        mean_j [ −s_jj + log( e^{s_jj} + Σ_i e^{s_ij} ) ],  s_ij = cos(moved_i, other_j) / τ,

    i over all positions of other images: those of the same image are no negatives. The authors take
    half of this in either direction: call it twice.

    Args:
      moved: map of one view brought into the other's frame, positions of image 0 first; other: the
        other view's map. Neither need be normalised.
      positions: rows of each image.
      temperature: τ > 0; .5 with MoCo-v3, .4 with DINO and Barlow Twins.

    In the code as published this term trains nothing: both maps come from a gather without
    gradient. Here it has the gradient of the formula. Nor do all its commands run: they pass a mode
    (`erl`) that the parser of MoCo does not list, and the file of Barlow Twins calls a gather of
    one argument with two. λ is 1 with MoCo-v3 and Barlow Twins, .3 with DINO.

    Raises:
      ValueError: if the shapes differ, the rows are not those of two or more images, or τ ≤ 0.

    Source: arXiv:2603.06693 (ICLR 2026); aitrics-chris/SER at dbe5e93.
    """
    check_pair(moved, other)
    check_temperature(temperature)
    count = moved.shape[0]
    if positions < 1 or count % positions or count < 2 * positions:
        raise ValueError(
            f"SER takes the {positions} positions of two or more images, found {count} rows."
        )
    logits = jnp.matmul(unit(moved), unit(other).T, precision=HIGHEST) / temperature  # [i, j]
    image = jnp.arange(count) // positions
    same = image[:, None] == image[None, :]
    others = jax.nn.logsumexp(jnp.where(same, -jnp.inf, logits), axis=0)
    return jnp.mean(jax.nn.softplus(others - jnp.diagonal(logits)))
