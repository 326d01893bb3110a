"""SIE: one part of the embedding is invariant, a hypernetwork maps the other between views."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.objectives.contrastive import check_pair
from eqssl_jax.objectives.redundancy import covariance_penalty, variance_hinge


class Terms(NamedTuple):
    """The five terms of SIE's loss, unweighted scalars."""

    invariance: Float[Array, ""]
    equivariance: Float[Array, ""]
    variance: Float[Array, ""]
    predicted_variance: Float[Array, ""]
    covariance: Float[Array, ""]


def terms(x: Float[Array, "n d"], y: Float[Array, "n d"], predicted: Float[Array, "n e"]) -> Terms:
    """The terms of SIE, of projected embeddings x, y whose last e columns are the equivariant part.

    With p = `predicted`, the equivariant part of y from that of x and the change between the views,

        invariance = MSE(x_inv, y_inv),   equivariance = MSE(p, y_eq),
        variance = hinge(x) + hinge(y),   predicted_variance = hinge(p),
        covariance = penalty(x) + penalty(y),

    the last three VICReg's (`variance_hinge`, `covariance_penalty`) and over both parts together,
    so that the covariance also keeps the invariant part apart from the equivariant one.

    Args:
      x, y: the two views, not normalised; each part has a projector of its own.
      predicted: `layers.hypernetwork` of x_eq and the code of the change from x to y, not of the
        change back: the loss is not symmetric. Gradients flow into x_eq and into the target y_eq.

    Raises:
      ValueError: for shapes that differ, or a prediction as wide as the whole embedding.

    Source: Garrido et al. 2023, arXiv:2302.10283; facebookresearch/SIE at 54541cf.
    """
    check_pair(x, y)
    width = x.shape[1] - predicted.shape[-1]
    if predicted.ndim != 2 or predicted.shape[0] != x.shape[0] or width < 1:
        raise ValueError(
            f"SIE predicts the equivariant part only, [{x.shape[0]}, less than {x.shape[1]}], "
            f"found a prediction of shape {predicted.shape}."
        )
    return Terms(
        jnp.mean((x[:, :width] - y[:, :width]) ** 2),
        jnp.mean((predicted - y[:, width:]) ** 2),
        variance_hinge(x) + variance_hinge(y),
        variance_hinge(predicted),
        covariance_penalty(x) + covariance_penalty(y),
    )


def loss(
    x: Float[Array, "n d"],
    y: Float[Array, "n d"],
    predicted: Float[Array, "n e"],
    *,
    invariance: float = 10.0,
    equivariance: float = 4.5,
    variance: float = 10.0,
    predicted_variance: float = 10.0,
    covariance: float = 1.0,
) -> Float[Array, ""]:
    """The weighted sum of `terms`; arguments, errors and source as there.

    The defaults are those of the command in the authors' README, whose factor of .45 multiplies an
    invariance weight of 10. The code's default of that factor is ten times larger
    (`equivariance=45.0`). Their variant without the variance of predictions has
    `predicted_variance=0.0`.
    """
    parts = terms(x, y, predicted)
    return (
        invariance * parts.invariance
        + equivariance * parts.equivariance
        + variance * parts.variance
        + predicted_variance * parts.predicted_variance
        + covariance * parts.covariance
    )
