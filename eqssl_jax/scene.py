"""How a rendered object lies in an array: a *scene*, float32 [81].

An object is six primitives of twelve numbers each; behind them come what transformations act on and
how the scene is lit. A scene is an example as an image is: it is stored, drawn in batches and
transformed, and only what looks at it (a network, a figure) has it rendered, by `Dataset.show`.
"""

from collections.abc import Mapping

PRIMITIVES, NUMBERS = 6, 12
# Of a primitive: kind (0 box, 1 ellipsoid, 2 frustum), centre, half sizes, rotation vector, taper
# (radius at the upper end relative to the lower one), albedo (0: there is no such primitive).
KIND, CENTRE, HALF, TURN, TAPER, ALBEDO = 0, slice(1, 4), slice(4, 7), slice(7, 10), 10, 11
_OBJECT = PRIMITIVES * NUMBERS
POSE = slice(_OBJECT, _OBJECT + 4)  # unit quaternion (x, y, z, w)
FLOOR, LIGHT = _OBJECT + 4, _OBJECT + 5  # hues in turns, [0, 1)
HEIGHT, SIDE = _OBJECT + 6, _OBJECT + 7  # of the light: angle from the zenith, azimuth, radians
QUARTERS = _OBJECT + 8  # quarter turns of the image, counter-clockwise, 0 … 3
SIZE = _OBJECT + 9
HUES: Mapping[str, int] = {"floor": FLOOR, "light": LIGHT}


def is_scene(shape: tuple[int, ...]) -> bool:
    """Whether an example of this shape is a scene.

    >>> is_scene((81,)), is_scene((32, 32, 3))
    (True, False)
    """
    return tuple(shape) == (SIZE,)
