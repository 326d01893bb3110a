"""What the arguments of transformations may be, and what kind of image they take."""

from math import pi

from jaxtyping import Array

from eqssl_jax.settings import also, number, numbers, where, whole

SIDE = whole(32, "side of a view in pixels", low=1, high=4096)
PROBABILITY = number(0.5, "of being applied", low=0, high=1)
SCALE = numbers(
    (0.08, 1.0), "area of a crop, of the image's", above=0, high=1, least=2, most=2, ordered=True
)
RATIO = numbers(
    (3 / 4, 4 / 3), "width / height of a crop", low=0.01, high=100, least=2, most=2, ordered=True
)
STRENGTH = number(0.4, "of a change of brightness, contrast or saturation", low=0, high=100)
HUE = number(0.1, "largest shift of the hue in turns", low=0, high=0.5)
JITTER = where(
    numbers((0.4, 0.4, 0.4, 0.1), "strengths", low=0, high=100, least=4, most=4),
    lambda strengths: strengths[3] <= 0.5,
    "four strengths from 0 to 100 (brightness, contrast, saturation, hue), the hue at most 0.5 "
    "turns",
)
ANGLE = number(pi, "largest angle in radians", low=0, high=pi)
FILL = also(
    number(0.0, "where nothing was", low=0, high=1), "reflect", "the image mirrored at its border"
)
KERNEL = where(
    whole(3, "side of the blur's kernel in pixels", low=1, high=1023),
    lambda size: size % 2 == 1,
    "an odd whole number from 1 to 1,023",
)
SIGMA = numbers(
    (0.1, 2.0), "of a blur in pixels", low=1e-3, high=1000, least=2, most=2, ordered=True
)
THRESHOLDS = numbers((0.0, 1.0), "of an inversion", low=0, high=1, least=2, most=2, ordered=True)


def rgb(name: str, x: Array) -> None:
    """Nothing, if `x` is one image with three channels.

    Raises:
      ValueError: otherwise.
    """
    if x.ndim != 3 or x.shape[-1] != 3:
        raise ValueError(
            f"{name} takes one RGB image [height, width, 3], found shape {x.shape}: repeat a gray "
            f"channel three times, and use jax.vmap for a batch."
        )


def image(name: str, x: Array) -> None:
    """Nothing, if `x` is one image [height, width, channels].

    Raises:
      ValueError: otherwise.
    """
    if x.ndim != 3:
        raise ValueError(
            f"{name} takes one image [height, width, channels], found shape {x.shape}: "
            f"use jax.vmap for a batch."
        )
