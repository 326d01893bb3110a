"""What cutting the views' crops on the host, from full-size originals, would cost and give.

    python benchmarks/host_crops.py --data=../shared/data/bloodcells/bccd_originals_640x480.zip

Now: decode, resize to a fixed size once, ship that; crops are cut on the device. The other way:
decode, cut and resize every view's box from the original, ship the crops. Printed are CPU
milliseconds an image on the host, bytes shipped, and how much the crops differ: the PSNR between
the same boxes cut from the original and from the image of fixed size.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from eqssl_jax.data.images import decode, fit, suffixes
from eqssl_jax.data.listing import list_files
from eqssl_jax.transforms import random_resized_crop

Box = tuple[float, float, float, float]  # top left height width, fractions


def cut(whole: Image.Image, box: Box, size: int) -> np.ndarray:
    width, height = whole.size
    top, left, tall, wide = box
    edges = (left * width, top * height, (left + wide) * width, (top + tall) * height)
    return np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR, box=edges))


def crops(content: bytes, box: Box, size: int, views: int) -> None:
    """All views' crops of one image, without leaving PIL in between."""
    with Image.open(io.BytesIO(content)) as image:
        whole = image.convert("RGB")
        for _ in range(views):
            cut(whole, box, size)


def square(pixels: np.ndarray) -> Image.Image:
    """The centre that `fit` keeps, at full size."""
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return Image.fromarray(pixels[top : top + side, left : left + side])


def cpu_ms(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return (time.process_time() - start) * 1e3


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean((first.astype(np.float32) - second.astype(np.float32)) ** 2)
    return float(10 * np.log10(255**2 / error))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data/bloodcells/bccd_originals_640x480.zip")
    parser.add_argument("--fixed", type=int, default=256, help="size that images are resized to")
    parser.add_argument("--size", type=int, default=224, help="size of the views")
    parser.add_argument("--images", type=int, default=100)
    args = parser.parse_args()
    listing = list_files(Path(args.data), suffixes(), "a folder of images")
    read = listing.read
    names = list(listing.files.values())[: args.images]
    crop = random_resized_crop(args.size, scale=(0.2, 1.0))
    draws = jax.vmap(crop.sample)(jax.random.split(jax.random.key(0), len(names)))
    boxes = np.stack([draws[key] for key in ("top", "left", "height", "width")], 1).astype(float)

    ways: dict[str, tuple[int, Callable[[bytes, Box], object]]] = {
        f"resize to {args.fixed}, once": (
            args.fixed**2,
            lambda content, box: decode(lambda: content, "", args.fixed),
        )
    }
    for views in (2, 4, 6):
        ways[f"{views} crops of {args.size}"] = (
            views * args.size**2,
            lambda content, box, views=views: crops(content, box, args.size, views),
        )
    times: dict[str, list[float]] = {name: [] for name in ways}
    gained: list[tuple[float, float]] = []
    for name, box in zip(names, map(tuple, boxes), strict=True):
        content = read(name)
        for way, (_, action) in ways.items():
            times[way].append(cpu_ms(lambda run=action, c=content, b=box: run(c, b)))
        pixels = decode(lambda c=content: c, name)
        fixed = Image.fromarray(fit(pixels, args.fixed))
        pair = cut(square(pixels), box, args.size), cut(fixed, box, args.size)
        gained.append((box[2] * box[3], psnr(*pair)))

    table = Table("", "CPU ms an image", "images per CPU second", "KiB shipped an image")
    for name, (shipped, _) in ways.items():
        ms = statistics.median(times[name])
        table.add_row(name, f"{ms:.2f}", f"{1e3 / ms:.0f}", f"{3 * shipped / 1024:.0f}")
    console = Console(width=100)
    console.print(f"{len(names)} images of {pixels.shape[1]} × {pixels.shape[0]}", table)
    for least, most in ((0.2, 0.4), (0.4, 0.7), (0.7, 1.0)):
        some = [gain for area, gain in gained if least <= area < most]
        if some:
            console.print(f"boxes of area {least} … {most}: PSNR {statistics.median(some):.1f} dB")


if __name__ == "__main__":
    main()
