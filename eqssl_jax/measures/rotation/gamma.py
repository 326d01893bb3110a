"""How much distances between images change, relative to how far the images themselves moved."""

from typing import NamedTuple

import numpy as np

from eqssl_jax.measures.cards import LOWER, Card, Measured, Number, Output
from eqssl_jax.measures.checks import TooFew
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.rotation.pairs import Rows, paired
from eqssl_jax.measures.subjects import Seen
from eqssl_jax.settings import number


class Gamma(NamedTuple):
    """γ over the pairs kept, and how many of the n (n − 1) / 2 pairs were dropped."""

    gamma: float
    dropped: int


def relative_rotational_equivariance(
    z: Rows, z_a: Rows, *, floor: float = 1e-8, chunk: int = 512
) -> Gamma:
    """How much distances between images change, relative to how far the images themselves moved.

    γ = mean over pairs x ≠ x' of (‖z_a(x') − z_a(x)‖² − ‖z(x') − z(x)‖²)² / (m(x') + m(x))², with
    m(x) = ‖z_a(x) − z(x)‖². 0 for a rotation; lower is more rotational. An invariant encoder gives
    0/0: pairs whose denominator is below `floor` are left out and counted.

    Args:
      z, z_a: embeddings [n, d] (unit ones in the paper), n ≥ 2.
      floor: smallest denominator (m + m')² that is used.
      chunk: rows of the pair matrix in memory at a time.

    Returns:
      `Gamma(gamma, dropped)`; gamma is NaN when every pair was dropped.

    Raises:
      ValueError: for shapes that differ, a negative floor, or fewer than 2 examples (`TooFew`).

    Source: Gupta et al. 2024 (arXiv:2306.13924).
    """
    z, z_a = paired(z, z_a)
    if floor < 0:
        raise ValueError(f"γ needs a floor ≥ 0, found floor={floor}.")
    if len(z) < 2:
        raise TooFew(f"γ compares pairs of images and needs at least 2, found {len(z)}.")
    moved = np.sum((z_a - z) ** 2, axis=1)  # [n]
    total, kept = 0.0, 0
    for start in range(0, len(z), chunk):
        rows = np.arange(start, min(start + chunk, len(z)))
        upper = np.arange(start, len(z))[None, :] > rows[:, None]  # each unordered pair once
        change = _square_distances(z_a, rows, start) - _square_distances(z, rows, start)
        below = (moved[rows][:, None] + moved[None, start:]) ** 2
        keep = upper & (below >= max(floor, np.finfo(np.float64).tiny))
        total += float(np.sum(change[keep] ** 2 / below[keep]))
        kept += int(keep.sum())
    dropped = len(z) * (len(z) - 1) // 2 - kept
    return Gamma(total / kept if kept else float("nan"), dropped)


def _square_distances(z: np.ndarray, rows: np.ndarray, start: int) -> np.ndarray:
    norms = np.sum(z * z, axis=1)
    return norms[rows][:, None] + norms[None, start:] - 2 * z[rows] @ z[start:].T


def _gammas(seen: Seen) -> dict[str, list[float]]:
    plain, single, _, some = seen.shared(augmented.augmented)
    found = [
        relative_rotational_equivariance(plain[some], after[some], floor=seen.settings.gamma_floor)
        for after in single
    ]
    return {
        "gamma": [each.gamma for each in found],
        "gamma_dropped": [float(each.dropped) for each in found],
    }


def _measure(seen: Seen) -> Measured:
    some = len(seen.shared(augmented.augmented).some)
    measured = augmented.where_enough(seen, (("gamma", "gamma_dropped"), 2, lambda: _gammas(seen)))
    if "gamma_dropped" not in measured.arrays:
        return measured
    dropped = measured.arrays["gamma_dropped"]
    count = Number(dropped.sum(), n=len(dropped) * some * (some - 1) // 2)
    return measured._replace(numbers={**measured.numbers, "gamma_dropped": count})


CARD = Card(
    name="gamma",
    measure=_measure,
    outputs=(
        Output("gamma", "Relative equivariance γ", LOWER, headline=True),
        Output("gamma_dropped", "Pairs left out of γ", None, ",.0f", "pairs"),
    ),
    settings={
        **augmented.SETTINGS,
        "gamma_floor": number(1e-8, "smallest denominator of γ that is used", low=0),
    },
    quick=augmented.QUICK,
    cost=augmented.cost,
    rank=10,
    source="Gupta et al. 2024, arXiv:2306.13924",
)
