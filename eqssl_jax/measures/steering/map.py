"""A map from the parameters of an augmentation to the rotation of embeddings that it causes.

CARE never learns the rotation R_a of an augmentation: it has to be solved for each anew, from
embeddings before and after (`wahba`). Here one map gives it for every draw p of a transformation,

  R(p) = exp(Σ_k c_k(p) G_k),  G_k skew-symmetric [d, d],  c(identity) = 0,

so that R(p) is a rotation for any p and R(identity) = I, whatever was fitted. The exponential was
chosen over Cayley's map (I − S/2)⁻¹ (I + S/2), which costs less, since exp(φ G) is what a
one-parameter group is, and since Cayley's map cannot turn by π. Ours; the paper names the missing
map as its first limit (Gupta et al. 2024, arXiv:2306.13924).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float

from eqssl_jax.measures.steering.basis import FAMILIES, Basis, basis, coefficients, magnitude
from eqssl_jax.transforms.base import Params

PENALTIES = (1e-3, 1e-2)
LEAST_DRAWS = 8
# Nearest draws first, as shares of all: from G = 0 the way to a turn of φ is straight only while
# φ is well below π; far draws would pull from both sides.
STAGES = (0.25, 0.5, 1.0)
_SQUARINGS, _TERMS = 6, 8


class Drawn(NamedTuple):
    """Unit embeddings of n images before [n, d] and after each of A draws [A, n, d]; the draws."""

    before: Float[np.ndarray, "n d"]
    after: Float[np.ndarray, "a n d"]
    params: Params  # leaves [A, …]


class Steering(NamedTuple):
    """R(p) = exp(Σ_k c_k(p) G_k).

    Attributes:
      basis: what gives c(p), see `steering_basis.basis`.
      generators: G [K, d, d], skew-symmetric, float64; 0 for coefficients the family leaves out.
      family, penalty: what was chosen on validation draws.
      validation: mean square error of each candidate there, by (family, penalty).
    """

    basis: Basis
    generators: Float[np.ndarray, "k d d"]
    family: str
    penalty: float
    validation: Mapping[tuple[str, float], float]


def fit_steering(
    train: Drawn,
    validation: Drawn,
    identity: Params,
    *,
    families: Sequence[str] = FAMILIES,
    penalties: Sequence[float] = PENALTIES,
    iterations: int = 80,
) -> Steering:
    """Fit R(p) to many draws; which coefficients and how much penalty is chosen on other draws.

    Minimises mean_a ‖F R(p_a)ᵀ − F_a‖² / n + λ/d Σ_k ‖G_k‖² by L-BFGS from G = 0, the nearest
    draws first (`STAGES`). Of the embeddings only the A moments F_aᵀ F / n [d, d] enter, so the
    cost does not depend on n: one evaluation is O(A d³), some 50 ms for 96 draws and d = 64 on two
    CPU cores.

    Args:
      train: n > d images and A ≥ 8 draws.
      validation: other images under other draws.
      identity: the draw that does nothing.
      families: candidates for the coefficients c(p), of `FAMILIES`.
      penalties: candidates for λ ≥ 0: the first for every family, the others for the best one.
      iterations: of L-BFGS in the last stage; a third of them in those before.

    Raises:
      ValueError: for n ≤ d, too few draws, shapes that do not match, embeddings that are not finite
        or not of length 1, unknown families, negative penalties, or as `basis`.
    """
    _check(train, validation, families, penalties)
    fitted = basis(train.params, identity)
    moments = _moments(train)
    near = np.argsort(magnitude(fitted, train.params), kind="stable")
    c = coefficients(fitted, train.params)
    fits: dict[tuple[str, float], Steering] = {}

    def attempt(family: str, penalty: float) -> None:
        columns = fitted.families[family]
        g = fit_generators(c[:, columns], moments, near, penalty, iterations)
        generators = np.zeros((len(columns), *g.shape[1:]))
        generators[columns] = g
        fits[family, penalty] = Steering(fitted, generators, family, penalty, {})

    # Without cyclic parameters "cyclic" is "linear" again.
    distinct = {fitted.families[family].tobytes(): family for family in reversed(families)}
    for family in families:
        if family in distinct.values():
            attempt(family, penalties[0])
    errors = {candidate: _mean_square(fit, validation) for candidate, fit in fits.items()}
    for penalty in penalties[1:]:
        attempt(min(errors, key=errors.__getitem__)[0], penalty)
    errors = {candidate: _mean_square(fit, validation) for candidate, fit in fits.items()}
    return fits[min(errors, key=errors.__getitem__)]._replace(validation=errors)


def steering_rotations(steering: Steering, params: Params) -> Float[np.ndarray, "a d d"]:
    """R(p) [A, d, d] of draws with leaves [A, …], float64; exactly I for the identity.

    Raises:
      ValueError: for draws of another transformation.
    """
    c = coefficients(steering.basis, params)
    return scipy.linalg.expm(np.einsum("ak,kde->ade", c, steering.generators))


def steering_errors(steering: Steering, drawn: Drawn) -> Float[np.ndarray, " a"]:
    """‖F R(p_a)ᵀ − F_a‖_F / √n of each draw, in [0, 2] for unit embeddings."""
    return rotation_errors(steering_rotations(steering, drawn.params), drawn.before, drawn.after)


def rotation_errors(
    rotations: Float[np.ndarray, "a d d"],
    before: Float[np.ndarray, "n d"],
    after: Float[np.ndarray, "a n d"],
) -> Float[np.ndarray, " a"]:
    """‖F R_aᵀ − F_a‖_F / √n of each draw a."""
    return np.array(
        [
            np.linalg.norm(before @ r.T - after_a) / np.sqrt(len(before))
            for r, after_a in zip(rotations, after, strict=True)
        ]
    )


def _mean_square(steering: Steering, drawn: Drawn) -> float:
    return float(np.mean(steering_errors(steering, drawn) ** 2))


def _moments(drawn: Drawn) -> Float[np.ndarray, "a d d"]:
    """F_aᵀ F / n: for unit rows ‖F Rᵀ − F_a‖² / n = 2 − 2 ⟨R, F_aᵀ F / n⟩."""
    f, after = (np.asarray(part, np.float64) for part in (drawn.before, drawn.after))
    return np.einsum("and,ne->ade", after, f, optimize=True) / len(f)


def _check(
    train: Drawn, validation: Drawn, families: Sequence[str], penalties: Sequence[float]
) -> None:
    for name, part in (("train", train), ("validation", validation)):
        before, after = np.asarray(part.before), np.asarray(part.after)
        leaves = jax.tree.leaves(part.params)
        if before.ndim != 2 or after.ndim != 3 or after.shape[1:] != before.shape:
            raise ValueError(
                f"Steering needs embeddings [n, d] before and [A, n, d] after; {name} has "
                f"{before.shape} and {after.shape}."
            )
        if any(np.shape(leaf)[:1] != after.shape[:1] for leaf in leaves):
            raise ValueError(
                f"Each of the {len(after)} draws of {name} needs its parameters; found leaves of "
                f"shape {[np.shape(leaf) for leaf in leaves]}."
            )
        if not (np.isfinite(before).all() and np.isfinite(after).all()):
            raise ValueError(
                f"Embeddings of {name} hold NaN or infinite values: the encoder diverged."
            )
        lengths = np.linalg.norm(np.concatenate([before[None], after]), axis=-1)
        if len(before) and np.abs(lengths - 1).max() > 1e-3:
            raise ValueError(
                f"Steering rotates embeddings of length 1; those of {name} have lengths "
                f"{lengths.min():.3g} … {lengths.max():.3g}: divide them by their norms."
            )
    n, d = np.shape(train.before)
    if n <= d:
        raise ValueError(
            f"{n} images do not determine rotations of {d} dimensions. Use more than {d} images, "
            f"or embeddings of fewer dimensions."
        )
    if len(train.after) < LEAST_DRAWS or not len(validation.after):
        raise ValueError(
            f"Steering needs at least {LEAST_DRAWS} draws to fit and some to choose by, found "
            f"{len(train.after)} and {len(validation.after)}."
        )
    unknown = sorted(set(families) - set(FAMILIES))
    if unknown or not families or not penalties or min(penalties) < 0:
        raise ValueError(
            f"Steering takes families of {FAMILIES} and penalties ≥ 0, found {tuple(families)} and "
            f"{tuple(penalties)}."
        )


def fit_generators(
    c: np.ndarray, moments: np.ndarray, near: np.ndarray, penalty: float, iterations: int
) -> Float[np.ndarray, "k d d"]:
    """L-BFGS over W [K, d, d] with G = W − Wᵀ, in stages."""
    k, d = c.shape[1], moments.shape[1]
    x_best = np.zeros(k * d * d)
    for share in STAGES:
        weight = np.zeros(len(c))
        weight[near[: max(1, round(share * len(c)))]] = 1.0
        arrays = [jnp.asarray(a, jnp.float32) for a in (c, moments, weight / weight.sum())]

        def loss(x: np.ndarray, arrays: list[Array] = arrays) -> tuple[float, np.ndarray]:
            w = jnp.asarray(x.reshape(k, d, d), jnp.float32)
            value, slope = _loss(w, *arrays, jnp.float32(penalty / d))
            return float(value), np.asarray(slope, np.float64).ravel()

        options = {"maxiter": -(-iterations // (1 if share == 1 else 3)), "maxcor": 20}
        x_best = scipy.optimize.minimize(
            loss, x_best, jac=True, method="L-BFGS-B", options=options
        ).x
    w = x_best.reshape(k, d, d)
    return w - w.swapaxes(1, 2)


def _loss_of(
    w: Float[Array, "k d d"],
    c: Float[Array, "a k"],
    moments: Float[Array, "a d d"],
    weight: Float[Array, " a"],
    penalty: Float[Array, ""],
) -> Float[Array, ""]:
    generators = w - w.mT
    s = jnp.einsum("ak,kde->ade", c, generators)
    fit = jnp.sum(_exponential(s) * moments, axis=(1, 2))
    return jnp.sum(weight * (2 - 2 * fit)) + penalty * jnp.sum(generators**2)


# One compilation for each shape, whatever the encoder.
_loss = jax.jit(jax.value_and_grad(_loss_of))


def _exponential(s: Float[Array, "a d d"]) -> Float[Array, "a d d"]:
    """exp(S) by Taylor's series of S / 2⁶ and six squarings, to 1e-6 for ‖S‖ ≤ 40.

    Only the fit uses it. jax.scipy.linalg.expm chooses the number of squarings for each matrix,
    which under vmap runs the most there may be: five times slower with its gradient.
    """
    small, eye = s / 2.0**_SQUARINGS, jnp.eye(s.shape[1])[None]
    power = eye
    for term in range(_TERMS, 0, -1):
        power = eye + small @ power / term
    for _ in range(_SQUARINGS):
        power = power @ power
    return power
