"""Handwritten digits drawn in colour on textured ground: real shapes with known hue and tilt.

The shapes are the 1,797 digits of scikit-learn, 8 × 8 pixels of 17 levels, from 43 writers
(Alpaydin and Kaynak 1998, UCI, CC BY 4.0). Nothing is downloaded. Image `index` of a split shows
the digit number index mod n of its n originals. It is a function of (seed, split, index) alone and
shows the same scene at every image size. The last 360 originals are the test split's alone, and
those of validation are not in train. All draws are uniform and independent of each other and of the
class:

| factor | range          | meaning                                                              |
|--------|----------------|----------------------------------------------------------------------|
| label  | 0 … 9          | the digit                                                            |
| hue    | [0, 1) turns   | of the ink, HSV                                                      |
| tilt   | [−0.5, 0.5) rad| counter-clockwise turn of the digit, beside the slant of the writer  |
| size   | [0.55, 0.75)   | side of the 8 × 8 pixels / image side                                |
| x, y   | [0.35, 0.65)   | their centre / image side, from the top left                         |

Ink: saturation [0.6, 1), value [0.7, 1). Ground: two colours of one hue (independent of the ink's),
saturation [0.1, 0.6), values [0.1, 0.4) and [0.4, 0.7), mixed by three random waves of at most 3
cycles a side; grain of ±0.03 covers all. Values are rounded to 8 bits.
"""

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from eqssl_jax.data import partition
from eqssl_jax.data.base import Source, Split
from eqssl_jax.data.pipeline import streamed

FACTORS = ("hue", "tilt", "size", "x", "y")
TEST = 360  # originals, the last of the file
_ORIGINAL = "original"
_RANGES = {
    "hue": (0, 1), "tilt": (-0.5, 0.5), "size": (0.55, 0.75), "x": (0.35, 0.65),
    "y": (0.35, 0.65), "saturation": (0.6, 1), "value": (0.7, 1), "ground_hue": (0, 1),
    "ground_saturation": (0.1, 0.6), "dark": (0.1, 0.4), "bright": (0.4, 0.7),
}  # fmt: skip
_WAVES = 3
Scene = Mapping[str, Float[np.ndarray, "..."]]


def read_digits(
    directory: Path | None = None,
    *,
    size: int | None = None,
    corrupt: str = "error",
    views: int | None = None,
    seed: int = 0,
    train_size: int = 4096,
    test_size: int = 1024,
) -> Source:
    """The splits train and test of the digits, drawn at `size` × `size` pixels, or 32 × 32.

    Args:
      directory: there is none.
      size, views: side of the images in pixels, and that of views, which they have without size.
      corrupt: of no use here.
      seed: which scenes are drawn; runs that are compared should share it.
      train_size, test_size: images, of 1,437 and 360 originals; validation counts as train.

    Raises:
      ValueError: for a directory, a size below 8 pixels, a split without an image of each class,
        and without scikit-learn.
    """
    del corrupt
    if directory is not None:
        raise ValueError(f"digits are drawn: they take no directory (found {directory}).")
    side = size or views or 32
    if side < 8:
        raise ValueError(f"digits cannot be told apart below 8 pixels, found size={size}.")
    ink, labels = originals()
    train, test = slice(0, len(ink) - TEST), slice(len(ink) - TEST, None)
    splits = {
        name: _split(ink[part], labels[part], (seed, number), count, side)
        for number, (name, part, count) in enumerate(
            (("train", train, train_size), ("test", test, test_size))
        )
    }
    return Source(splits, tuple(map(str, range(10))))


@functools.cache
def originals() -> tuple[Float[np.ndarray, "n 8 8"], Int[np.ndarray, " n"]]:
    """Ink in [0, 1] and class of the digits of scikit-learn, in their order."""
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise ValueError(
            "The data set digits is that of scikit-learn, which is not installed: "
            "pip install scikit-learn."
        )
    # Its file is read in place: to import scikit-learn takes longer than to read and draw.
    file = Path(package.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"
    if file.is_file():
        table = np.loadtxt(file, delimiter=",")  # 64 levels and the class, a row each
    else:  # a version that keeps it elsewhere
        from sklearn.datasets import load_digits

        table = np.column_stack(load_digits(return_X_y=True))
    return table[:, :-1].reshape(-1, 8, 8) / 16.0, table[:, -1].astype(np.int32)


def hold_out(splits: Mapping[str, Split], fraction: float) -> dict[str, Split]:
    """The splits with "validation" carved from "train", all images of an original on one side."""
    carved = partition.with_validation(
        splits, fraction, _ORIGINAL, more="config.data.options.train_size"
    )
    return {
        name: split._replace(factors={factor: split.factors[factor] for factor in FACTORS})
        for name, split in carved.items()
    }


def scene(numbers: tuple[int, ...]) -> tuple[dict[str, float], np.random.Generator]:
    """The draws of one image, and the generator for its waves and grain, which come after."""
    generator = np.random.default_rng(numbers)
    unit = generator.random(len(_RANGES))
    drawn = {
        name: low + (high - low) * float(u)
        for (name, (low, high)), u in zip(_RANGES.items(), unit, strict=True)
    }
    return drawn, generator


def draw(
    ink: Float[np.ndarray, "8 8"], numbers: tuple[int, ...], side: int
) -> UInt8[np.ndarray, "s s 3"]:
    """Draw one original in the scene of some numbers, at `side` × `side` pixels."""
    drawn, generator = scene(numbers)
    across, down, phase = generator.uniform(-1, 1, (3, _WAVES, 1, 1))
    grid = (np.arange(side) + 0.5) / side
    x, y = grid[None, :], grid[:, None]
    waves = np.cos(2 * np.pi * (3 * across * x + 3 * down * y + phase)).mean(axis=0)
    value = drawn["dark"] + (drawn["bright"] - drawn["dark"]) * (0.5 + 0.5 * waves)
    ground = value[..., None] * _colour(drawn["ground_hue"], drawn["ground_saturation"])
    cover = _cover(ink, drawn, x - drawn["x"], drawn["y"] - y)[..., None]
    paint = drawn["value"] * _colour(drawn["hue"], drawn["saturation"])
    image = ground + cover * (paint - ground) + generator.uniform(-0.03, 0.03, (side, side, 1))
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _cover(
    ink: Float[np.ndarray, "8 8"], drawn: Mapping[str, float], right: np.ndarray, up: np.ndarray
) -> Float[np.ndarray, "s s"]:
    """How much ink lies on each pixel: the original turned and scaled, its soft edge sharpened."""
    from scipy import ndimage

    cos, sin = np.cos(drawn["tilt"]), np.sin(drawn["tilt"])
    # Back into the frame of the original, whose rows run downwards.
    column = (cos * right + sin * up) / drawn["size"] * 8 + 3.5
    row = (sin * right - cos * up) / drawn["size"] * 8 + 3.5
    level = ndimage.map_coordinates(ink, [row, column], order=3, mode="grid-constant")
    return np.clip((level - 0.25) / 0.4, 0, 1)


def _colour(hue: float, saturation: float) -> Float[np.ndarray, "3"]:
    """RGB of a hue and saturation at value 1."""
    sector = (hue * 6 + np.array([5.0, 3.0, 1.0])) % 6
    return 1 - saturation * np.clip(np.minimum(sector, 4 - sector), 0, 1)


def _split(
    ink: np.ndarray, labels: np.ndarray, numbers: tuple[int, int], count: int, side: int
) -> Split:
    """A split that draws on demand; image i shows original i mod n."""
    originals = np.arange(count) % len(ink)
    scenes = [scene((*numbers, index))[0] for index in range(count)]
    factors = {name: np.array([drawn[name] for drawn in scenes], np.float32) for name in FACTORS}

    def load(indices: Int[np.ndarray, " b"]) -> UInt8[np.ndarray, "b s s 3"]:
        drawn = [draw(ink[originals[i]], (*numbers, int(i)), side) for i in indices]
        return np.stack(drawn) if drawn else np.zeros((0, side, side, 3), np.uint8)

    split = streamed(load, size=count, labels=labels[originals])
    name = "seed {}, split {}, image ".format(*numbers)
    return split._replace(
        factors={**factors, _ORIGINAL: originals.astype(np.float32)},
        names=lambda indices: [f"{name}{int(index)}" for index in indices],
    )
