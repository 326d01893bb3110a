"""How close an augmentation is to one linear map of the embeddings that keeps a bilinear form.

Rows are examples: z, z_a [n, d] are embeddings before and after one augmentation, where their
geometry puts them (unit vectors, points of the hyperboloid). On the host in float64, as `rotation`.
"""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from eqssl_jax.measures.cards import TooFew, check_finite
from eqssl_jax.measures.rotation.distances import Rows, paired
from eqssl_jax.objectives.forms import Form, check_form, stabiliser

Matrix = Float[np.ndarray, "d d"]


class FormGramError(NamedTuple):
    """Change of z_iᵀ B z_j over i ≠ j: mean square, and divided by the variances of both."""

    mean_square: float
    relative: float


class FormChange(NamedTuple):
    """One augmentation, as seen by a form B; shares are of Σ‖z − z_a‖² on held-out images.

    Attributes:
      gram: `form_gram_error(...).relative` of all images.
      linear: share of the change that the best linear map A leaves; 1 for no better than none.
      group: the share that the factor of A in the stabiliser leaves; NaN where A has none.
      departure: ‖AᵀBA − B‖_F / ‖B‖_F, 0 for A in the stabiliser.
      on_data: ‖Z(AᵀBA − B)Zᵀ‖_F / ‖ZBZᵀ‖_F: directions without data carry no weight.
    """

    gram: float
    linear: float
    group: float
    departure: float
    on_data: float


def form_gram_error(z: Rows, z_a: Rows, form: Form) -> FormGramError:
    """Change of z_iᵀ B z_j between different images, what `form_equivariance` makes small.

    `relative` is mean_{i≠j} (G − G_a)² / (Var G + Var G_a): 0 where the augmentation keeps the
    form, 1 where G and G_a have nothing to do with each other but their mean. It does not depend
    on the scale of B or of the embeddings, so forms and encoders may be compared; NaN if neither
    G nor G_a varies. Memory is O(n²).

    Raises:
      ValueError: as `check_form`, for shapes that differ, fewer than 2 examples, or values that
        are not finite.

    >>> import numpy as np
    >>> z, squeeze = np.array([[1.0, 0], [0, 1], [1, 1]]), np.diag([2, 0.5])
    >>> form_gram_error(z, z @ squeeze, np.array([[0, 1], [-1, 0]])).mean_square
    0.0
    """
    z, z_a = paired(z, z_a)
    if len(z) < 2:
        raise TooFew(f"A Gram error compares pairs of images and needs at least 2, found {len(z)}.")
    check_form(form, z.shape[1])
    b, between = np.asarray(form, np.float64), ~np.eye(len(z), dtype=bool)
    gram, gram_a = (x @ b @ x.T for x in (z, z_a))
    mean_square = float(np.mean((gram - gram_a)[between] ** 2))
    spread = float(gram[between].var() + gram_a[between].var())
    return FormGramError(mean_square, mean_square / spread if spread > 0 else float("nan"))


def linear_map(z: Rows, z_a: Rows) -> Matrix:
    """The A [d, d] that minimises Σ ‖A z_i − z_a,i‖², whatever it does to any form.

    Raises:
      ValueError: for n ≤ d: so few points are always mapped without error.
    """
    z, z_a = paired(z, z_a)
    n, d = z.shape
    if n <= d:
        raise TooFew(
            f"{n} examples do not determine a linear map of {d} dimensions: use more than {d} "
            f"images, or embeddings of fewer dimensions."
        )
    return np.linalg.lstsq(z, z_a, rcond=None)[0].T


def form_departure(a: Matrix, form: Form) -> float:
    """How far A is from the stabiliser of B, ‖AᵀBA − B‖_F / ‖B‖_F; 0 exactly on it."""
    check_form(form, a.shape[1])
    check_finite(a=a)
    b = np.asarray(form, np.float64)
    return float(np.linalg.norm(a.T @ b @ a - b) / np.linalg.norm(b))


def group_factor(a: Matrix, form: Form) -> Matrix:
    """The factor Q of A = Q S that keeps B, S being self-adjoint for B; NaN where there is none.

    With A* = B⁻¹AᵀB the adjoint, S = (A*A)^½ is the principal root and Q = A S⁻¹. For B = I it is
    the polar decomposition, and Q the nearest orthogonal matrix; for other forms Q need not be the
    nearest. There is none where A*A has an eigenvalue that is 0 or negative, as for an A that
    swaps time and space.

    Raises:
      ValueError: as `stabiliser`: B must be symmetric or skew.

    Source: Higham, Mehl, Tisseur 2010, The canonical generalized polar decomposition (SIAM J.
    Matrix Anal. Appl. 31).
    """
    stabiliser(form)
    b = np.asarray(form, np.float64)
    square = np.linalg.solve(b, a.T @ b @ a)
    values = np.linalg.eigvals(square)
    size = np.abs(values).max()
    if ((values.real <= 1e-12 * size) & (np.abs(values.imag) <= 1e-12 * size)).any():
        return np.full_like(square, np.nan)
    return np.linalg.solve(scipy.linalg.sqrtm(square).real.T, a.T).T


def form_change(z: Rows, z_a: Rows, form: Form, *, seed: int = 0) -> FormChange:
    """All of `FormChange` for one augmentation; maps are fitted on a random half of the images.

    Raises:
      ValueError: as the functions above, for half of the images.
    """
    z, z_a = paired(z, z_a)
    order = np.random.default_rng(seed).permutation(len(z))
    fit, test = order[: (len(z) + 1) // 2], order[(len(z) + 1) // 2 :]
    a, b = linear_map(z[fit], z_a[fit]), np.asarray(form, np.float64)
    change = float(np.sum((z[test] - z_a[test]) ** 2))
    gap = z[test] @ (a.T @ b @ a - b) @ z[test].T

    def left(by: Matrix) -> float:
        """Share of the change that a linear map leaves."""
        if change == 0:
            return float("nan")
        return float(np.sum((z[test] @ by.T - z_a[test]) ** 2)) / change

    return FormChange(
        gram=form_gram_error(z, z_a, form).relative,
        linear=left(a),
        group=left(group_factor(a, form)),
        departure=form_departure(a, form),
        on_data=float(np.linalg.norm(gap) / np.linalg.norm(z[test] @ b @ z[test].T)),
    )
