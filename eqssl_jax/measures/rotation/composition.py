"""Whether the rotations of augmentations compose as the augmentations do."""

from typing import NamedTuple

import numpy as np

from eqssl_jax.measures.cards import LOWER, Card, Measured, Output
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.rotation.pairs import Rotation, Rows
from eqssl_jax.measures.rotation.wahba import fits, wahba
from eqssl_jax.measures.subjects import Seen


class Composition(NamedTuple):
    """‖R_ba − R_b R_a‖_F; divided by √(2d); and the same as seen by the embeddings.

    Attributes:
      error: the Frobenius norm, in [0, 2√d].
      relative: error / √(2d): 1 is what two unrelated random rotations give.
      on_data: ‖(R_ba − R_b R_a) F‖_F / ‖F‖_F: directions without data carry no weight.
    """

    error: float
    relative: float
    on_data: float


def composition_error(
    f: Rows,
    f_a: Rows,
    f_b: Rows,
    f_ba: Rows,
) -> Composition:
    """Whether rotations compose as augmentations do: ‖R_ba − R_b R_a‖_F.

    R_a is fitted (`wahba`) from f to f_a, R_b from f to f_b, R_ba from f to f_ba, all on the same
    images. Where embeddings do not span R^d, R is arbitrary in the directions without data, which
    `error` counts in full and `on_data` does not.

    Args:
      f, f_a, f_b, f_ba: embeddings of x, a(x), b(x) and b(a(x)), [n, d], n > d.

    Raises:
      ValueError: as `wahba`.

    Source: the law R_{a'∘a} = R_a' R_a of Gupta et al. 2024 (arXiv:2306.13924).
    """
    return compose(f, *(wahba(f, after).rotation for after in (f_a, f_b, f_ba)))


def compose(f: Rows, r_a: Rotation, r_b: Rotation, r_ba: Rotation) -> Composition:
    """`composition_error` of rotations that are already fitted."""
    f64 = np.asarray(f, np.float64)
    gap = r_ba - r_b @ r_a
    error = float(np.linalg.norm(gap))
    on_data = float(np.linalg.norm(f64 @ gap.T) / np.linalg.norm(f64))
    return Composition(error, error / float(np.sqrt(2 * f64.shape[1])), on_data)


def _measure(seen: Seen) -> Measured:
    augmented.enough(seen)
    plain, _, double, _ = seen.shared(augmented.augmented)
    if not len(double):
        raise ValueError("left out: pairs is 0, or there is only one augmentation")
    rotations = [fit.rotation for fit in seen.own(fits)]
    found = [
        compose(plain, rotations[p], rotations[p + 1], wahba(plain, after).rotation)
        for p, after in enumerate(double)
    ]
    return augmented.over_augmentations(
        {
            "composition_error": [each.error for each in found],
            "composition_relative": [each.relative for each in found],
            "composition_on_data": [each.on_data for each in found],
        }
    )


CARD = Card(
    name="composition",
    measure=_measure,
    outputs=(
        Output("composition_error", "Composition error", LOWER),
        Output("composition_relative", "Composition error / √(2d)", LOWER, chance=1.0),
        Output("composition_on_data", "Composition error on the data", LOWER),
    ),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    rank=50,
    source="Gupta et al. 2024, arXiv:2306.13924",
)
