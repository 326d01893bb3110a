"""Rotations of R³ as unit quaternions (x, y, z, w), rotation vectors and matrices."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Quaternion = Float[Array, "*n 4"]


def quaternion_from_vector(vector: Float[Array, "*n 3"]) -> Quaternion:
    """The unit quaternion of a rotation vector θ·axis (radians), exactly (0, 0, 0, 1) for 0.

    >>> import jax.numpy as jnp
    >>> quaternion_from_vector(jnp.array([0.0, 0.0, jnp.pi])).round(3).tolist()
    [0.0, 0.0, 1.0, -0.0]
    """
    square = jnp.sum(vector**2, axis=-1, keepdims=True)
    small = square < 1e-8
    # The floor is inside the root: the derivative of sqrt at 0 is infinite.
    angle = jnp.sqrt(jnp.where(small, 1.0, square))
    scale = jnp.where(small, 0.5 - square / 48, jnp.sin(angle / 2) / angle)
    cosine = jnp.where(small, 1 - square / 8, jnp.cos(angle / 2))
    return jnp.concatenate([scale * vector, cosine], axis=-1)


def vector_from_quaternion(q: Quaternion) -> Float[Array, "*n 3"]:
    """The rotation vector θ·axis of a unit quaternion, |θ| ≤ π, the same for q and −q.

    >>> import jax.numpy as jnp
    >>> half_turn = jnp.array([0.0, 0.0, 1.0, 0.0])
    >>> [round(x, 3) for x in vector_from_quaternion(half_turn).tolist()]
    [0.0, 0.0, 3.142]
    """
    q = jnp.where(q[..., 3:] < 0, -q, q)
    square = jnp.sum(q[..., :3] ** 2, axis=-1, keepdims=True)
    small = square < 1e-12
    length = jnp.sqrt(jnp.where(small, 1.0, square))
    return q[..., :3] * jnp.where(small, 2.0, 2 * jnp.arctan2(length, q[..., 3:]) / length)


def quaternion_from_euler(angles: Float[Array, "*n 3"]) -> Quaternion:
    """The unit quaternion (x, y, z, w) of turns about the fixed axes x, then y, then z (radians).

    It is the product q_z q_y q_x as multiplied out, R = R_z R_y R_x, so w may be negative.
    3DIEBench stores poses as such angles (Garrido et al. 2023, arXiv:2302.10283).

    >>> import jax.numpy as jnp
    >>> quaternion_from_euler(jnp.array([0.0, 0.0, jnp.pi])).round(3).tolist()
    [0.0, 0.0, 1.0, -0.0]
    """
    half = angles / 2
    sine, cosine, zero = jnp.sin(half), jnp.cos(half), jnp.zeros_like(half[..., 0])
    turns = [
        jnp.stack([sine[..., i] if j == i else zero for j in range(3)] + [cosine[..., i]], axis=-1)
        for i in range(3)
    ]
    return quaternion_product(turns[2], quaternion_product(turns[1], turns[0]))


def quaternion_product(p: Quaternion, q: Quaternion) -> Quaternion:
    """The rotation q followed by p, quaternions (x, y, z, w)."""
    vector, other, w, v = p[..., :3], q[..., :3], p[..., 3:], q[..., 3:]
    scalar = w * v - jnp.sum(vector * other, axis=-1, keepdims=True)
    return jnp.concatenate([w * other + v * vector + jnp.cross(vector, other), scalar], axis=-1)


def relative_quaternion(
    first: Quaternion, second: Quaternion, *, w_positive: bool = True
) -> Quaternion:
    """The rotation R₁⁻¹ R₂ from one pose to another, in the first pose's frame, (x, y, z, w).

    q and −q are one rotation. As multiplied out, the sign depends on how a library inverts: SciPy
    to 1.10 negates w, SciPy from 1.11 (and this function) x, y and z. A predictor that was trained
    with one sign is wrong with the other, so the default is the sign for which w ≥ 0.

    Args:
      first, second: unit quaternions of the poses R₁ and R₂.
      w_positive: False: leave the sign as multiplied out.

    >>> import jax.numpy as jnp
    >>> half_turn = jnp.array([0.0, 0.0, 1.0, 0.0])
    >>> relative_quaternion(half_turn, half_turn).tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    change = quaternion_product(conjugate(first), second)
    return jnp.where(change[..., 3:] < 0, -change, change) if w_positive else change


def matrix_from_quaternion(q: Quaternion) -> Float[Array, "*n 3 3"]:
    """The rotation matrix of a unit quaternion (x, y, z, w), the same for q and −q."""
    x, y, z, w = jnp.moveaxis(q, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def conjugate(q: Quaternion) -> Quaternion:
    """The inverse rotation."""
    return jnp.concatenate([-q[..., :3], q[..., 3:]], axis=-1)


def angle_between(p: Quaternion, q: Quaternion) -> Float[Array, "*n"]:
    """The geodesic distance of two rotations, 2 arccos |⟨p, q⟩|, in radians 0 … π."""
    cosine = jnp.abs(jnp.sum(p * q, axis=-1))
    return 2 * jnp.arccos(jnp.clip(cosine, 0.0, 1.0))
