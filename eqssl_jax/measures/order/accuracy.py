"""Whether distances between embeddings keep the order in which images were changed."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.measures.checks import TooFew, check_finite

Ladders = Float[Array | np.ndarray, "v n d"]
Magnitudes = Float[Array | np.ndarray, "v n"]


class LadderOrders(NamedTuple):
    """Order accuracy and Kendall's τ of each image that has an order, [M] with M ≤ N."""

    accuracy: Float[np.ndarray, " m"]
    tau: Float[np.ndarray, " m"]


def order_accuracy(z: Ladders, magnitude: Magnitudes) -> float:
    """Share of rungs that are nearer in the embedding when they are nearer on the ladder.

    With d_ij = ‖z_i − z_j‖ for the rungs i, j of one image, the share of all triplets with j
    between i and k (i < j < k or k < j < i) that have d_ij < d_ik; a tie counts one half. 1: the
    order is kept everywhere; ½: chance, and what a constant encoder has. Distances do not change
    under a rotation of z; normalise z first where lengths should not count.

    Args:
      z: embeddings of N ladders of V ≥ 3 rungs, [V, N, D].
      magnitude: how far each rung is along its ladder, increasing along V, [V, N]. Images whose
        magnitudes are all 0 (their draw was the identity) have no order and are left out.

    Returns:
      The mean over images, in [0, 1].

    Raises:
      ValueError: for fewer than 3 rungs, shapes that differ, values that are not finite,
        magnitudes that do not increase, or if no image is left.

    Source: after Xie et al. 2022 (CVPR Workshops), who ask for the order; the measure is ours.

    >>> import numpy as np
    >>> rungs = np.array([0.0, 0.5, 1.0])[:, None]
    >>> order_accuracy(rungs[..., None], rungs), order_accuracy(np.ones((3, 1, 2)), rungs)
    (1.0, 0.5)
    """
    return float(np.mean(_some(ladder_orders(z, magnitude).accuracy, magnitude)))


def kendall_tau(z: Ladders, magnitude: Magnitudes) -> float:
    """Rank correlation of the distance from the lowest rung with the magnitude, mean over images.

    τ-a: (concordant − discordant) / all pairs of the rungs above the lowest, so that tied
    distances count 0 (without ties all of Kendall's τ agree). The lowest rung itself is left out:
    its distance of 0 would be in order whatever the encoder. In [−1, 1]; chance and a constant
    encoder have 0.

    Args:
      z, magnitude: as in `order_accuracy`.

    Raises:
      ValueError: as `order_accuracy`.

    >>> import numpy as np
    >>> rungs = np.array([0.0, 0.3, 0.6, 1.0])[:, None]
    >>> kendall_tau(rungs[..., None] ** 2, rungs)
    1.0
    """
    return float(np.mean(_some(ladder_orders(z, magnitude).tau, magnitude)))


def ladder_orders(z: Ladders, magnitude: Magnitudes) -> LadderOrders:
    """`order_accuracy` and `kendall_tau` of each image; empty if no image has an order.

    Raises:
      ValueError: as `order_accuracy`, but not for an empty result.
    """
    z, s = np.asarray(z), np.asarray(magnitude, np.float64)
    _check_ladders(z, s)
    z = z[:, np.any(s != 0, axis=0)]
    rungs = len(z)
    distance = np.zeros((rungs, rungs, z.shape[1]))
    for i in range(rungs):
        for j in range(i):
            gap = z[i].astype(np.float64) - z[j]
            distance[i, j] = distance[j, i] = np.sqrt(np.einsum("nd,nd->n", gap, gap))
    sides = [distance[i, i + 1 :] for i in range(rungs - 2)]
    sides += [distance[i, :i][::-1] for i in range(2, rungs)]  # nearest first, too
    signs = np.concatenate([_pairs(side) for side in sides])  # [T, M]
    return LadderOrders((1 + signs.mean(axis=0)) / 2, _pairs(distance[0, 1:]).mean(axis=0))


def _pairs(distance: Float[np.ndarray, "a n"]) -> Float[np.ndarray, "pairs n"]:
    """Sign of the growth of distance between any two rungs, nearest rung first."""
    near, far = np.triu_indices(len(distance), 1)
    return np.sign(distance[far] - distance[near])


def _some(values: np.ndarray, magnitude: Magnitudes) -> np.ndarray:
    if not len(values):
        raise TooFew(
            f"No ladder has an order: all magnitudes of all {np.shape(magnitude)[1]} images are 0, "
            f"so every draw was the identity. Take a stronger transformation, or more images."
        )
    return values


def _check_ladders(z: np.ndarray, s: np.ndarray) -> None:
    if z.ndim != 3 or s.shape != z.shape[:2] or len(z) < 3:
        raise ValueError(
            f"Ladders need embeddings [V, N, D] with magnitudes [V, N] and V ≥ 3 rungs, found "
            f"{z.shape} and {s.shape}."
        )
    check_finite(magnitude=s.T, **{f"z of rung {v}": rung for v, rung in enumerate(z)})
    rising = np.all(np.diff(s, axis=0) > 0, axis=0) | np.all(s == 0, axis=0)
    if not rising.all():
        image = int(np.argmin(rising))
        raise ValueError(
            f"Magnitudes must increase from rung to rung (or be all 0, for an image without a "
            f"ladder); image {image} has {s[:, image].tolist()}. Sort the rungs, none twice."
        )
