"""The generators of a steering map, by L-BFGS on the moments of embeddings."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize

# Nearest draws first, as shares of all: from G = 0 the way to a turn of φ is straight only while
# φ is well below π; far draws would pull from both sides.
STAGES = (0.25, 0.5, 1.0)
_SQUARINGS, _TERMS = 6, 8


def fit_generators(
    c: np.ndarray, moments: np.ndarray, near: np.ndarray, penalty: float, iterations: int
) -> Float[np.ndarray, "k d d"]:
    """L-BFGS over W [K, d, d] with G = W − Wᵀ, in stages."""
    k, d = c.shape[1], moments.shape[1]
    found = np.zeros(k * d * d)
    for share in STAGES:
        weight = np.zeros(len(c))
        weight[near[: max(1, round(share * len(c)))]] = 1.0
        arrays = [jnp.asarray(a, jnp.float32) for a in (c, moments, weight / weight.sum())]

        def loss(x: np.ndarray, arrays: list[Array] = arrays) -> tuple[float, np.ndarray]:
            w = jnp.asarray(x.reshape(k, d, d), jnp.float32)
            value, slope = _loss(w, *arrays, jnp.float32(penalty / d))
            return float(value), np.asarray(slope, np.float64).ravel()

        options = {"maxiter": -(-iterations // (1 if share == 1 else 3)), "maxcor": 20}
        found = optimize.minimize(loss, found, jac=True, method="L-BFGS-B", options=options).x
    w = found.reshape(k, d, d)
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
    found = eye
    for term in range(_TERMS, 0, -1):
        found = eye + small @ found / term
    for _ in range(_SQUARINGS):
        found = found @ found
    return found
