"""Whether distances between embeddings keep the order of ladders, and of a turning object."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.measures.cards import HIGHER, Card, Number, Output, TooFew, check_finite
from eqssl_jax.measures.subjects import Seen, unit

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


_SAME_ANGLE = 1e-5  # radians; float32 angles that are equal differ by less once they are wrapped


def sequence_orders(
    z: Float[Array | np.ndarray, "n d"],
    angle: Float[Array | np.ndarray, " n"],
    sequence: Int[Array | np.ndarray, " n"],
    *,
    window: float = np.pi / 2,
) -> Float[np.ndarray, " s"]:
    """`order_accuracy` of real views: frames of objects that were turned in front of a camera.

    For every anchor and every two frames of its sequence on the same side of it, at most `window`
    away: whether the frame nearer in angle is nearer in z. Ties in z count one half; frames at
    equal angles have no order and are left out. Chance is ½.

    Args:
      z: embeddings of the frames, [N, D].
      angle: of each frame in radians, any branch.
      sequence: which turn each frame belongs to, [N].
      window: in (0, π]; beyond half a turn an object comes back to itself.

    Returns:
      The share of each sequence that has two frames on one side of a third, [S].

    Raises:
      ValueError: for shapes that differ, values that are not finite (missing angles are NaN), and
        a window outside (0, π].
    """
    x, turn, names = np.asarray(z, np.float64), np.asarray(angle, np.float64), np.asarray(sequence)
    _check_turns(x, turn, names, window)
    shares = []
    for name in np.unique(names):
        rows = names == name
        signs = _turn_signs(x[rows], turn[rows], window)
        if len(signs):
            shares.append((1 + signs.mean()) / 2)
    return np.asarray(shares)


def _turn_signs(z: np.ndarray, angle: np.ndarray, window: float) -> np.ndarray:
    """1, 0 or −1 for each triplet of one sequence: nearer, as near, farther."""
    parts = [np.zeros(0)]
    for i in range(len(z)):
        offset = (angle - angle[i] + np.pi) % (2 * np.pi) - np.pi
        distance = np.linalg.norm(z - z[i], axis=1)
        for way in (offset, -offset):
            side = np.flatnonzero((way > _SAME_ANGLE) & (way <= window + _SAME_ANGLE))
            side = side[np.argsort(way[side])]
            near, far = np.triu_indices(len(side), 1)
            apart = way[side][far] - way[side][near] > _SAME_ANGLE
            signs = np.sign(distance[side][far] - distance[side][near])
            parts.append(signs[apart])
    return np.concatenate(parts)


def _check_turns(z: np.ndarray, angle: np.ndarray, sequence: np.ndarray, window: float) -> None:
    if z.ndim != 2 or angle.shape != z.shape[:1] or sequence.shape != z.shape[:1]:
        raise ValueError(
            f"Frames need embeddings [N, D], angles [N] and sequences [N], found {z.shape}, "
            f"{angle.shape} and {sequence.shape}."
        )
    if not 0 < window <= np.pi:
        raise ValueError(f"The window must lie in (0, π] radians, found {window}.")
    check_finite(z=z)
    missing = int(np.sum(~np.isfinite(angle)))
    if missing:
        raise ValueError(
            f"{missing} of {len(angle)} frames have no angle (NaN): leave them out before asking "
            f"for the order of turns."
        )


def _measure(seen: Seen) -> dict[str, Number]:
    """Of features and of embeddings at length 1; frames without an angle are left out."""
    factors, rows = seen.splits[seen.held_out].factors, seen.rows(seen.held_out)
    if not {"turntable", "sequence"} <= set(factors):
        raise ValueError("the data set is not of objects on a turntable")
    angle, sequence = (np.asarray(factors[n])[rows.indices] for n in ("turntable", "sequence"))
    with_angle = np.isfinite(angle)
    numbers = {}
    for suffix, z in (("", rows.features), ("_embedding", rows.embeddings)):
        shares = sequence_orders(unit(z[with_angle]), angle[with_angle], sequence[with_angle])
        if not len(shares):
            raise TooFew("no turn shows three frames within a quarter turn among the images taken")
        sd = float(np.std(shares, ddof=1)) if len(shares) > 1 else None
        numbers[f"turntable_order_accuracy{suffix}"] = Number(shares.mean(), sd, len(shares))
    return numbers


CARD = Card(
    name="turntable",
    measure=_measure,
    outputs=(
        Output("turntable_order_accuracy", "Turntable order accuracy", HIGHER, ".1%", chance=0.5,
               family=True),
    ),
    rank=10,
)  # fmt: skip
