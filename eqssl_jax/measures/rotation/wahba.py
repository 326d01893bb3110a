"""How close an augmentation is to one rotation of the embeddings, the same for every image.

Rows are examples: z, z_a [n, d] are embeddings before and after one augmentation. Everything here
runs on the host in float64: the quantities are small differences of large ones, d × d problems are
cheap there, and one set of augmentations has to be encoded on the device only once.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.measures.checks import TooFew, check_finite

Rows = Float[Array | np.ndarray, "n d"]
Rotation = Float[np.ndarray, "d d"]


class Wahba(NamedTuple):
    """Best rotation R [d, d] with R f_i ≈ f_a,i, and the error ‖F Rᵀ − F_a‖_F it leaves."""

    rotation: Rotation
    error: float


class Gamma(NamedTuple):
    """γ over the pairs kept, and how many of the n (n − 1) / 2 pairs were dropped."""

    gamma: float
    dropped: int


class GramError(NamedTuple):
    """Change of the Gram matrix: mean square over pairs, and at the scale of the authors' loss."""

    mean_square: float
    authors: float


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


def invariance_error(z: Rows, z_a: Rows) -> float:
    """How far an augmentation moves an embedding, mean_i ‖z_i − z_a,i‖²; [0, 4] for unit ones."""
    z, z_a = paired(z, z_a)
    return float(np.mean(np.sum((z - z_a) ** 2, axis=1)))


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


def _square_distances(z: np.ndarray, rows: np.ndarray, start: int) -> np.ndarray:
    norms = np.sum(z * z, axis=1)
    return norms[rows][:, None] + norms[None, start:] - 2 * z[rows] @ z[start:].T


def paired(f: Rows, f_a: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, of one shape [n, d] and finite."""
    one, two = np.asarray(f, np.float64), np.asarray(f_a, np.float64)
    if one.ndim != 2 or one.shape != two.shape:
        raise ValueError(
            f"Embeddings before and after must both be [n, d] with rows as examples, found "
            f"{one.shape} and {two.shape}."
        )
    check_finite(**{"The embedding before": one, "The embedding after": two})
    return one, two
