"""Decoding and resizing of single images on the host."""

import functools
import io
import os
import re
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from eqssl_jax import frame
from eqssl_jax.data import jpeg
from eqssl_jax.data.listing import printable

# Formats that Pillow decodes by itself (it would start a program for others, such as .eps).
_FORMATS = (
    "JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "MPO",
    "ICO", "PCX", "SGI", "QOI",
)  # fmt: skip
_LIMIT = "EQSSL_JAX_MAX_PIXELS"  # environment variable: pixels of the largest image
_ALONE = 2**24  # images of more pixels than this are decoded one at a time, to bound memory
_LARGE = threading.Lock()
_ELONGATED = 8  # of images longer than this many short sides only the middle is scaled

_SKIP = 'leave such files out with corrupt="skip" (config.data.corrupt)'


class TooLarge(ValueError):
    """An image of more pixels than the limit."""


class Decoding(NamedTuple):
    """How encoded images become arrays of one size.

    Attributes:
      framed: whole images are laid into frames, see `fit`.
      scaled: a JPEG of at least twice the size is decoded at a half, a quarter or an eighth of its
        sides (`jpeg.reduce`), and scaled from there: in less time, with other pixels.
    """

    framed: bool = False
    scaled: bool = False


EXACT = Decoding()


@functools.cache
def suffixes() -> tuple[str, ...]:
    """Endings of the files that are read as images."""
    endings = Image.registered_extensions()
    readable = sorted(
        end for end, form in endings.items() if form in _FORMATS and form in Image.OPEN
    )
    return tuple(readable)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `_FORMATS` that Pillow opens by their own name; JPEG opens MPO."""
    Image.init()
    return tuple(form for form in _FORMATS if form in Image.OPEN)


def _reason(error: Exception) -> str:
    """What Pillow says, without the address of the object that it read."""
    return re.sub(r" <_io\.BytesIO object at 0x\w+>", "", str(error))


def decode(
    read: Callable[[], bytes], where: str, size: int | None = None, how: Decoding = EXACT
) -> UInt8[np.ndarray, "h w c"]:
    """Decode the image that `read()` gives to RGB, upright, and bring it to a size as `fit` does.

    Greyscale, palette and CMYK images are converted; transparent ones are laid on black; of several
    frames the first is read. Orientations that cameras note (EXIF) are applied.

    Raises:
      TooLarge: naming `where`, for more pixels than the limit (Pillow's, 89 million, or the
        environment variable EQSSL_JAX_MAX_PIXELS).
      ValueError: naming `where`, if the content is corrupt, truncated or not an image.
    """
    try:
        content = read()
        with _open(content) as image:
            if image.width * image.height > _ALONE:
                with _LARGE:
                    return _pixels(image, content, size, how)
            return _pixels(image, content, size, how)
    except (TooLarge, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(
            f"{printable(where)} is too large ({error}): reduce it, raise the limit with the "
            f"environment variable {_LIMIT} (pixels; decoding takes 4 bytes for each), or {_SKIP}."
        ) from error
    except Exception as error:  # PIL raises OSError, SyntaxError, struct.error, zlib.error, …
        raise ValueError(
            f"{printable(where)} is corrupt, truncated or not an image ({_reason(error)}): repair "
            f"or delete it, or {_SKIP}."
        ) from error


def upright_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) of an image as `decode` shows it, from its header alone; None if damaged."""
    try:
        with _open(content, limited=False) as image:
            # Pillow would decode a whole PNG to look for its orientation, which is rare there.
            turned = image.format != "PNG" and image.getexif().get(jpeg.ORIENTATION, 1) >= 5
            return (image.width, image.height) if turned else (image.height, image.width)
    except Exception:  # an image that cannot be decoded is named where it is decoded
        return None


def _open(content: bytes, *, limited: bool = True) -> Image.Image:
    raised = os.environ.get(_LIMIT, "")
    if raised and not (raised.isdigit() and int(raised)):
        raise ValueError(f"{_LIMIT} is {raised!r}, not a number of pixels")
    if raised:
        Image.MAX_IMAGE_PIXELS = int(raised)
    image = Image.open(io.BytesIO(content), formats=_formats())
    limit = Image.MAX_IMAGE_PIXELS
    if limited and limit and image.width * image.height > limit:
        image.close()
        raise TooLarge(
            f"{image.width} × {image.height} = {image.width * image.height:,} pixels, and the "
            f"limit is {limit:,}"
        )
    return image


def _pixels(
    image: Image.Image, content: bytes, size: int | None, how: Decoding
) -> UInt8[np.ndarray, "h w c"]:
    shape = jpeg.reduce(image, size) if how.scaled and size else None
    pixels = jpeg.decode(image, content, shape)
    if pixels is not None:
        return pixels if size is None else fit(pixels, size, framed=how.framed)
    image.load()
    rgb = _rgb(ImageOps.exif_transpose(image))
    # Fitted before it becomes an array: converting a large original takes its time.
    return np.asarray(rgb) if size is None else _fit(rgb, size, how.framed)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers: store 8 or 16 bits")
    if image.mode.startswith("I"):
        # 16-bit greyscale: PIL would clip at 255 instead of scaling.
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(
                f"its pixels go from {values.min()} to {values.max()}: store 8 or 16 bits"
            )
        return Image.fromarray((values / 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def fit(
    pixels: UInt8[np.ndarray, "h w 3"], size: int, *, framed: bool = False
) -> UInt8[np.ndarray, "s l c"]:
    """Scale the short side to `size` (bilinear, antialiased), then cut out the centre.

    With `framed` nothing is cut out: the whole is laid into a frame, [size, 3 size / 2, 4] (see
    `eqssl_jax.frame`); of images longer than 3 : 2 their middle.
    """
    if pixels.shape[:2] == (size, size) and not framed:
        return pixels
    return _fit(Image.fromarray(pixels), size, framed)


def _fit(image: Image.Image, size: int, framed: bool) -> UInt8[np.ndarray, "s l c"]:
    image = _scaled(_middle(image), size)
    if framed:
        return _framed(np.asarray(image), size)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _scaled(image: Image.Image, size: int) -> Image.Image:
    """The image with its short side scaled to `size`."""
    width, height = image.size
    if min(height, width) == size:
        return image
    scale = size / min(height, width)
    new_height, new_width = max(size, round(height * scale)), max(size, round(width * scale))
    return image.resize((new_width, new_height), Image.Resampling.BILINEAR)


def _framed(pixels: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "s l 4"]:
    """A picture whose short side is `size`, in its frame."""
    standing = pixels.shape[0] > pixels.shape[1]
    if standing:
        pixels = pixels.swapaxes(0, 1)
    framed = np.zeros((size, frame.longest(size), frame.CHANNELS), np.uint8)
    start = max(0, (pixels.shape[1] - framed.shape[1]) // 2)
    kept = pixels[:, start : start + framed.shape[1]]
    framed[:, : kept.shape[1], :3] = kept
    framed[:, : kept.shape[1], 3] = frame.STANDING if standing else frame.LYING
    return framed


def _middle(image: Image.Image) -> Image.Image:
    """The middle of a very long image: scaling all of it could take any time and memory."""
    width, height = image.size
    most = _ELONGATED * min(width, height)
    if max(width, height) <= most:
        return image
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)
    return image.crop((left, top, min(width, left + most), min(height, top + most)))


def to_rgb(images: UInt8[np.ndarray, "n h w *c"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Repeat the grey channel of [N, H, W] or [N, H, W, 1] images; leave RGB as it is."""
    if images.ndim == 3:
        images = images[..., None]
    return images if images.shape[3] == 3 else np.repeat(images, 3, axis=3)


def differ(first: np.ndarray, name: str, other: np.ndarray, other_name: str) -> ValueError:
    """The error of two images, with their names, whose sizes differ."""
    (h0, w0), (h1, w1) = first.shape[:2], other.shape[:2]
    return ValueError(
        f"The images differ in size: {name} has {w0} × {h0} pixels, {other_name} has {w1} × {h1}. "
        "Give size (config.data.size, e.g. 64) to bring all to one size."
    )
