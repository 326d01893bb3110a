"""Outlines of the ten shapes, as polygons; and what the class of a shape is."""

import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.data.base import Split

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


BINS = 6
# Ranges of the factors in training; see the table of `shapes`.
_STOPS = {"hue": 0.75, "angle": 1.5 * math.pi}


def kinds(task: str, outlines: int | None) -> int:
    """How many outlines are drawn.

    Raises:
      ValueError: for an unknown task, more outlines than there are, or one to be told from none.
    """
    if task not in ("outline", *_STOPS):
        raise ValueError(f'The task of shapes is "outline", "hue" or "angle", found {task!r}.')
    if outlines is None:
        return len(CLASSES)
    least = 2 if task == "outline" else 1
    if type(outlines) is not int or outlines not in range(least, len(CLASSES) + 1):
        raise ValueError(
            f"shapes with task={task!r} draws {least} to {len(CLASSES)} outlines (or None: all), "
            f"found outlines={outlines!r}."
        )
    return outlines


def labelled(
    splits: Mapping[str, Split], task: str, kinds: int
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """The splits with the labels of a task, and the names of its classes.

    | task      | label                                                    | classes |
    |-----------|----------------------------------------------------------|---------|
    | "outline" | which outline                                            | kinds   |
    | "hue"     | ⌊hue / 0.125⌋: sixths of [0, 0.75) turns                 | 6       |
    | "angle"   | ⌊angle / (π/4)⌋: sixths of [0, 3π/2) rad                 | 6       |

    So the same images can be classified by what a colour jitter changes, by what a rotation
    changes, or by neither. The hue and angle of an "out_of_range" image lie in no class: with these
    tasks that split has no labels (None), only its factors. An angle is well defined for all ten
    outlines, as none looks the same after less than a full turn; but each outline's zero is its
    own, so one or two outlines make "angle" easier to learn.
    """
    if task == "outline":
        return dict(splits), CLASSES[:kinds]
    stop = _STOPS[task]
    factors = {
        name: split._replace(
            labels=None if name == "out_of_range" else bins(split.factors[task], stop)
        )
        for name, split in splits.items()
    }
    if task == "hue":
        return factors, tuple(f"hue {b * stop / BINS:.3f}" for b in range(BINS))
    return factors, tuple(f"{math.degrees(b * stop / BINS):.0f}°" for b in range(BINS))


def bins(values: Float[np.ndarray, " n"], stop: float) -> Int[np.ndarray, " n"]:
    """Which of `BINS` equal parts of [0, stop) each value lies in; `stop` itself is in the last.

    >>> bins(np.array([0.0, 0.2, 0.75]), 0.75).tolist()
    [0, 1, 5]
    """
    # A float32 draw can round up to the end of its range.
    return np.minimum(np.asarray(values, np.float64) * (BINS / stop), BINS - 1).astype(np.int32)
