"""Twelve classes of objects made of up to six boxes, ellipsoids and frusta, of random proportions.

Each function takes `r(low, high)`, which draws a number for each of n objects, and gives primitives
(kind, centre, half sizes, rotation vector, taper) in any unit and place: `objects` brings them to
one size around the origin. Up is z, the front −y.
"""

from collections.abc import Callable, Sequence
from math import pi
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from eqssl_jax import scene as layout

Draw = Callable[[float, float], Any]
NUMBERS = 24  # of each object: proportions, then albedos
BOX, BALL, TUBE = 0, 1, 2


class Part(NamedTuple):
    """A primitive of n objects; every number may be an array [n]."""

    kind: int
    centre: Sequence[Any]
    half: Sequence[Any]
    turn: Sequence[Any] = (0, 0, 0)
    taper: Any = 1.0


def _chair(r: Draw) -> list[Part]:
    wide, deep, leg = r(0.35, 0.5), r(0.35, 0.5), r(0.4, 0.65)
    thick, back = r(0.04, 0.07), r(0.4, 0.75)
    rail = [
        Part(BOX, (side * (wide - thick), 0, -leg), (thick, deep, leg)) for side in (-1, 1)
    ]  # legs as two panels
    return [
        Part(BOX, (0, 0, 0), (wide, deep, thick)),
        Part(BOX, (0, deep - thick, back), (wide, thick, back)),
        *rail,
    ]


def _mug(r: Draw) -> list[Part]:
    wide, tall, ring, taper = r(0.35, 0.5), r(0.4, 0.65), r(0.12, 0.2), r(0.9, 1.25)
    arm, out = 0.07, wide + ring
    return [
        Part(TUBE, (0, 0, 0), (wide, wide, tall), taper=taper),
        Part(BOX, (out, 0, 0.45 * tall), (ring, arm, arm)),
        Part(BOX, (out, 0, -0.45 * tall), (ring, arm, arm)),
        Part(BOX, (out + ring, 0, 0), (arm, arm, 0.45 * tall + arm)),
    ]


def _car(r: Draw) -> list[Part]:
    long, wide, tall = r(0.8, 1.0), r(0.35, 0.45), r(0.14, 0.22)
    cabin, wheel = r(0.16, 0.26), r(0.16, 0.22)
    axle = (0, pi / 2, 0)
    return [
        Part(BOX, (0, 0, 0), (long, wide, tall)),
        Part(
            TUBE,
            (r(-0.15, 0.2), 0, tall + cabin),
            (0.6 * long, 0.85 * wide, cabin),
            taper=r(0.6, 0.9),
        ),
        *(
            Part(TUBE, (end * 0.6 * long, 0, -tall), (wheel, wheel, wide + 0.06), (pi / 2, 0, 0))
            for end in (-1, 1)
        ),
        Part(BALL, (-long, 0, 0), (0.08, 0.8 * wide, 0.08), axle),
    ]


def _plane(r: Draw) -> list[Part]:
    long, body, span = r(0.85, 1.0), r(0.12, 0.18), r(0.75, 1.0)
    chord, tail = r(0.15, 0.25), r(0.25, 0.4)
    place, sweep = r(-0.15, 0.1), r(0.0, 0.3)
    return [
        Part(BALL, (0, 0, 0), (long, body, body)),
        Part(BOX, (place, 0.5 * span, 0), (chord, 0.5 * span, 0.035), (0, 0, sweep)),
        Part(BOX, (place, -0.5 * span, 0), (chord, 0.5 * span, 0.035), (0, 0, -sweep)),
        Part(BOX, (0.85 * long, 0, 0.05), (0.12, tail, 0.03)),
        Part(BOX, (0.85 * long, 0, 0.5 * tail), (0.12, 0.03, 0.5 * tail)),
    ]


def _lamp(r: Draw) -> list[Part]:
    tall, shade, base, drop = r(0.6, 0.8), r(0.35, 0.5), r(0.25, 0.4), r(0.2, 0.3)
    return [
        Part(TUBE, (0, 0, -tall), (base, base, 0.06)),
        Part(TUBE, (0, 0, 0), (0.05, 0.05, tall)),
        Part(TUBE, (0, 0, tall), (shade, shade, drop), taper=r(0.35, 0.7)),
    ]


def _hammer(r: Draw) -> list[Part]:
    long, head, thick = r(0.7, 0.95), r(0.3, 0.45), r(0.12, 0.18)
    return [
        Part(TUBE, (0, 0, -0.3), (0.08, 0.08, long)),
        Part(BOX, (0.2 * head, 0, long - 0.3), (head, thick, thick)),
        Part(TUBE, (1.2 * head, 0, long - 0.3), (1.25 * thick, 1.25 * thick, 0.08), (0, pi / 2, 0)),
        Part(BOX, (-1.0 * head, 0, long - 0.3), (0.25, 0.8 * thick, 0.04), (0, -0.3, 0)),
    ]


def _drill(r: Draw) -> list[Part]:
    long, body, grip, bit = r(0.45, 0.6), r(0.18, 0.25), r(0.4, 0.55), r(0.2, 0.35)
    lean = r(0.0, 0.3)
    return [
        Part(TUBE, (0, 0, 0.3), (body, body, long), (0, pi / 2, 0)),
        Part(TUBE, (long + 0.1, 0, 0.3), (0.6 * body, 0.6 * body, 0.12), (0, pi / 2, 0), 0.6),
        Part(TUBE, (long + 0.2 + bit, 0, 0.3), (0.035, 0.035, bit), (0, pi / 2, 0)),
        Part(BOX, (-0.5 * long, 0, 0.3 - grip), (0.12, 0.1, grip), (0, lean, 0)),
        Part(BOX, (-0.5 * long - lean * grip, 0, 0.3 - 2 * grip), (0.28, 0.18, 0.12)),
    ]


def _dog(r: Draw) -> list[Part]:
    long, body, leg, head = r(0.45, 0.6), r(0.18, 0.25), r(0.22, 0.4), r(0.17, 0.24)
    return [
        Part(BALL, (0, 0, 0), (long, body, body)),
        Part(BALL, (-long, 0, 0.3), (head, 0.9 * head, head)),
        Part(BOX, (-long - head, 0, 0.25), (0.14, 0.08, 0.07)),
        *(Part(BOX, (end * 0.6 * long, 0, -leg), (0.06, body, leg)) for end in (-1, 1)),
        Part(TUBE, (long + 0.1, 0, 0.2), (0.05, 0.05, r(0.2, 0.35)), (0, 0.6, 0)),
    ]


def _boat(r: Draw) -> list[Part]:
    long, wide, mast, cabin = r(0.7, 0.95), r(0.25, 0.35), r(0.4, 0.65), r(0.2, 0.3)
    return [
        Part(TUBE, (0, 0, 0), (0.8 * long, 0.8 * wide, 0.16), taper=r(1.15, 1.4)),
        Part(BOX, (0.35 * long, 0, 0.3), (cabin, 0.6 * wide, 0.16)),
        Part(BOX, (-0.1, 0, mast), (0.035, 0.035, mast)),
        Part(BOX, (-0.1 - 0.5 * cabin, 0, 1.1 * mast), (1.1 * cabin, 0.02, 0.6 * mast)),
    ]


def _teapot(r: Draw) -> list[Part]:
    wide, tall, spout = r(0.45, 0.55), r(0.35, 0.48), r(0.25, 0.38)
    return [
        Part(BALL, (0, 0, 0), (wide, wide, tall)),
        Part(TUBE, (-wide - 0.5 * spout, 0, 0.1), (0.12, 0.12, spout), (0, -0.9, 0), 0.5),
        Part(BALL, (0, 0, tall + 0.05), (0.1, 0.1, 0.1)),
        Part(BOX, (wide + 0.12, 0, 0.2), (0.16, 0.05, 0.05)),
        Part(BOX, (wide + 0.12, 0, -0.2), (0.16, 0.05, 0.05)),
        Part(BOX, (wide + 0.26, 0, 0), (0.05, 0.05, 0.25)),
    ]


def _house(r: Draw) -> list[Part]:
    wide, deep, tall, roof = r(0.45, 0.65), r(0.4, 0.55), r(0.3, 0.5), r(0.3, 0.5)
    lean, slope = r(0.5, 0.7), 0.75 * wide
    return [
        Part(BOX, (0, 0, 0), (wide, deep, tall)),
        *(
            Part(BOX, (side * 0.5 * wide, 0, tall + 0.5 * slope), (slope, 1.1 * deep, 0.05),
                 (0, side * lean, 0))
            for side in (-1, 1)
        ),
        Part(BOX, (0.5 * wide, 0.4 * deep, tall + roof), (0.08, 0.08, roof)),
        Part(BOX, (0, -deep, -0.5 * tall), (0.12, 0.04, 0.5 * tall)),
    ]  # fmt: skip


def _camera(r: Draw) -> list[Part]:
    wide, tall, deep = r(0.5, 0.65), r(0.3, 0.42), r(0.16, 0.24)
    lens, tube = r(0.2, 0.28), r(0.15, 0.35)
    return [
        Part(BOX, (0, 0, 0), (wide, deep, tall)),
        Part(TUBE, (0, -deep - tube, 0), (lens, lens, tube), (pi / 2, 0, 0), r(1.0, 1.25)),
        Part(BOX, (0, 0, tall + 0.1), (0.16, 0.12, 0.1)),
        Part(TUBE, (0.7 * wide, 0, tall + 0.05), (0.08, 0.08, 0.05)),
    ]


CLASSES: dict[str, Callable[[Draw], list[Part]]] = {
    "chair": _chair, "mug": _mug, "car": _car, "plane": _plane, "lamp": _lamp, "hammer": _hammer,
    "drill": _drill, "dog": _dog, "boat": _boat, "teapot": _teapot, "house": _house,
    "camera": _camera,
}  # fmt: skip


def objects(
    unit: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], radius: float
) -> Float[np.ndarray, "n 72"]:
    """The primitives of n objects from `NUMBERS` uniform numbers in [0, 1) each.

    Every object is centred at the middle of its parts' ends and scaled so that none of its corners
    is further than `radius` from there. The albedos, [.45, 1) each, do not depend on the class.
    """
    count = len(unit)
    primitives = np.zeros((count, layout.PRIMITIVES, layout.NUMBERS), np.float64)
    primitives[..., layout.HALF] = 1.0  # of primitives that are not there
    for label, build in enumerate(CLASSES.values()):
        rows = np.flatnonzero(labels == label)
        if len(rows):
            primitives[rows] = _built(build, unit[rows])
    corners = _corners(primitives)  # [n, 6, 8, 3]
    low = np.where(np.isnan(corners), np.inf, corners).min(axis=(1, 2))
    high = np.where(np.isnan(corners), -np.inf, corners).max(axis=(1, 2))
    middle = (low + high) / 2
    far = np.sqrt(np.nanmax(np.sum((corners - middle[:, None, None]) ** 2, axis=-1), axis=(1, 2)))
    scale = (radius / far)[:, None, None]
    primitives[..., layout.CENTRE] = (primitives[..., layout.CENTRE] - middle[:, None]) * scale
    primitives[..., layout.HALF] *= scale
    return primitives.reshape(count, -1).astype(np.float32)


def _built(build: Callable[[Draw], list[Part]], unit: np.ndarray) -> np.ndarray:
    used = iter(range(NUMBERS - layout.PRIMITIVES))

    def draw(low: float, high: float) -> np.ndarray:
        return np.asarray(low + (high - low) * unit[:, next(used)])

    parts = build(draw)
    built = np.zeros((len(unit), layout.PRIMITIVES, layout.NUMBERS), np.float64)
    built[..., layout.HALF] = 1.0
    for i, part in enumerate(parts):
        built[:, i, layout.KIND], built[:, i, layout.TAPER] = part.kind, part.taper
        for where, values in (
            (layout.CENTRE, part.centre), (layout.HALF, part.half), (layout.TURN, part.turn),
        ):  # fmt: skip
            built[:, i, where] = np.stack(np.broadcast_arrays(*values, unit[:, 0])[:3], axis=-1)
        built[:, i, layout.ALBEDO] = 0.45 + 0.55 * unit[:, NUMBERS - layout.PRIMITIVES + i]
    return built


def _corners(parts: np.ndarray) -> np.ndarray:
    """Corners of every primitive's box, NaN where there is none, [n, 6, 8, 3]."""
    from scipy.spatial.transform import Rotation

    signs = np.stack(np.meshgrid(*[(-1, 1)] * 3, indexing="ij"), axis=-1).reshape(8, 3)
    # The upper end of a frustum may be the wider one.
    wide = np.maximum(parts[..., layout.TAPER], 1.0)[..., None] ** np.array([1, 1, 0])
    half = parts[..., layout.HALF] * wide
    turn = Rotation.from_rotvec(parts[..., layout.TURN].reshape(-1, 3)).as_matrix()
    turn = turn.reshape(*parts.shape[:2], 3, 3)
    local = half[..., None, :] * signs  # [n, 6, 8, 3]
    corners = parts[..., None, layout.CENTRE] + np.einsum("npij,npkj->npki", turn, local)
    return np.where((parts[..., layout.ALBEDO] > 0)[..., None, None], corners, np.nan)
