"""PNG figures inside a page: data URIs, made smaller where they are large."""

import base64
import io
from typing import NamedTuple

from PIL import Image

LARGE = 250_000  # bytes; a larger PNG is written anew as WebP
WIDEST = 2400  # pixels
TIGHT = 1200  # pixels, where the page would become too large


class Picture(NamedTuple):
    """An image ready for `src`.

    Attributes:
      uri: "data:image/…;base64,…".
      width, height: of the original, in pixels.
      changed: what was done to make it smaller; "" where nothing was.
    """

    uri: str
    width: int
    height: int
    changed: str = ""


def embed(png: bytes, *, tight: bool = False) -> Picture | None:
    """A PNG as a data URI; None for bytes that are no image.

    Above 250 kB it becomes a WebP of at most 2400 pixels in width, if that is smaller.

    Args:
      png: the file.
      tight: every image becomes a WebP of at most 1200 pixels in width.
    """
    try:
        with Image.open(io.BytesIO(png)) as found:
            image = found.convert("RGB") if tight or len(png) > LARGE else found
            width, height = found.size
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # PIL raises any of these for damaged files
    kind, data, changed = "png", png, ""
    if tight or len(png) > LARGE:
        smaller = _webp(image, TIGHT if tight else WIDEST, quality=75 if tight else 88)
        if len(smaller) < len(png):
            shrunk = f", {TIGHT if tight else WIDEST} pixels wide"
            kind, data = "webp", smaller
            changed = "as WebP" + (shrunk if width > (TIGHT if tight else WIDEST) else "")
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return Picture(uri, width, height, changed)


def _webp(image: Image.Image, widest: int, *, quality: int) -> bytes:
    if image.width > widest:
        height = max(1, round(image.height * widest / image.width))
        image = image.resize((widest, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "webp", quality=quality, method=4)
    return file.getvalue()
