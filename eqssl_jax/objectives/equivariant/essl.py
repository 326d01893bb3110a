"""E-SSL: beside an invariance loss, tell how many quarter turns a further view was rotated by."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from eqssl_jax.objectives.base import unit
from eqssl_jax.objectives.contrastive import check_pair, check_temperature
from eqssl_jax.objectives.equivariant.layers import Layer, dense, layer_norm, perceptron
from eqssl_jax.objectives.geometry import HIGHEST


def cross_view(
    z1: Float[Array, "n d"], z2: Float[Array, "n d"], *, temperature: float = 0.5
) -> Float[Array, ""]:
    """Cross-entropy of matching the rows of two views, both directions averaged.

    With s_ij the cosine of z1_i and z2_j over τ, ½ mean_i (−s_ii + log Σ_j e^{s_ij}), plus the same
    over columns. Unlike `info_nce` it compares no two images in the same view.

    Args:
      z1, z2: embeddings, not normalised.
      temperature: τ > 0; .5 on CIFAR-10, .2 on ImageNet.

    Raises:
      ValueError: if the shapes differ, there are fewer than two images, or τ ≤ 0.

    Source: Dangovski et al. 2022, arXiv:2111.00899; rdangovs/essl at 70b2cd0.
    """
    check_pair(z1, z2)
    check_temperature(temperature)
    logits = jnp.matmul(unit(z1), unit(z2).T, precision=HIGHEST) / temperature
    return (_match(logits) + _match(logits.T)) / 2


def _match(logits: Float[Array, "n n"]) -> Float[Array, ""]:
    """Mean of log(1 + Σ_{j≠i} e^{s_ij − s_ii}), whose digits do not cancel at small losses."""
    diagonal = jnp.eye(logits.shape[0], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(diagonal, -jnp.inf, logits), axis=1)
    return jnp.mean(jax.nn.softplus(others - jnp.diagonal(logits)))


def turn_labels(count: int) -> Int[Array, "4*n"]:
    """Quarter turns of each row of four copies of `count` images: all by 0, all by 1, … turns.

    >>> turn_labels(2).tolist()
    [0, 0, 1, 1, 2, 2, 3, 3]
    """
    return jnp.repeat(jnp.arange(4), count)


def turn_logits(
    features: Float[Array, "n h"], layers: Sequence[Layer], *, relu_before_last: bool = True
) -> Float[Array, "n 4"]:
    """The head on features of the encoder, not of the projector: layers with LayerNorm and ReLU.

    Args:
      features: encoder outputs of the rotated images.
      layers: on CIFAR-10 widths 2048, 2048, 4; on ImageNet 2048, 2048, 128, 4. All have biases.
      relu_before_last: whether a ReLU follows the last LayerNorm. Not so in the ImageNet head and
        in the SimSiam branch.

    Source: as `cross_view`.
    """
    if relu_before_last:
        return perceptron(features, layers, normalise=layer_norm)
    *hidden, last = layers
    return dense(layer_norm(perceptron(features, hidden, normalise=layer_norm), hidden[-1]), last)


def turn_loss(logits: Float[Array, "n k"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """Mean cross-entropy of the labels, k quarter turns counter-clockwise being class k."""
    chances = jax.nn.log_softmax(logits.astype(jnp.float32), axis=1)
    return -jnp.mean(jnp.take_along_axis(chances, labels[:, None], axis=1))


def loss(
    invariance: Float[Array, ""], turn: Float[Array, ""], *, weight: float = 0.4
) -> Float[Array, ""]:
    """invariance + λ turn; λ = .4 in the published commands, while the CIFAR code defaults to 0.

    The rotated view is a smaller crop of its own: 16 pixels of CIFAR-10 at an area of .2 to 1, 96
    of ImageNet at .05 to .14.
    """
    return invariance + weight * turn
