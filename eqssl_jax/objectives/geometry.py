"""Where embeddings live, and how near two of them are: the sphere and the hyperboloid."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.objectives.base import unit

HIGHEST = jax.lax.Precision.HIGHEST  # Gram matrices in true float32, also on TPU and with TF32
_COINCIDENT = 1e-6  # of cosh(distance) − 1: below it, rounding decides, and the distance is 0


class Similarity(NamedTuple):
    """How near points are, higher being nearer, before the temperature; symmetric, float32.

    Attributes:
      pairs: of row i of both, ([N, d], [N, d]) → [N].
      matrix: of every two rows, ([N, d], [M, d]) → [N, M].
    """

    pairs: Callable[[Float[Array, "n d"], Float[Array, "n d"]], Float[Array, " n"]]
    matrix: Callable[[Float[Array, "n d"], Float[Array, "m d"]], Float[Array, "n m"]]


def _dot_pairs(z1: Float[Array, "n d"], z2: Float[Array, "n d"]) -> Float[Array, " n"]:
    return jnp.sum(z1.astype(jnp.float32) * z2.astype(jnp.float32), axis=1)


def _dot_matrix(z1: Float[Array, "n d"], z2: Float[Array, "m d"]) -> Float[Array, "n m"]:
    return jnp.matmul(z1.astype(jnp.float32), z2.astype(jnp.float32).T, precision=HIGHEST)


inner_product = Similarity(_dot_pairs, _dot_matrix)
"""zᵀw: the cosine, for unit embeddings."""


def hyperboloid(v: Float[Array, "*batch k"]) -> Float[Array, "*batch k+1"]:
    """Lift R^k onto the upper sheet of the hyperboloid, z = (√(1 + ‖v‖²), v), in float32.

    With B the Minkowski form, zᵀ B z = −1: the points are those of the hyperbolic space of
    dimension k, at distance arsinh ‖v‖ from the origin (1, 0, …, 0). The lift is one to one and
    onto, so a Lorentz map that keeps the sheet carries lifts to lifts. The exponential map at the
    origin reaches the same points, but by cosh and sinh of ‖v‖: beyond ‖v‖ ≈ 44 the squares of its
    coordinates overflow float32. Here those of any v below 10¹⁹ do not, and no derivative exceeds
    1.

    Source: Nickel and Kiela 2018, arXiv:1806.03417, for the model.

    >>> import jax.numpy as jnp
    >>> hyperboloid(jnp.array([[0.0, 0.0], [2.0, 2.0]])).tolist()
    [[1.0, 0.0, 0.0], [3.0, 2.0, 2.0]]
    """
    v = v.astype(jnp.float32)
    time = jnp.sqrt(1 + jnp.sum(v * v, axis=-1, keepdims=True))
    return jnp.concatenate([time, v], axis=-1)


def _lowered(z: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """B z of the Minkowski form."""
    z = z.astype(jnp.float32)
    return jnp.concatenate([-z[:, :1], z[:, 1:]], axis=1)


def _minus_arcosh(product: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """−arcosh(−product), written as −2 arsinh √(u/2) with u = −product − 1.

    The arsinh is exact at u ≪ 1; u itself is a difference: in float32 small distances at a radius
    of r lose about cosh² r of their precision, which matters from r ≈ 8 on.
    """
    u = -product - 1
    apart = u > _COINCIDENT
    # Twice where: the derivative of the root at 0 is infinite, and 0 · ∞ would be NaN.
    root = jnp.sqrt(jnp.where(apart, u, 1.0) / 2)
    return jnp.where(apart, -2 * jnp.arcsinh(root), 0.0)


hyperbolic = Similarity(
    lambda z1, z2: _minus_arcosh(_dot_pairs(_lowered(z1), z2)),
    lambda z1, z2: _minus_arcosh(_dot_matrix(_lowered(z1), z2)),
)
"""−arcosh(−zᵀ B w), minus the hyperbolic distance of two points of the hyperboloid.

Value and gradient are 0 where cosh(distance) is below 1 + 1e-6, coincident points among them. The
hyperboloid has no edge: where positives coincide, InfoNCE drives all points apart without end, as a
lower temperature would on the sphere; weight decay, and a Gram match whose entries grow like
cosh(distance), hold them back.
"""


class Geometry(NamedTuple):
    """A place for embeddings.

    Attributes:
      place: projector outputs [..., D] to points [..., d].
      similarity: what a contrastive loss compares.
      forms: names of the forms for which zᵀ B z is the same at all points, so that a Gram match
        may leave its diagonal out.
    """

    place: Callable[[Float[Array, "*batch k"]], Float[Array, "*batch d"]]
    similarity: Similarity
    forms: tuple[str, ...]


def _scaled_hyperboloid(z: Float[Array, "*batch k"]) -> Float[Array, "*batch k+1"]:
    """Projector outputs of variance 1 come to about arsinh 1 from the origin, whatever the width.

    Unscaled they would start at √D, where entries of the Gram matrix are of the size of D. Desai
    et al. 2023 (arXiv:2304.09172) start from the same scale, and learn it.
    """
    return hyperboloid(z * z.shape[-1] ** -0.5)


GEOMETRIES: Mapping[str, Geometry] = {
    "sphere": Geometry(unit, inner_product, ("euclidean", "symplectic")),
    "hyperboloid": Geometry(_scaled_hyperboloid, hyperbolic, ("minkowski",)),
}
