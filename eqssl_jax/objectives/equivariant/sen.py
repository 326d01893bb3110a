"""SEN: the embedding of one view, mapped by the change between views, must pick out the other's.

The authors published no code that we know of. Both forms here are re-implementations by others:
the hypernetwork in the repository of SIE, the linear map in that of seq-JEPA.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.objectives.equivariant.layers import Layer, batch_norm, dense, nt_xent


def loss(
    predicted: Float[Array, "n d"], y: Float[Array, "n d"], *, temperature: float = 0.5
) -> Float[Array, ""]:
    """NT-Xent of predictions of the second view against that view; gradients flow into both.

    There is no invariance term, and no prediction of the first view from the second.

    Args:
      predicted: `linear_prediction`, or `layers.hypernetwork` of the first view's embedding.
      y: embeddings of the second view. Neither need be normalised.
      temperature: τ > 0; .5 is seq-JEPA's default, SIE's repository takes .1.

    Source: Park et al. 2022 (ICML), as re-implemented for Garrido et al. 2023 (SIE,
    arXiv:2302.10283; commit 54541cf) and for seq-JEPA (NeurIPS 2025; commit 73e0550).
    """
    return nt_xent(predicted, y, temperature=temperature)


def linear_prediction(
    x: Float[Array, "n d"],
    params: Float[Array, "n k"],
    *,
    embed: Float[Array, "c k"],
    predict: Float[Array, "d c+d"],
) -> Float[Array, "n d"]:
    """seq-JEPA's predictor, BN(W [BN(V p); x]) with both BNs without scale and shift.

    The code comes before the features, where EquiMod has it behind them and gives its BN a scale.

    Args:
      x: embeddings of the first view.
      params: p, the change from the first view to the second.
      embed: V; predict: W. Neither layer has a bias.
    """
    code = batch_norm(dense(params, Layer(embed)))
    return batch_norm(dense(jnp.concatenate([code, x], axis=1), Layer(predict)))
