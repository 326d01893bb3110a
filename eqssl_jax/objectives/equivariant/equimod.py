"""EquiMod: from an image's own embedding and a view's draw, predict the view's embedding."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.objectives.equivariant.layers import Layer, batch_norm, dense, nt_xent

# Mean and standard deviation of the 15 parameters on CIFAR-10, as the authors' code fixes them.
CIFAR10_MEAN = np.array(
    [4.3122, 4.3216, 23.369, 23.374, 0.49998, 0.80087, 1.2025, 1.4007, 1.5964, 1.8004,
     0.99993, 1.0002, 0.99986, 2.2321e-7, 0.19965], np.float32,
)  # fmt: skip
CIFAR10_STD = np.array(
    [3.9740, 3.9851, 4.9544, 4.9539, 0.5, 0.3993, 1.1651, 1.0210, 1.0200, 1.1669,
     0.2066, 0.2068, 0.2066, 0.0517, 0.3997], np.float32,
)  # fmt: skip


def standardised(
    params: Float[Array, "n k"],
    mean: Float[Array | np.ndarray, " k"] = CIFAR10_MEAN,
    std: Float[Array | np.ndarray, " k"] = CIFAR10_STD,
) -> Float[Array, "n k"]:
    """(p − mean) / std, by constants rather than by the batch.

    The 15 columns on CIFAR-10 are crop top, left, height and width in pixels of the source, flip,
    jitter applied, the order of the four colour operations (four numbers 0 … 3; in order if not
    applied), brightness, contrast and saturation ratios (1 if not applied), hue (0) and grayscale.
    ImageNet adds blur applied and σ, BYOL there solarisation as well, with other constants; those
    for BYOL on ImageNet belong to a jitter of ±.8 although it draws ±.4.
    """
    return (params - mean[None]) / std[None]


def predictions(
    y0: Float[Array, "n d"],
    params: Float[Array, "2*n k"],
    *,
    embed: Layer,
    predict: Float[Array, "d d+c"],
) -> Float[Array, "2*n d"]:
    """ŷ = BN(W [y0; BN(V p)]) for view 1, then view 2, in one batch; no layer has a bias.

    The features come before the code. The inner BatchNorm has a scale and shift (those of `embed`),
    the outer has none. The repository of SIE runs "EquiMod" with its hypernetwork instead.

    Args:
      y0: embeddings of the images themselves.
      params: standardised parameters, rows of view 1 and then of view 2.
      embed: V; predict: W.
    """
    repeated = jnp.tile(y0, (params.shape[0] // y0.shape[0], 1))
    code = batch_norm(dense(params, embed), embed)
    return batch_norm(dense(jnp.concatenate([repeated, code], axis=1), Layer(predict)))


def equivariance(
    y1: Float[Array, "n d"],
    y2: Float[Array, "n d"],
    predicted: Float[Array, "2*n d"],
    *,
    temperature: float = 0.2,
) -> Float[Array, ""]:
    """NT-Xent of [y1; y2] against their predictions, 4N rows; no stop-gradient.

    The other view of the same image is among the negatives, which keeps y from being invariant.

    Source: Devillers and Lefort 2023 (ICLR), arXiv:2211.01244; ADevillers/EquiMod, branch
    SimCLR+EquiMod at 908c7b4. Their losses are multiplied by the number of processes, since rows
    gathered from others carry no gradient; batches here are global and need no such factor.
    """
    return nt_xent(jnp.concatenate([y1, y2]), predicted, temperature=temperature)


def loss(
    invariance: Float[Array, ""], equivariance: Float[Array, ""], *, weight: float = 1.0
) -> Float[Array, ""]:
    """invariance + λ equivariance, λ = 1; with SimCLR the former's τ is .5 on CIFAR, else .2."""
    return invariance + weight * equivariance
