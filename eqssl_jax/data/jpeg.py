"""JPEG images through simplejpeg (libjpeg-turbo), where it is installed: faster than by Pillow.

Both hold the same library, so that their wheels give equal pixels; Pillow copies them once more.
What simplejpeg does not read as Pillow does is left to Pillow, and so are damaged files: what is
said of them is the same.
"""

import functools
from types import ModuleType

import numpy as np
from jaxtyping import UInt8
from PIL import Image

ORIENTATION = 0x0112  # in EXIF; 1 is upright, and from 5 on height and width are exchanged
_DIVISORS = (8, 4, 2)  # of a side, while it is decoded
_FORMATS = ("JPEG", "MPO")  # MPO, of phones: a JPEG and more behind it
_LEAST = 8  # pixels of a side, below which simplejpeg would choose another divisor


@functools.cache
def decoder() -> ModuleType | None:
    """The package simplejpeg; None where it is not installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def reduce(image: Image.Image, size: int) -> tuple[int, int] | None:
    """Have an opened JPEG decoded at a half, a quarter or an eighth of its sides; None: at all.

    It is the smallest of these whose short side has `size` pixels or more. libjpeg then computes
    fewer coefficients of each block of 8 × 8 pixels.

    Returns:
      Its height and width.
    """
    width, height = image.size
    decodable = image.format in _FORMATS and min(image.size) >= _LEAST
    fitting = (n for n in _DIVISORS if decodable and min(image.size) >= n * size)
    divisor = next(fitting, 1)
    if divisor == 1:
        return None
    image.draft(None, (width // divisor, height // divisor))
    return image.height, image.width


def decode(
    image: Image.Image, content: bytes, shape: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "h w 3"] | None:
    """The pixels of an opened JPEG, `reduce`d to a shape; None: let Pillow decode it."""
    package = decoder()
    if package is None or image.format not in _FORMATS or image.mode != "RGB":
        return None
    if image.getexif().get(ORIENTATION, 1) != 1:
        return None
    height, width = shape or (0, 0)
    try:
        pixels = package.decode_jpeg(content, "RGB", min_height=height, min_width=width)
    except ValueError:  # damaged: Pillow says what is wrong, or reads what there is
        return None
    return pixels if pixels.shape[:2] == (image.height, image.width) else None
