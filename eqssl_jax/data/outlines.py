"""Outlines of the ten shapes, as polygons, and the signed distance to a polygon."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

CLASSES = (
    "arrow",
    "crescent",
    "dart",
    "drop",
    "ell",
    "fish",
    "flag",
    "heart",
    "pacman",
    "tee",
)
VERTICES = 16  # of every outline; straight ones repeat their last vertex


@functools.cache
def outlines() -> Float[np.ndarray, "classes vertices 2"]:
    """Vertices of all outlines: area centroid at 0, farthest vertex at distance 1, y upwards.

    None of them looks the same after a rotation of less than a full turn.
    """
    polygons = (
        _arrow(), _crescent(), _dart(), _drop(), _ell(),
        _fish(), _flag(), _heart(), _pacman(), _tee(),
    )  # fmt: skip
    return np.stack([_normalised(polygon) for polygon in polygons]).astype(np.float32)


def signed_distance(
    x: Float[Array, " w"], y: Float[Array, " h"], vertices: Float[Array, "v 2"]
) -> Float[Array, "h w"]:
    """Distance of every grid point (x_j, y_i) to a polygon, negative inside.

    d = min over edges of the distance to the segment; the sign follows from how many edges the ray
    from the point towards +x crosses.
    """
    x, y = x[None, :], y[:, None]

    def edge(carry: tuple[Array, Array], ends: Array) -> tuple[tuple[Array, Array], None]:
        square, inside = carry
        (ax, ay), (ex, ey) = ends[0], ends[1] - ends[0]
        wx, wy = x - ax, y - ay
        along = (wx * ex + wy * ey) / jnp.maximum(ex * ex + ey * ey, 1e-9)
        along = jnp.clip(along, 0, 1)
        bx, by = wx - ex * along, wy - ey * along
        spans = (wy >= 0) != (wy >= ey)  # the edge crosses this row
        left = (ex * wy > ey * wx) == (ey > 0)
        return (jnp.minimum(square, bx * bx + by * by), inside ^ (spans & left)), None

    ends = jnp.stack([vertices, jnp.roll(vertices, -1, axis=0)], axis=1)  # [V, 2, 2]
    shape = (y.shape[0], x.shape[1])
    start = (jnp.full(shape, jnp.inf), jnp.zeros(shape, bool))
    (square, inside), _ = jax.lax.scan(edge, start, ends)
    return jnp.where(inside, -1.0, 1.0) * jnp.sqrt(square)


def _normalised(polygon: list[tuple[float, float]]) -> np.ndarray:
    points = np.array(polygon, np.float64)
    following = np.roll(points, -1, axis=0)
    cross = points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]
    centroid = ((points + following) * cross[:, None]).sum(0) / (3 * cross.sum())
    points = points - centroid
    points = points / np.linalg.norm(points, axis=1).max()
    return np.concatenate([points, np.repeat(points[-1:], VERTICES - len(points), axis=0)])


def _arc(start: float, stop: float, count: int, radius: float = 1.0) -> np.ndarray:
    turns = np.linspace(start, stop, count) * 2 * np.pi
    return radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)


def _arrow() -> list[tuple[float, float]]:
    upper = [(1.0, 0.0), (0.1, 0.75), (0.1, 0.28), (-1.0, 0.28)]
    return upper + [(x, -y) for x, y in reversed(upper[1:])]


def _crescent() -> list[tuple[float, float]]:
    outer = _arc(0.12, 0.88, 9)
    inner = _arc(0.80, 0.20, 7, radius=0.78) + np.array([0.42, 0.0])
    return [tuple(point) for point in np.concatenate([outer, inner])]


def _dart() -> list[tuple[float, float]]:
    return [(1.0, 0.0), (-0.8, 0.75), (-0.25, 0.0), (-0.8, -0.75)]


def _drop() -> list[tuple[float, float]]:
    return [(1.35, 0.0), *(tuple(point) for point in _arc(0.17, 0.83, 15, radius=0.75))]


def _ell() -> list[tuple[float, float]]:
    return [(-0.5, 1.0), (-0.5, -0.7), (0.75, -0.7), (0.75, -0.2), (0.0, -0.2), (0.0, 1.0)]


def _fish() -> list[tuple[float, float]]:
    upper = [(1.0, 0.0), (0.75, 0.3), (0.35, 0.45), (-0.1, 0.38), (-0.5, 0.1), (-1.0, 0.55)]
    return [*upper, (-0.8, 0.0), *((x, -y) for x, y in reversed(upper[1:]))]


def _flag() -> list[tuple[float, float]]:
    return [(-0.55, 1.0), (0.9, 0.5), (-0.25, 0.0), (-0.25, -1.0), (-0.55, -1.0)]


def _heart() -> list[tuple[float, float]]:
    upper = [(-0.95, 0.0), (-0.35, 0.6), (0.1, 0.92), (0.5, 0.95), (0.78, 0.72), (0.8, 0.35)]
    return [*upper, (0.45, 0.0), *((x, -y) for x, y in reversed(upper[1:]))]


def _pacman() -> list[tuple[float, float]]:
    return [(0.0, 0.0), *(tuple(point) for point in _arc(0.12, 0.88, 15))]


def _tee() -> list[tuple[float, float]]:
    upper = [(1.0, 0.8), (0.5, 0.8), (0.5, 0.24), (-1.0, 0.24)]
    return upper + [(x, -y) for x, y in reversed(upper)]
