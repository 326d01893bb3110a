"""How close an augmentation is to one rotation of the embeddings, the same for every image."""

from typing import NamedTuple

import numpy as np

from eqssl_jax.measures.cards import LOWER, Card, Measured, Output, TooFew
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.rotation.distances import Rotation, Rows, moved, paired
from eqssl_jax.measures.subjects import Seen


class Wahba(NamedTuple):
    """Best rotation R [d, d] with R f_i ≈ f_a,i, and the error ‖F Rᵀ − F_a‖_F it leaves."""

    rotation: Rotation
    error: float


def wahba(f: Rows, f_a: Rows) -> Wahba:
    """Fit the one rotation that takes embeddings before an augmentation to those after it.

    W = min_{R ∈ SO(d)} ‖F Rᵀ − F_a‖_F, solved by the SVD F_aᵀ F = U Σ Vᵀ,
    R = U diag(1, …, 1, det U · det V) Vᵀ. W grows with √n: compare W/√n.

    Args:
      f, f_a: embeddings [n, d] before and after; n > d, since d or fewer points do not determine a
        rotation, and its freedom makes embeddings with nothing in common look related.

    Returns:
      `Wahba(rotation, error)`, float64.

    Raises:
      ValueError: for shapes that differ, n ≤ d (`TooFew`), or values that are not finite.

    Source: Wahba 1965; Gupta et al. 2024 (arXiv:2306.13924).

    >>> import numpy as np
    >>> f = np.array([[1.0, 0], [0, 1], [1, 1]])
    >>> quarter = np.array([[0.0, -1], [1, 0]])
    >>> rotation, error = wahba(f, f @ quarter.T)
    >>> bool(np.allclose(rotation, quarter)), error < 1e-12
    (True, True)
    """
    f, f_a = paired(f, f_a)
    n, d = f.shape
    if n <= d:
        raise TooFew(
            f"{n} examples do not determine a rotation of {d} dimensions, and its error would be "
            f"too small. Use more than {d} images, or embeddings of fewer dimensions."
        )
    u, _, vt = np.linalg.svd(f_a.T @ f)
    u[:, -1] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = u @ vt
    return Wahba(rotation, float(np.linalg.norm(f @ rotation.T - f_a)))


def held_out_wahba(f: Rows, f_a: Rows, *, seed: int = 0) -> float:
    """Fit the rotation on a random half of the images; W/√m on the m images of the other half.

    A fitted W is too small by about the d (d − 1) / 2 numbers it may choose; this one is not.

    Raises:
      ValueError: as `wahba`, for half of the images.
    """
    f, f_a = paired(f, f_a)
    order = np.random.default_rng(seed).permutation(len(f))
    fit, test = order[: (len(f) + 1) // 2], order[(len(f) + 1) // 2 :]
    rotation = wahba(f[fit], f_a[fit]).rotation
    return float(np.linalg.norm(f[test] @ rotation.T - f_a[test]) / np.sqrt(len(test)))


def rotation_residual(f: Rows, f_a: Rows) -> float:
    """Share of the change that no rotation explains, W² / ‖F − F_a‖_F², in [0, 1].

    0: the augmentation acts as a rotation; 1: the best rotation is no better than none. NaN for an
    exactly invariant encoder (0/0).
    """
    f, f_a = paired(f, f_a)
    change = float(np.sum((f - f_a) ** 2))
    return wahba(f, f_a).error ** 2 / change if change > 0 else float("nan")


def fits(seen: Seen) -> list[Wahba]:
    """`wahba` of each augmentation."""
    plain, single, *_ = seen.shared(augmented.augmented)
    return [wahba(plain, after) for after in single]


def _fitted(seen: Seen) -> dict[str, list[float]]:
    """Of rotations that are fitted on all images."""
    n = len(seen.shared(augmented.augmented).plain)
    errors = [fit.error for fit in seen.own(fits)]
    per_root_n = [error / float(np.sqrt(n)) for error in errors]
    residuals = [
        error**2 / change if change > 0 else float("nan")
        for error, change in zip(per_root_n, seen.own(moved), strict=True)
    ]
    return {"wahba": errors, "wahba_per_root_n": per_root_n, "rotation_residual": residuals}


def _measure(seen: Seen) -> Measured:
    plain, single, *_ = seen.shared(augmented.augmented)
    d, held_out = plain.shape[1], "wahba_held_out_per_root_n"
    return augmented.where_enough(
        seen,
        (("wahba", "wahba_per_root_n", "rotation_residual"), d + 1, lambda: _fitted(seen)),
        ((held_out,), 2 * d + 1, lambda: {held_out: [held_out_wahba(plain, z) for z in single]}),
    )


CARD = Card(
    name="wahba",
    measure=_measure,
    outputs=(
        Output(
            "rotation_residual",
            "Change no rotation explains",
            LOWER,
            ".3f",
            chance=1.0,
            headline=True,
        ),
        Output("wahba", "Wahba error W", LOWER),
        # No headline: the product of the share above and of how far embeddings move.
        Output("wahba_per_root_n", "Wahba error W/√n", LOWER),
        Output("wahba_held_out_per_root_n", "Wahba W/√n, held-out images", LOWER),
    ),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    rank=20,
    source="Wahba 1965; Gupta et al. 2024, arXiv:2306.13924",
)
