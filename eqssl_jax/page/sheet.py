"""Many small images of a page as one picture, which runs of equal images share."""

import base64
import io
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from eqssl_jax.page.markup import tag

COLUMNS = 16  # images of a row
Images = UInt8[np.ndarray, "n h w c"]


class Sheets:
    """The sheets of a section: each set of images is defined once, under a name."""

    def __init__(self, prefix: str) -> None:
        self._prefix, self._sheets = prefix, dict[bytes, tuple[str, Images]]()

    def name(self, images: Images) -> str:
        """What images are called on the page; equal ones have one name."""
        key = repr(images.shape).encode() + images.tobytes()
        return self._sheets.setdefault(key, (f"{self._prefix}{len(self._sheets)}", images))[0]

    def defined(self) -> list[Element]:
        """An element for each sheet, which `picture` cuts images from; it shows nothing itself."""
        return [_sheet(name, images) for name, images in self._sheets.values()]


def picture(
    sheet: str, index: int, shape: tuple[int, ...], x: float, y: float, side: float, class_: str
) -> Element:
    """Image `index` of a sheet of images of `shape` [N, H, W, C], at (x, y), `side` units wide."""
    _, height, width, _ = shape
    left, top = index % COLUMNS * width, index // COLUMNS * height
    place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{side:g}", "height": f"{side:g}"}
    return tag("svg", tag("use", href=f"#{sheet}"), **place, class_=class_,
               viewBox=f"{left} {top} {width} {height}")  # fmt: skip


def _sheet(name: str, images: Images) -> Element:
    count, height, width, channels = images.shape
    rows = -(-count // COLUMNS)
    padded = np.zeros((rows * COLUMNS, height, width, channels), np.uint8)
    padded[:count] = images
    grid = padded.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
    pixels = grid.reshape(rows * height, COLUMNS * width, channels)
    stored = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(stored, "WEBP", quality=85)
    uri = f"data:image/webp;base64,{base64.b64encode(stored.getvalue()).decode()}"
    image = tag("image", id=name, href=uri, width=COLUMNS * width, height=rows * height)
    return tag("svg", tag("defs", image), width=0, height=0, aria_hidden="true", class_="sheet")
