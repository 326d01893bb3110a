"""Bilinear forms zᵀ B w on embeddings, and the groups of linear maps that leave them alone."""

from collections.abc import Callable, Mapping

import jax
import numpy as np
from jaxtyping import Array, Float

Form = Float[Array | np.ndarray, "d d"]

CONDITION = 1e6  # of B, the most that is accepted: beyond it float32 loses directions of B
_SYMMETRY = 1e-6  # how far from symmetric or skew, relative to the largest entry


def euclidean_form(dimension: int) -> Float[np.ndarray, "d d"]:
    """The inner product, B = I. Its stabiliser is O(d), the rotations and reflections.

    Raises:
      ValueError: if d < 1.
    """
    if dimension < 1:
        raise ValueError(f"A form needs at least 1 dimension, found {dimension}.")
    return np.eye(dimension, dtype=np.float32)


def minkowski_form(dimension: int) -> Float[np.ndarray, "d d"]:
    """B = diag(−1, 1, …, 1), time first. Its stabiliser is the Lorentz group O(1, d−1).

    Those of its elements that keep the upper sheet of the hyperboloid (see `hyperboloid`) are the
    isometries of the hyperbolic space of dimension d−1.

    Raises:
      ValueError: if d < 2.

    >>> minkowski_form(3).diagonal().tolist()
    [-1.0, 1.0, 1.0]
    """
    if dimension < 2:
        raise ValueError(
            f"The Minkowski form needs one dimension of time and at least one of space, found "
            f"{dimension} in all."
        )
    return np.diag(np.array([-1] + [1] * (dimension - 1), np.float32))


def symplectic_form(dimension: int) -> Float[np.ndarray, "d d"]:
    """B = [[0, I], [−I, 0]], a skew form. Its stabiliser is the symplectic group Sp(d, R).

    Of Sp(d, R) only Sp(d, R) ∩ O(d), the unitary group U(d/2), keeps the unit sphere.

    Raises:
      ValueError: if d is odd (a skew form of odd dimension is singular) or below 2.

    >>> symplectic_form(2).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    if dimension < 2 or dimension % 2:
        raise ValueError(
            f"A symplectic form needs an even number of dimensions, found {dimension}: every skew "
            f"form of odd dimension is singular. Use {max(2, dimension + 1)} instead."
        )
    half = np.eye(dimension // 2)
    return np.kron([[0, 1], [-1, 0]], half).astype(np.float32)


FORMS: Mapping[str, Callable[[int], Float[np.ndarray, "d d"]]] = {
    "euclidean": euclidean_form,
    "minkowski": minkowski_form,
    "symplectic": symplectic_form,
}
"""The named forms, each a function of the width of the embeddings."""


def check_form(form: Form, width: int) -> None:
    """Refuse what is no non-singular bilinear form on embeddings [N, width].

    Raises:
      ValueError: for B that is not square, of another width, not finite, or whose condition number
        is above `CONDITION`. Of a traced B only the shape is known, and checked.
    """
    shape = np.shape(form)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"A bilinear form is a square matrix [D, D], found shape {shape}.")
    if shape[0] != width:
        raise ValueError(
            f"The bilinear form is of width {shape[0]}, but the embeddings are of width {width}: "
            f"make the form for {width} dimensions."
        )
    if isinstance(form, jax.core.Tracer):
        return
    values = np.asarray(form, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("The bilinear form holds NaN or infinite values.")
    condition = np.linalg.cond(values)
    if not condition <= CONDITION:
        raise ValueError(
            f"The bilinear form is singular, or nearly so: its condition number is {condition:.3g} "
            f"and may be {CONDITION:.0e} at most. What it sends to 0 would be free to change."
        )


def stabiliser(form: Form) -> str:
    """Name of the group {A : Aᵀ B A = B} of a symmetric or a skew form.

    A symmetric form with p negative and q positive eigenvalues has O(p, q) (Sylvester's law of
    inertia), O(d) if p or q is 0; a skew one Sp(d, R).

    Raises:
      ValueError: as `check_form`, and for a form that is neither symmetric nor skew.

    >>> stabiliser(euclidean_form(3)), stabiliser(minkowski_form(4)), stabiliser(symplectic_form(2))
    ('O(3)', 'O(1, 3)', 'Sp(2, R)')
    """
    width = np.shape(form)[-1] if np.ndim(form) else 0
    check_form(form, width)
    values = np.asarray(form, np.float64)
    slack = _SYMMETRY * np.abs(values).max()
    if np.abs(values + values.T).max() <= slack:
        return f"Sp({width}, R)"
    uneven = np.abs(values - values.T).max()
    if uneven > slack:
        raise ValueError(
            f"The stabiliser of a form has a name if it is symmetric or skew; this one differs "
            f"from its transpose by up to {uneven:.3g}, and from minus that by up to "
            f"{np.abs(values + values.T).max():.3g}."
        )
    negative = int(np.sum(np.linalg.eigvalsh((values + values.T) / 2) < 0))
    return f"O({negative}, {width - negative})" if 0 < negative < width else f"O({width})"
