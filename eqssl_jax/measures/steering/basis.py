"""Coefficients of a draw: numbers that say what was done, and are 0 where nothing was."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from eqssl_jax.measures.regression.change import CYCLES
from eqssl_jax.transforms.base import Params

HARMONICS = (1, 2)  # of a cyclic parameter: sin hφ and cos hφ − 1
FAMILIES = ("linear", "cyclic", "quadratic")


class Basis(NamedTuple):
    """How draws of one transformation become coefficients c(p) [J].

    Attributes:
      identity: the draw whose coefficients are exactly 0.
      kept: which of all columns move over the draws the basis was made from; the others are left
        out.
      scale: root mean square of each kept column over these draws, [J].
      families: which columns each of `FAMILIES` uses, bool [J].
    """

    identity: Params
    kept: Bool[np.ndarray, " all"]
    scale: Float[np.ndarray, " j"]
    families: Mapping[str, Bool[np.ndarray, " j"]]


class _Columns(NamedTuple):
    """Coefficients before scaling [A, all], and of each its kind."""

    values: Float[np.ndarray, "a all"]
    kinds: np.ndarray  # "number", "switch", "cycle" or "product"


def basis(params: Params, identity: Params) -> Basis:
    """The coefficients that draws of one transformation have.

    With Δ the difference of a parameter from its identity, a draw has

      Δ                                        of each real number            (linear)
      0 or 1: whether it differs               of each bool                   (linear)
      sin hφ, cos hφ − 1 for h = 1, 2          of cyclic ones, φ in radians   (cyclic)
      products of two of the first two kinds   squares of numbers among them  (quadratic)

    each divided by its root mean square over these draws. Families are nested: "linear" is the
    first two kinds, "cyclic" and "quadratic" add theirs. Integers (the order of a jitter) give
    nothing. A rotation by an angle φ is a one-parameter group, exp(φ G), so a cyclic parameter is
    linear, too.

    Args:
      params: draws, leaves [A, …].
      identity: the draw that does nothing.

    Raises:
      ValueError: for values that are not finite, or if no real number differs from the identity in
        any draw: two or three discrete cases leave nothing to interpolate.
    """
    values, kinds = _columns(params, identity)
    rms = np.sqrt(np.mean(values**2, axis=0))
    # A parameter that never moves says nothing. Products of tiny numbers are no different: ask
    # relative to the largest of the column.
    kept = rms > 0
    if not np.any(kept & (kinds == "number")):
        raise ValueError(
            f"Steering needs a parameter that is a real number and differs from its identity; "
            f"found {_describe(params)} over {len(values)} draws. For a discrete change fit one "
            f"rotation with wahba()."
        )
    kinds = kinds[kept]
    linear = (kinds == "number") | (kinds == "switch")
    families = {
        "linear": linear,
        "cyclic": linear | (kinds == "cycle"),
        "quadratic": linear | (kinds == "product"),
    }
    return Basis(identity, kept, rms[kept], families)


def coefficients(fitted: Basis, params: Params) -> Float[np.ndarray, "a j"]:
    """c(p) of draws with leaves [A, …]; a row of exact zeros for the identity.

    >>> import numpy as np
    >>> turns = basis({"by": np.array([-1.0, 1.0])}, {"by": np.zeros(())})
    >>> coefficients(turns, {"by": np.array([0.0, 3.0])}).tolist()  # Δ and Δ²
    [[0.0, 0.0], [3.0, 9.0]]

    Raises:
      ValueError: for draws of another transformation, or values that are not finite.
    """
    values = _columns(params, fitted.identity).values
    return values[:, fitted.kept] / fitted.scale


def magnitude(fitted: Basis, params: Params) -> Float[np.ndarray, " a"]:
    """How far each draw is from the identity: root mean square of its linear coefficients."""
    linear = coefficients(fitted, params)[:, fitted.families["linear"]]
    return np.sqrt(np.mean(linear**2, axis=1))


def _columns(params: Params, identity: Params) -> _Columns:
    numbers, switches, cycles = [], [], []
    identities = dict(jax.tree_util.tree_leaves_with_path(identity))
    if dict(jax.tree_util.tree_leaves_with_path(params)).keys() != identities.keys():
        raise ValueError(
            f"Steer draws of the same transformation as in the fit: it draws "
            f"{_describe(identity)}, found {_describe(params)}."
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        value, identity_leaf = np.asarray(leaf), np.asarray(identities[path])
        rows = value.reshape(len(value), -1)
        if value.dtype == bool:
            switches.append((rows != identity_leaf.reshape(1, -1)).astype(np.float64))
        elif np.issubdtype(value.dtype, np.floating):
            change = rows.astype(np.float64) - identity_leaf.reshape(1, -1)
            numbers.append(change)
            name = str(getattr(path[-1], "key", "")) if path else ""
            if name in CYCLES:
                phases = [h * CYCLES[name] * change for h in HARMONICS]
                cycles += [part for p in phases for part in (np.sin(p), np.cos(p) - 1)]
    count = len(jax.tree.leaves(params)[0]) if jax.tree.leaves(params) else 0
    parts = {"number": numbers, "switch": switches, "cycle": cycles}
    joined = {k: np.concatenate([np.zeros((count, 0)), *v], axis=1) for k, v in parts.items()}
    joined["product"] = _products(joined["number"], joined["switch"])
    values = np.concatenate(list(joined.values()), axis=1)
    if not np.isfinite(values).all():
        raise ValueError(f"Draws hold NaN or infinite values: {_describe(params)}.")
    return _Columns(values, np.repeat(list(joined), [v.shape[1] for v in joined.values()]))


def _products(numbers: np.ndarray, switches: np.ndarray) -> Float[np.ndarray, "a products"]:
    """Products of any two columns, and squares of numbers; a switch is its own square."""
    columns = np.concatenate([numbers, switches], axis=1)
    first, second = np.triu_indices(columns.shape[1])
    new = (first != second) | (first < numbers.shape[1])
    return columns[:, first[new]] * columns[:, second[new]]


def _describe(params: Params) -> str:
    names = [
        f"{jax.tree_util.keystr(path, simple=True, separator='.')} ({np.asarray(leaf).dtype})"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    return ", ".join(names) or "a draw without parameters"


def restricted(params: Params, keep: Array | np.ndarray) -> Params:
    """Some of the draws, by index or mask on the leading axis."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[np.asarray(keep)], params)
