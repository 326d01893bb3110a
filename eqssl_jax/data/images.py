"""Decoding and resizing of single images on the host."""

import io
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def decode(
    read: Callable[[], bytes], where: str, size: int | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode the JPEG or PNG that `read()` gives to RGB, and bring it to a size as `fit` does.

    Greyscale, palette and CMYK images are converted; transparent ones are laid on black.

    Raises:
      ValueError: naming `where`, if the content is corrupt, truncated or not an image.
    """
    try:
        with Image.open(io.BytesIO(read())) as image:
            image.load()
            rgb = _rgb(image)
            # Fitted before it becomes an array: converting a large original takes its time.
            return np.asarray(rgb) if size is None else _fit(rgb, size)
    except Exception as error:  # PIL raises OSError, SyntaxError, struct.error, zlib.error, …
        raise ValueError(
            f"{where} is corrupt, truncated or not an image ({error}): repair or delete it, or "
            'pass corrupt="skip" to leave such files out.'
        ) from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # 16-bit greyscale: PIL would clip at 255 instead of scaling.
        return Image.fromarray((np.asarray(image) / 257).clip(0, 255).astype(np.uint8)).convert(
            "RGB"
        )
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def fit(pixels: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "s s 3"]:
    """Scale the short side to `size` (bilinear, antialiased), then cut out the centre."""
    if pixels.shape[:2] == (size, size):
        return pixels
    return _fit(Image.fromarray(pixels), size)


def _fit(image: Image.Image, size: int) -> UInt8[np.ndarray, "s s 3"]:
    width, height = image.size
    if height == width == size:
        return np.asarray(image)
    scale = size / min(height, width)
    new_height, new_width = max(size, round(height * scale)), max(size, round(width * scale))
    image = image.resize((new_width, new_height), Image.Resampling.BILINEAR)
    top, left = (new_height - size) // 2, (new_width - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


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
        "Give size (e.g. size=64) to bring all to one size."
    )
