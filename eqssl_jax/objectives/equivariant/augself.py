"""AugSelf: heads on the features of both views read off how the two draws differ."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from eqssl_jax.objectives.contrastive import check_pair
from eqssl_jax.objectives.equivariant.essl import turn_loss
from eqssl_jax.objectives.equivariant.layers import Head


def outputs(y1: Float[Array, "n h"], y2: Float[Array, "n h"], head: Head) -> Float[Array, "2*n k"]:
    """A head on [y1; y2] and on [y2; y1], stacked as rows: one batch of 2N for its BatchNorm.

    Args:
      y1, y2: features of the encoder. With MoCo the authors take the second from the momentum
        encoder, without a gradient.
      head: in the authors' code three layers (512, 512, k), of which only the last has a bias.
    """
    check_pair(y1, y2)
    forward, back = jnp.concatenate([y1, y2], axis=1), jnp.concatenate([y2, y1], axis=1)
    return head(jnp.concatenate([forward, back]))


def difference_loss(output: Float[Array, "m k"], target: Float[Array, "m k"]) -> Float[Array, ""]:
    """Mean of (tanh(output) − target)², of crops, colour, blur and solarisation.

    tanh ends at ±1: differences of blur, in pixels, go beyond.

    The authors' code compares outputs [2N, 1] of solarisation with targets [2N], which broadcasts
    to all pairs of rows; here this is an error.

    Raises:
      ValueError: if outputs and targets differ in shape.
    """
    if output.shape != target.shape:
        raise ValueError(
            f"Outputs and targets of AugSelf must have one shape [2N, K], found {output.shape} and "
            f"{target.shape}: a target [2N] needs a last axis."
        )
    return jnp.mean((jnp.tanh(output) - target) ** 2)


def flip_loss(output: Float[Array, "m 1"], target: Float[Array, "m 1"]) -> Float[Array, ""]:
    """Mean binary cross-entropy of logits; the target is 1 where both views are flipped alike."""
    return jnp.mean(jax.nn.softplus(output) - target * output)


def turn_difference_loss(output: Float[Array, "m 4"], target: Int[Array, " m"]) -> Float[Array, ""]:
    """Mean cross-entropy of the quarter turns from view b to view a, mod 4."""
    return turn_loss(output, target)


LOSSES: Mapping[str, Callable[..., Float[Array, ""]]] = {
    "crop": difference_loss,
    "color": difference_loss,
    "flip": flip_loss,
    "blur": difference_loss,
    "rotation": turn_difference_loss,
    "solarize": difference_loss,
}
"""The loss of each type of target (`augself_targets`)."""


def loss(parts: Mapping[str, Float[Array, ""]], weights: Mapping[str, float]) -> Float[Array, ""]:
    """Σ weight · loss over the types with a weight; it is added to the loss of a base method.

    The published weights are 1 for crop and color on STL-10 and .5 on ImageNet-100; all other types
    are off there. Grayscale has no target.

    Raises:
      ValueError: for a weight without a loss.

    Source: Lee et al. 2021 (NeurIPS), arXiv:2111.09613; hankook/AugSelf at c131db6.
    """
    unknown = sorted(set(weights) - set(parts))
    if unknown:
        raise ValueError(f"AugSelf has weights for {unknown}, but only losses of {sorted(parts)}.")
    total = jnp.zeros((), jnp.float32)
    for name, weight in weights.items():
        total += weight * parts[name]
    return total
