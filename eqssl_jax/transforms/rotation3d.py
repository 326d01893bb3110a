"""Random turns of a point cloud in R³."""

from math import pi

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.settings import accept
from eqssl_jax.transforms import checks
from eqssl_jax.transforms.base import FromUniform, Params, Transform

_SMALL = 1e-4  # radians: below, the series are exact in float32


def rotate3d(max_angle: float = pi) -> Transform:
    """Turn a point cloud [n, 3] about the origin by a random rotation, uniform for max_angle = π.

    A draw is `rotation`, the rotation vector θ·axis [3] in radians, |θ| ≤ π; the identity is 0. It
    is drawn uniformly from SO(3), by a uniform quaternion (Shoemake 1992), its angle then scaled
    by max_angle / π, which for less than π is not uniform on the smaller ball. In these coordinates
    the straight line from 0 to a draw is the geodesic from the identity to the rotation, so ladders
    need no special case. Points are turned by Rodrigues' formula,

        x ← x + (sin θ / θ) r × x + ((1 − cos θ) / θ²) r × (r × x).

    Raises:
      ValueError: if `max_angle` is not in [0, π], or (when applied) for other than points [n, 3].
    """
    max_angle = accept("The max_angle (radians) of rotate3d()", max_angle, checks.ANGLE)

    def read(u: Float[Array, "3"]) -> Params:
        lengths = jnp.sqrt(jnp.stack([1 - u[0], u[0]]))  # of the two halves of the quaternion
        turns = 2 * pi * u[1:]
        quaternion = jnp.concatenate([lengths * jnp.cos(turns), lengths * jnp.sin(turns)])
        # q and −q are one rotation: take the one of at most half a turn.
        quaternion = jnp.where(quaternion[0] < 0, -quaternion, quaternion)
        length = jnp.linalg.norm(quaternion[1:])
        angle = 2 * jnp.arctan2(length, quaternion[0]) * (max_angle / pi)
        return {"rotation": quaternion[1:] * (angle / jnp.maximum(length, 1e-20))}

    def apply(params: Params, x: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
        if x.ndim != 2 or x.shape[1] != 3:
            raise ValueError(
                f"rotate3d() takes one point cloud [n, 3], found shape {x.shape}: use jax.vmap for "
                f"a batch."
            )
        vector = jnp.asarray(params["rotation"])
        square = jnp.sum(vector**2)
        small = square < _SMALL**2
        # The floor is inside the root: the derivative of sqrt at 0 is infinite.
        angle = jnp.sqrt(jnp.where(small, 1.0, square))
        first = jnp.where(small, 1 - square / 6, jnp.sin(angle) / angle)
        second = jnp.where(small, 0.5 - square / 24, (1 - jnp.cos(angle)) / angle**2)
        across = jnp.cross(vector[None], x)
        return x + first * across + second * jnp.cross(vector[None], across)

    return Transform(FromUniform(3, read), apply, {"rotation": np.zeros(3, np.float32)})


def rotate_cloud(max_angle: float = pi) -> Transform:
    """`rotate3d` for padded clouds [P, 4] (x, y, z, mask): the mask stays, and padding stays 0.

    Raises:
      ValueError: if `max_angle` is not in [0, π], or (when applied) for other than [P, 4].
    """
    turn = rotate3d(max_angle)

    def apply(params: Params, x: Float[Array, "p 4"]) -> Float[Array, "p 4"]:
        if x.ndim != 2 or x.shape[1] != 4:
            raise ValueError(
                f"The recipe rotation3d turns point clouds [P, 4] (x, y, z, mask), found shape "
                f"{x.shape}: choose another config.recipe.name for images."
            )
        return jnp.concatenate([turn.apply(params, x[:, :3]), x[:, 3:]], axis=1)

    return Transform(turn.sample, apply, turn.identity)
