"""How much an augmentation changes inner products between different images."""

from typing import NamedTuple

import numpy as np

from eqssl_jax.measures.cards import LOWER, Card, Measured, Output
from eqssl_jax.measures.checks import TooFew
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.rotation.pairs import Rows, paired
from eqssl_jax.measures.subjects import Seen


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


def _measure(seen: Seen) -> Measured:
    plain, single, _, some = seen.shared(augmented.augmented)

    def errors() -> dict[str, list[float]]:
        changes = [gram_error(plain[some], after[some]) for after in single]
        return {"gram_error": [change.mean_square for change in changes]}

    return augmented.where_enough(seen, (("gram_error",), 2, errors))


CARD = Card(
    name="gram",
    measure=_measure,
    outputs=(Output("gram_error", "Gram error", LOWER),),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    rank=50,
    source="Gupta et al. 2024, arXiv:2306.13924",
)
