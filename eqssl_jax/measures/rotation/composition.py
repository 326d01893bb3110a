"""Whether the rotations of two augmentations compose as the augmentations do."""

from typing import NamedTuple

import numpy as np

from eqssl_jax.measures.cards import LOWER, Card, Measured, Output, TooFew
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.rotation.distances import Rotation, Rows, paired
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


class HeldOutComposition(NamedTuple):
    """Composition on images that no rotation was fitted on, relative to how far these moved.

    Attributes:
      gap: ‖(R_ba − R_b R_a) Z‖_F / ‖Z_ba − Z‖_F, ≥ 0. 0: the rotations compose where there are
        embeddings; 1: they differ by as much as the two augmentations move. It is small, too, where
        no rotation does anything (all three near the identity): read it beside `residual`.
      residual: ‖R_b R_a Z − Z_ba‖²_F / ‖Z_ba − Z‖²_F, the share of the change that the composed
        rotations leave, ≥ 0. 0: they predict b(a(x)); 1: no better than predicting no change.
      single: the same for R_ba, fitted on the composed augmentation itself: what `residual` could
        reach if the rotations composed.
    """

    gap: float
    residual: float
    single: float


def composition_error(f: Rows, f_a: Rows, f_b: Rows, f_ba: Rows) -> Composition:
    """Whether rotations compose as augmentations do: ‖R_ba − R_b R_a‖_F.

    R_a is fitted (`wahba`) from f to f_a, R_b from f to f_b, R_ba from f to f_ba, all on the same
    images. Where embeddings do not span R^d, R is arbitrary in the directions without data, which
    `error` counts in full and `on_data` does not. An encoder that spreads over more directions
    lowers `error` without composing any better: claims belong to `held_out_composition`.

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


def held_out_composition(
    f: Rows, f_a: Rows, f_b: Rows, f_ba: Rows, *, seed: int = 0
) -> HeldOutComposition:
    """Fit R_a, R_b and R_ba on a random half of the images and compare R_b R_a on the other half.

    With Z the embeddings of the other half (rows as columns) and Z_ba those of b(a(x)),

        gap = ‖(R_ba − R_b R_a) Z‖_F / ‖Z_ba − Z‖_F,
        residual = ‖R_b R_a Z − Z_ba‖²_F / ‖Z_ba − Z‖²_F.

    Only directions that hold data count, an encoder that moves little gains nothing by it, and no
    rotation is asked about an image that it was fitted on. All three are NaN where b(a(x)) moves
    nothing (0/0).

    Args:
      f, f_a, f_b, f_ba: embeddings of x, a(x), b(x) and b(a(x)), [n, d], with more than 2d images.
      seed: of the halves.

    Raises:
      ValueError: for shapes that differ or values that are not finite, and `TooFew` if half of the
        images do not determine a rotation.

    Source: the law R_{a'∘a} = R_a' R_a is of Gupta et al. 2024 (arXiv:2306.13924); the measure is
    ours.

    >>> import numpy as np
    >>> z, turn = np.random.default_rng(0).normal(size=(8, 2)), np.array([[0.0, -1], [1, 0]])
    >>> bool(held_out_composition(z, z @ turn, z @ turn, -z).residual < 1e-12)
    True
    """
    f64, f_a64 = paired(f, f_a)
    _, f_b64 = paired(f, f_b)
    _, f_ba64 = paired(f, f_ba)
    order = np.random.default_rng(seed).permutation(len(f64))
    fit, test = order[: (len(f64) + 1) // 2], order[(len(f64) + 1) // 2 :]
    if not len(test):
        raise TooFew("Composition on other images needs two halves, found 1 image.")
    r_a, r_b, r_ba = (wahba(f64[fit], z[fit]).rotation for z in (f_a64, f_b64, f_ba64))
    z, after = f64[test], f_ba64[test]
    moved = float(np.linalg.norm(after - z))
    if moved == 0:
        return HeldOutComposition(float("nan"), float("nan"), float("nan"))
    direct, composed = z @ r_ba.T, z @ (r_b @ r_a).T
    gap, single, residual = (
        float(np.linalg.norm(a - b) / moved)
        for a, b in ((direct, composed), (direct, after), (composed, after))
    )
    return HeldOutComposition(gap, residual**2, single**2)


def _fitted(seen: Seen) -> dict[str, list[float]]:
    """Composition errors of rotations that are fitted on all images."""
    plain, _, double, _ = seen.shared(augmented.augmented)
    rotations = [fit.rotation for fit in seen.own(fits)]
    errors = [
        compose(plain, rotations[p], rotations[p + 1], wahba(plain, after).rotation)
        for p, after in enumerate(double)
    ]
    return {
        "composition_error": [error.error for error in errors],
        "composition_relative": [error.relative for error in errors],
        "composition_on_data": [error.on_data for error in errors],
    }


def _held_out(seen: Seen) -> dict[str, list[float]]:
    plain, single, double, _ = seen.shared(augmented.augmented)
    errors = [
        held_out_composition(plain, single[p], single[p + 1], after)
        for p, after in enumerate(double)
    ]
    return {
        "composition_held_out": [error.gap for error in errors],
        "composition_residual": [error.residual for error in errors],
    }


def _measure(seen: Seen) -> Measured:
    plain, _, double, _ = seen.shared(augmented.augmented)
    if not len(double):
        raise TooFew("left out: pairs is 0, or there is only one augmentation")
    d, names = plain.shape[1], CARD.absent_names()
    return augmented.where_enough(
        seen,
        (names[2:], d + 1, lambda: _fitted(seen)),
        (names[:2], 2 * d + 1, lambda: _held_out(seen)),
    )


CARD = Card(
    name="composition",
    measure=_measure,
    outputs=(
        # These two may be claimed: other images, where there are embeddings, relative to the move.
        Output("composition_held_out", "Composition gap / displacement, held-out images", LOWER,
               ".3f"),
        Output("composition_residual", "Change composed rotations leave, held-out images", LOWER,
               ".3f"),
        # As quoted in the paper: directions without data count in full, so no direction of better.
        Output("composition_error", "Composition error"),
        Output("composition_relative", "Composition error / √(2d)", chance=1.0),
        Output("composition_on_data", "Composition error on the data"),
    ),
    settings=augmented.SETTINGS,
    quick=augmented.QUICK,
    rank=60,
    source="Gupta et al. 2024, arXiv:2306.13924; on held-out images ours",
)  # fmt: skip
