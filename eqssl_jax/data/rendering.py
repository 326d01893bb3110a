"""Scenes as images: rays against convex primitives, one light with its shadow, antialiased.

Box, ellipsoid and frustum are one thing to a ray: the points within a slab in each coordinate and
on one side of a quadric, and a ray is inside of each for an interval in closed form. No gradient is
finite everywhere (an edge has none), and none is taken: scenes are data.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eqssl_jax import scene as layout
from eqssl_jax.rotations import matrix_from_quaternion, quaternion_from_vector

DISTANCE, ELEVATION, HALF_WIDTH = 2.5, math.pi / 4, 0.28  # camera; tangent of half its angle
RADIUS = 0.62  # no object is larger; the floor lies so far below its middle
_CHUNK = 8  # images rendered at a time: what a ray remembers then stays in the cache
_FAR, _NEAR = 1e9, 1e-4
_AMBIENT, _DIFFUSE = 0.35, 0.8
_FLOOR_COLOUR, _LIGHT_COLOUR = (0.6, 0.6), (0.6, 1.0)  # saturation, value


class _Solid(NamedTuple):
    """Primitives of n scenes, each number [n, 6]; [n, 1] of one of them, [n, rays] of each ray's.

    x ↦ Mx + b brings the world to the frame of the primitive. It is where every coordinate lies
    within its slab and x² + y² + q₀ z² + q₁ z + q₂ ≤ 0.
    """

    m: tuple[tuple[Array, ...], ...]  # rows
    b: tuple[Array, ...]
    slabs: tuple[Array, ...]  # half widths
    quadric: tuple[Array, ...]
    albedo: Array


def render(scenes: Float[Array, "n s"], *, size: int) -> Float[Array, "n size size 3"]:
    """Images of scenes at `size` × `size` pixels in [0, 1], the mean of 2 × 2 rays a pixel.

    Values are rounded to 8 bits, as stored images are.
    """
    if scenes.shape[0] <= _CHUNK:
        return _rendered(scenes, size)
    whole = scenes.shape[0] // _CHUNK * _CHUNK
    chunks = scenes[:whole].reshape(-1, _CHUNK, scenes.shape[1])
    images = jax.lax.map(lambda part: _rendered(part, size), chunks).reshape(-1, size, size, 3)
    remainder = [_rendered(scenes[whole:], size)] if whole < scenes.shape[0] else []
    return jnp.concatenate([images, *remainder])


@functools.cache
def renderer(size: int) -> Callable[[Float[Array, "n s"]], Float[Array, "n size size 3"]]:
    """`render` at one size, the same function object every time."""
    return functools.partial(render, size=size)


def _rendered(scenes: Array, size: int) -> Array:
    solids = _solids(scenes)
    eye, directions = _camera(2 * size)  # [3], [3, rays]
    light = _towards_light(scenes)  # three times [n, 1]
    primitives = jax.tree.map(lambda leaf: leaf.T[:, :, None], solids)  # [6, n, 1]

    def entered(_: None, solid: _Solid) -> tuple[None, Array]:
        enter, leave = _interval(solid, *_from_eye(solid, eye, directions))
        hit = (enter < leave) & (enter > _NEAR) & (solid.albedo > 0)
        return None, jnp.where(hit, enter, _FAR)

    # Depths alone: each further result of the loop would work out the intervals again.
    depths = jax.lax.scan(entered, None, primitives)[1]  # [6, n, rays]
    floor = jnp.asarray((-RADIUS - eye[2]) / directions[2])[None]
    depth = jnp.minimum(jnp.min(depths, axis=0), floor)
    nearest = jax.tree.map(lambda leaf: _of_nearest(leaf, depths, depth), primitives)
    normal = _normal(nearest, *_from_eye(nearest, eye, directions), depth)
    on_floor = depth >= floor
    up = (0.0, 0.0, 1.0)
    normal = [jnp.where(on_floor, u, part) for u, part in zip(up, normal, strict=True)]
    over = jax.lax.rsqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    normal = [part * over for part in normal]
    place = [eye[k] + depth * directions[k][None] + 1e-3 * normal[k] for k in range(3)]

    def shaded(dark: Array, solid: _Solid) -> tuple[Array, None]:
        o, d = _moved(solid, place), _turned(solid, light)
        enter, leave = _interval(solid, o, d)
        return dark | ((enter < leave) & (leave > _NEAR) & (solid.albedo > 0)), None

    dark = jax.lax.scan(shaded, jnp.zeros(depth.shape, bool), primitives)[0]
    facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
    lit = jnp.where(dark, 0.0, _DIFFUSE * jnp.maximum(facing, 0.0))
    return _picture(scenes, jnp.where(on_floor, -1.0, nearest.albedo), lit, size)


def _picture(scenes: Array, albedo: Array, lit: Array, size: int) -> Array:
    """Colours of all rays (albedo −1: the floor), averaged over pixels, turned and rounded."""
    floor = _colour(scenes[:, layout.FLOOR], *_FLOOR_COLOUR)
    lamp = _colour(scenes[:, layout.LIGHT], *_LIGHT_COLOUR)
    channels = []
    for under, light in zip(floor, lamp, strict=True):  # [n, 1] each
        colour = jnp.where(albedo < 0, under, albedo) * (_AMBIENT + lit * light)
        channels.append(colour.reshape(-1, size, 2, size, 2).mean(axis=(2, 4)))
    images = jnp.round(jnp.clip(jnp.stack(channels, axis=-1), 0, 1) * 255) / 255
    quarters = scenes[:, layout.QUARTERS, None, None, None]
    images = jnp.where(quarters >= 2, images[:, ::-1, ::-1], images)
    return jnp.where(quarters % 2 == 1, jnp.rot90(images, axes=(1, 2)), images)


def _solids(scenes: Array) -> _Solid:
    parts = scenes[:, : layout.PRIMITIVES * layout.NUMBERS]
    parts = parts.reshape(-1, layout.PRIMITIVES, layout.NUMBERS)
    turn = matrix_from_quaternion(quaternion_from_vector(parts[..., layout.TURN]))
    pose = matrix_from_quaternion(scenes[:, layout.POSE])[:, None]  # [n, 1, 3, 3]
    half, centre = parts[..., layout.HALF], parts[..., layout.CENTRE]
    # diag(1 / half) Pᵀ (Rᵀ x − c)
    inner = jnp.swapaxes(turn, -1, -2) / half[..., None]
    m = jnp.sum(inner[..., None] * jnp.swapaxes(pose, -1, -2)[..., None, :, :], axis=-2)
    b = -jnp.sum(inner * centre[..., None, :], axis=-1)
    kind, taper = parts[..., layout.KIND], parts[..., layout.TAPER]
    box, curved = kind < 0.5, kind < 1.5
    middle, slope = (taper + 1) / 2, (taper - 1) / 2  # radius of a frustum at height z
    wide = jnp.where(box, 1.0, 2.0)  # 2: further out than the quadric
    return _Solid(
        tuple(tuple(m[..., j, k] for k in range(3)) for j in range(3)),
        tuple(b[..., k] for k in range(3)),
        (wide, wide, jnp.where(curved & ~box, 2.0, 1.0)),
        (
            jnp.where(curved, 1.0, -(slope**2)),
            jnp.where(curved, 0.0, -2 * middle * slope),
            jnp.where(box, -4.0, jnp.where(curved, -1.0, -(middle**2))),
        ),
        parts[..., layout.ALBEDO],
    )


def _turned(solid: _Solid, v: Sequence[Array]) -> list[Array]:
    return [row[0] * v[0] + row[1] * v[1] + row[2] * v[2] for row in solid.m]


def _moved(solid: _Solid, x: Sequence[Array]) -> list[Array]:
    return [part + b for part, b in zip(_turned(solid, x), solid.b, strict=True)]


def _from_eye(
    solid: _Solid, eye: np.ndarray, directions: np.ndarray
) -> tuple[list[Array], list[Array]]:
    """Rays of the camera in the frame of a primitive: where they start, and their directions."""
    return _moved(solid, [jnp.asarray(part) for part in eye]), _turned(
        solid, [jnp.asarray(part)[None] for part in directions]
    )


def _of_nearest(leaf: Array, depths: Array, depth: Array) -> Array:
    """A number of the primitive that each ray meets first: [6, n, 1] to [n, rays]."""
    nearest = jnp.broadcast_to(leaf[0], depth.shape)
    for i in range(1, layout.PRIMITIVES):
        nearest = jnp.where(depths[i] <= depth, leaf[i], nearest)
    return nearest


def _interval(solid: _Solid, o: list[Array], d: list[Array]) -> tuple[Array, Array]:
    """Where rays o + t d enter and leave a primitive."""
    d = [jnp.where(jnp.abs(part) < 1e-7, 1e-7, part) for part in d]
    near, far = [], []
    for k in range(3):
        inverse = 1 / d[k]
        middle, reach = -o[k] * inverse, solid.slabs[k] * jnp.abs(inverse)
        near.append(middle - reach)
        far.append(middle + reach)
    q0, q1, q2 = solid.quadric
    a = d[0] ** 2 + d[1] ** 2 + q0 * d[2] ** 2
    a = jnp.where(jnp.abs(a) < 1e-9, 1e-9, a)
    b = o[0] * d[0] + o[1] * d[1] + (q0 * o[2] + q1 / 2) * d[2]
    c = o[0] ** 2 + o[1] ** 2 + (q0 * o[2] + q1) * o[2] + q2
    square = b * b - a * c
    root, over = jnp.sqrt(jnp.maximum(square, 0.0)), 1 / a
    first, second = (-b - root) * over, (-b + root) * over
    # a < 0: steeper than the cone, inside of which lie two half-lines; the other one is of the
    # cone's mirror image beyond its apex. q1 has the sign of −slope.
    upper = q1 * d[2] < 0
    low = jnp.where((a > 0) | upper, first, -_FAR)
    high = jnp.where((a < 0) & upper, _FAR, second)
    low = jnp.where(square < 0, _FAR, low)
    enter = jnp.maximum(jnp.maximum(near[0], near[1]), jnp.maximum(near[2], low))
    leave = jnp.minimum(jnp.minimum(far[0], far[1]), jnp.minimum(far[2], high))
    return enter, leave


def _normal(solid: _Solid, o: list[Array], d: list[Array], depth: Array) -> list[Array]:
    """Outward normal at a ray's depth, in the world's frame, of any length.

    The face that the point is nearest to, measured by each constraint's own value.
    """
    at = [o[k] + depth * d[k] for k in range(3)]
    q0, q1, q2 = solid.quadric
    curved = [at[0], at[1], q0 * at[2] + q1 / 2]
    off = jnp.abs(at[0] ** 2 + at[1] ** 2 + (q0 * at[2] + q1) * at[2] + q2) / 2
    gaps = [jnp.abs(jnp.abs(at[k]) - solid.slabs[k]) for k in range(3)]
    least = jnp.minimum(jnp.minimum(gaps[0], gaps[1]), gaps[2])
    face = [
        jnp.where(off < least, curved[k], jnp.where(gaps[k] <= least, jnp.sign(at[k]), 0.0))
        for k in range(3)
    ]
    return [
        solid.m[0][k] * face[0] + solid.m[1][k] * face[1] + solid.m[2][k] * face[2]
        for k in range(3)
    ]


@functools.cache
def _camera(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Where it stands [3] and the directions of side² rays [3, rays], from the top left corner."""
    back = np.array([0.0, -math.cos(ELEVATION), math.sin(ELEVATION)])
    right, up = np.array([1.0, 0.0, 0.0]), np.array([0.0, math.sin(ELEVATION), math.cos(ELEVATION)])
    along = (np.arange(side) + 0.5) / side * 2 - 1
    rows, columns = np.meshgrid(-along, along, indexing="ij")
    rays = -back[:, None] + HALF_WIDTH * (
        right[:, None] * columns.reshape(1, -1) + up[:, None] * rows.reshape(1, -1)
    )
    return (DISTANCE * back).astype(np.float32), rays.astype(np.float32)


def _towards_light(scenes: Array) -> list[Array]:
    height, side = scenes[:, layout.HEIGHT, None], scenes[:, layout.SIDE, None]
    flat = jnp.sin(height)
    return [flat * jnp.cos(side), flat * jnp.sin(side), jnp.cos(height)]


def _colour(hue: Array, saturation: float, value: float) -> list[Array]:
    """HSV to RGB, three times [n, 1]; hue in turns."""
    ramps = (jnp.clip(jnp.abs((6 * hue + shift) % 6.0 - 3) - 1, 0, 1) for shift in (0.0, 4.0, 2.0))
    return [(value * (1 - saturation + saturation * ramp))[:, None] for ramp in ramps]
