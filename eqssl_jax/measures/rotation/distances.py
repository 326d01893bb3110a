"""How far one augmentation moves embeddings [n, d], and how it changes distances between them.

Rows are examples. Everything in this topic runs on the host in float64: the quantities are small
differences of large ones, d × d problems are cheap there, and one set of augmentations is encoded
on the device once.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.measures.cards import LOWER, Card, Measured, Number, Output, TooFew, check_finite
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.subjects import Seen
from eqssl_jax.settings import number

Rows = Float[Array | np.ndarray, "n d"]
Rotation = Float[np.ndarray, "d d"]


def paired(f: Rows, f_a: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, of one shape [n, d] and finite."""
    before, after = np.asarray(f, np.float64), np.asarray(f_a, np.float64)
    if before.ndim != 2 or before.shape != after.shape:
        raise ValueError(
            f"Embeddings before and after must both be [n, d] with rows as examples, found "
            f"{before.shape} and {after.shape}."
        )
    check_finite(**{"The embedding before": before, "The embedding after": after})
    return before, after


def invariance_error(z: Rows, z_a: Rows) -> float:
    """How far an augmentation moves an embedding, mean_i ‖z_i − z_a,i‖²; [0, 4] for unit ones."""
    z, z_a = paired(z, z_a)
    return float(np.mean(np.sum((z - z_a) ** 2, axis=1)))


def moved(seen: Seen) -> list[float]:
    """`invariance_error` of each augmentation."""
    plain, single, *_ = seen.shared(augmented.augmented)
    return [invariance_error(plain, after) for after in single]


def _invariance(seen: Seen) -> Measured:
    plain, single, *_ = seen.shared(augmented.augmented)
    cosines = np.einsum("nd,and->an", plain, single)
    even = len(single) // 2 * 2
    paired = np.einsum("pnd,pnd->pn", single[0:even:2], single[1:even:2])
    values = {"invariance_error": seen.own(moved), "cosine_variance": list(cosines.var(axis=1))}
    if len(paired):
        values["positive_cosine"] = list(paired.mean(axis=1))
    measured = augmented.over_augmentations(values)
    circle = {"circle": np.concatenate([plain[None], single])} if plain.shape[1] == 2 else {}
    arrays = {**measured.arrays, "cosines": cosines, "positive_cosines": paired, **circle}
    missing = {} if len(paired) else {"positive_cosine": "a pair needs two augmentations"}
    return measured._replace(arrays=arrays, missing={**measured.missing, **missing})


INVARIANCE = Card(
    name="invariance",
    measure=_invariance,
    outputs=(
        # No direction: a rotational role gives up invariance on purpose.
        Output("invariance_error", "Invariance error", headline=True),
        Output("positive_cosine", "Cosine of positive pairs"),
        Output("cosine_variance", "Variance of the cosine"),
    ),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    rank=40,
)


class GramError(NamedTuple):
    """Change of the Gram matrix: mean square over pairs, and at the scale of the authors' loss."""

    mean_square: float
    authors: float


def gram_error(z: Rows, z_a: Rows) -> GramError:
    """Change of inner products between different images, what CARE's loss makes small.

    mean_square = mean_{i ≠ j} (z_iᵀz_j − z_a,iᵀz_a,j)²; authors = 2 (n − 1) mean_square, the scale
    of their loss on one chunk of n images (a sum over j).

    Raises:
      ValueError: for shapes that differ or fewer than 2 examples.
    """
    z, z_a = paired(z, z_a)
    n = len(z)
    if n < 2:
        raise TooFew(f"A Gram error compares pairs of images and needs at least 2, found {n}.")
    # ‖G − G_a‖² = ‖ZᵀZ‖² − 2‖ZᵀZ_a‖² + ‖Z_aᵀZ_a‖² would cancel; the matrix in pieces does not.
    total = 0.0
    for start in range(0, n, 512):
        part = slice(start, start + 512)
        total += float(np.sum((z[part] @ z.T - z_a[part] @ z_a.T) ** 2))
    total -= float(np.sum((np.sum(z * z, axis=1) - np.sum(z_a * z_a, axis=1)) ** 2))
    mean_square = max(total, 0.0) / (n * (n - 1))
    return GramError(mean_square, 2 * (n - 1) * mean_square)


def _gram(seen: Seen) -> Measured:
    plain, single, _, some = seen.shared(augmented.augmented)

    def errors() -> dict[str, list[float]]:
        changes = [gram_error(plain[some], after[some]) for after in single]
        return {"gram_error": [change.mean_square for change in changes]}

    return augmented.where_enough(seen, (("gram_error",), 2, errors))


GRAM = Card(
    name="gram",
    measure=_gram,
    outputs=(Output("gram_error", "Gram error", LOWER),),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    rank=50,
    source="Gupta et al. 2024, arXiv:2306.13924",
)


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
    gammas = [
        relative_rotational_equivariance(plain[some], after[some], floor=seen.settings.gamma_floor)
        for after in single
    ]
    return {
        "gamma": [gamma.gamma for gamma in gammas],
        "gamma_dropped": [float(gamma.dropped) for gamma in gammas],
    }


def _gamma(seen: Seen) -> Measured:
    some = len(seen.shared(augmented.augmented).some)
    measured = augmented.where_enough(seen, (("gamma", "gamma_dropped"), 2, lambda: _gammas(seen)))
    if "gamma_dropped" not in measured.arrays:
        return measured
    dropped = measured.arrays["gamma_dropped"]
    count = Number(dropped.sum(), n=len(dropped) * some * (some - 1) // 2)
    return measured._replace(numbers={**measured.numbers, "gamma_dropped": count})


GAMMA = Card(
    name="gamma",
    measure=_gamma,
    outputs=(
        Output("gamma", "Relative equivariance γ", LOWER, headline=True),
        Output("gamma_dropped", "Pairs left out of γ", None, ",.0f", "pairs"),
    ),
    settings={
        **augmented.SETTINGS,
        "gamma_floor": number(1e-8, "smallest denominator of γ that is used", low=0),
    },
    quick=augmented.QUICK,
    rank=10,
    source="Gupta et al. 2024, arXiv:2306.13924",
)


def effective_rank(z: Rows) -> float:
    """exp(entropy of the normalised squared singular values of Z), in [1, d].

    Read beside W: a collapsed encoder is rotated onto itself perfectly. Rows are not centred: n
    images have a rank of at most n.

    Raises:
      ValueError: for embeddings that are not [n, d] or not finite; `TooFew` for fewer than 2
        examples, or if all are 0.

    Source: after Roy and Vetterli 2007, on squared singular values.
    """
    z64 = np.asarray(z, np.float64)
    if z64.ndim != 2:
        raise ValueError(f"An effective rank is of embeddings [n, d], found shape {z64.shape}.")
    check_finite(z=z64)
    if len(z64) < 2:
        raise TooFew(f"The effective rank of {len(z64)} image says nothing: it needs at least 2.")
    if not z64.any():
        raise TooFew("An effective rank needs embeddings of a length, and all of these are 0.")
    values = np.maximum(np.linalg.eigvalsh(z64.T @ z64), 0)
    share = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def _rank(seen: Seen) -> Measured:
    plain = seen.shared(augmented.augmented).plain
    name = "effective_rank"
    return augmented.where_enough(seen, ((name,), 2, lambda: {name: [effective_rank(plain)]}))


RANK = Card(
    name="effective_rank",
    measure=_rank,
    outputs=(Output("effective_rank", "Effective rank", None, ".1f", headline=True),),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    rank=30,
    source="after Roy and Vetterli 2007",
)

CARDS = (GAMMA, INVARIANCE, GRAM, RANK)
