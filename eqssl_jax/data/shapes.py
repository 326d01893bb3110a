"""Textured shapes on textured backgrounds, rendered on the device, every factor known.

Image `index` of seed `seed` is drawn from the key fold_in(key(seed), index) alone: it is the same
in every batch and on every device, and shows the same scene at every image size. Splits use
index ranges that do not meet. All draws are uniform and independent of each other and of the class:

| factor  | in range         | out_of_range   | meaning                                       |
|---------|------------------|----------------|-----------------------------------------------|
| label   | 0 … 9            | same           | outline, see `outlines.CLASSES`               |
| hue     | [0, 0.75) turns  | [0.75, 1)      | of the shape, HSV                             |
| angle   | [0, 3π/2) rad    | [3π/2, 2π)     | counter-clockwise turn of the shape           |
| size    | [0.45, 0.8)      | same           | circumscribed circle's diameter / image side  |
| x, y    | [0.4, 0.6)       | same           | centroid / image side, from the top left      |

Shape: saturation [0.7, 1), value [0.7, 1), darkened by stripes of random period, direction and
phase. Background: two colours of one hue (independent of the shape's), saturation [0.15, 0.65),
values [0.2, 0.9), mixed along a random gradient bent by three random waves. A soft shadow lies
around the shape, the light varies by [0.75, 1), and grain of ±0.03 covers all. Edges are blended
over one pixel. Values are rounded to 8 bits, as stored images are.
"""

import functools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

from eqssl_jax.data import outlines as shape_outlines
from eqssl_jax.data import partition
from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.data.outlines import CLASSES, signed_distance

FACTORS = ("hue", "angle", "size", "x", "y")
# First index of each split.
_FIRST = {"train": np.int32(0), "test": np.int32(2**28), "out_of_range": np.int32(2**29)}
# Over 65,536 training images; they depend neither on the seed nor (to 0.01) on the image size.
_MEAN = (0.355, 0.374, 0.359)
_STD = (0.153, 0.150, 0.155)
_WAVES = 3

Scene = Mapping[str, Array]


def scene(key: Key[Array, ""], outside: Array | bool = False, kinds: int = len(CLASSES)) -> Scene:
    """Draw one image's factors and nuisances; `outside` takes unseen hues and angles."""
    ranges = {
        "hue": (0.0, 0.75), "angle": (0.0, 1.5 * math.pi), "size": (0.45, 0.8),
        "x": (0.4, 0.6), "y": (0.4, 0.6), "label": (0, kinds),
        "saturation": (0.7, 1), "value": (0.7, 1), "light": (0.75, 1),
        "stripe_depth": (0.15, 0.5), "stripe_turn": (0, 0.5), "stripe_cycles": (3, 7),
        "stripe_phase": (0, 1), "ground_hue": (0, 1), "ground_saturation": (0.15, 0.65),
        "ground_dark": (0.2, 0.55), "ground_bright": (0.55, 0.9), "gradient_turn": (0, 1),
        "grain": (0, 2**24),
    }  # fmt: skip
    low, high = np.array(list(ranges.values()), np.float32).T
    # One call for all numbers: every further one costs 0.3 s wherever rendering is compiled.
    drawn = jax.random.uniform(key, (len(ranges) + 3 * _WAVES,))
    unit, waves = drawn[: len(ranges)], drawn[len(ranges) :]
    values = dict(zip(ranges, low + (high - low) * unit, strict=True))
    position = dict(zip(ranges, unit, strict=True))
    for name, begin, end in (("hue", 0.75, 1.0), ("angle", 1.5 * math.pi, 2 * math.pi)):
        unseen = begin + (end - begin) * position[name]
        values[name] = jnp.where(jnp.asarray(outside), unseen, values[name])
    # The product can round up to the end of the range, which is no class.
    label = jnp.minimum(values["label"].astype(jnp.int32), kinds - 1)
    # Cycles in x, cycles in y, phase of each wave, in [−1, 1).
    return {**values, "label": label, "waves": 2 * waves.reshape(_WAVES, 3) - 1}


def draw(scene: Scene, size: int) -> Float[Array, "s s 3"]:
    """Render a scene at `size` × `size` pixels, in [0, 1]."""
    grid = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size
    distance = _distance(scene, grid) * size  # in pixels
    shadow = 1 - 0.5 * jnp.exp(-jnp.maximum(distance, 0) * (20 / size))
    below = ground(scene, grid, shadow)
    turn, cycles = 2 * math.pi * scene["stripe_turn"], scene["stripe_cycles"]
    stripes = wave(grid, cycles * jnp.cos(turn), cycles * jnp.sin(turn), scene["stripe_phase"])
    value = scene["value"] * (1 - scene["stripe_depth"] * (0.5 + 0.5 * stripes))
    shape = colour(scene["hue"], scene["saturation"], value)
    cover = jnp.clip(0.5 - distance, 0, 1)[..., None]
    noise = 0.03 * grain(scene["grain"].astype(jnp.uint32), size)[..., None]
    image = scene["light"] * (below + cover * (shape - below)) + noise
    return jnp.round(jnp.clip(image, 0, 1) * 255) / 255


def render(
    key: Key[Array, ""], index: Int[Array, ""], *, size: int, kinds: int = len(CLASSES)
) -> Float[Array, "s s 3"]:
    """Image `index`: draw its scene and render it."""
    return draw(_scene_of(key, index, kinds), size)


def _scene_of(key: Key[Array, ""], index: Int[Array, ""], kinds: int) -> Scene:
    return scene(jax.random.fold_in(key, index), index >= _FIRST["out_of_range"], kinds)


def load(
    *,
    size: int | None = None,
    seed: int = 0,
    validation: float = 0.1,
    train_size: int = 8192,
    test_size: int = 2048,
    out_of_range_size: int = 2048,
    task: str = "outline",
    outlines: int | None = None,
) -> Dataset:
    """The shapes data set: splits train, validation, test and out_of_range.

    Args:
      size: side of the images in pixels, default 32.
      seed: which images are drawn; runs that are compared should share it.
      validation: fraction of the training images held out, see `partition.carve`.
      train_size: number of training images, validation included.
      test_size: number of test images.
      out_of_range_size: number of images with hues and angles never seen in training.
      task: what the label is, "outline", "hue" or "angle", see `outlines.labelled`.
      outlines: draw only the first so many of `outlines.CLASSES` (None: all ten), all else equal.

    >>> data = load(train_size=100, test_size=10, out_of_range_size=10)
    >>> data.splits["train"].size, data.splits["validation"].size
    (90, 10)

    Raises:
      ValueError: for a size below 8 pixels, an unknown task or too many outlines.
    """
    side = 32 if size is None else size
    sizes = {"train": train_size, "test": test_size, "out_of_range": out_of_range_size}
    if side < 8:
        raise ValueError(f"shapes cannot be told apart below 8 pixels, found size={size}.")
    kinds = shape_outlines.kinds(task, outlines)
    splits, classes = shape_outlines.labelled(_splits(sizes, seed, side, kinds), task, kinds)
    splits = partition.with_validation(splits, validation, more="config.data.options.train_size")
    return Dataset("shapes", (side, side, 3), classes, _MEAN, _STD, splits)


def _splits(sizes: Mapping[str, int], seed: int, side: int, kinds: int) -> dict[str, Split]:
    key = jax.random.key(seed)
    index = {name: np.arange(n, dtype=np.int32) + _FIRST[name] for name, n in sizes.items()}
    # All splits in one call: one program to compile instead of one for each size.
    factors = jax.device_get(
        _labels_and_factors(key, jnp.asarray(np.concatenate(list(index.values()))), kinds)
    )
    stops = np.cumsum(list(sizes.values()))
    parts = {name: np.split(values, stops[:-1]) for name, values in factors.items()}
    return {
        name: Split(
            size=sizes[name],
            pool={"key": key, "index": jnp.asarray(index[name])},
            read=reader(side, kinds),
            labels=parts["label"][position],
            factors={factor: parts[factor][position] for factor in FACTORS},
            names=functools.partial(_names, seed, index[name]),
        )
        for position, name in enumerate(sizes)
    }


def _names(seed: int, numbers: Int[np.ndarray, " n"], indices: Int[np.ndarray, " b"]) -> list[str]:
    return [f"seed {seed}, image {number}" for number in numbers[indices]]


@functools.partial(jax.jit, static_argnames="kinds")
def _labels_and_factors(
    key: Key[Array, ""], index: Int[Array, " n"], kinds: int
) -> dict[str, Array]:
    def factors(number: Int[Array, ""]) -> dict[str, Array]:
        drawn = _scene_of(key, number, kinds)
        return {name: drawn[name] for name in ("label", *FACTORS)}

    return jax.vmap(factors)(index)


@functools.cache
def reader(size: int, kinds: int) -> Callable[[Mapping[str, Array], Int[Array, " b"]], Array]:
    """The `read` of a shapes split at `size` pixels; the same function object every time."""

    @jax.jit
    def read(pool: Mapping[str, Array], indices: Int[Array, " b"]) -> Float[Array, "b s s 3"]:
        draw = functools.partial(render, size=size, kinds=kinds)
        return jax.vmap(draw, in_axes=(None, 0))(pool["key"], pool["index"][indices])

    return read


def _distance(scene: Scene, grid: Float[Array, " s"]) -> Float[Array, "s s"]:
    # The outline is turned and scaled, not the grid: its few vertices are cheaper than the pixels.
    cos, sin = jnp.cos(scene["angle"]), jnp.sin(scene["angle"])
    turn = jnp.stack([jnp.stack([cos, sin]), jnp.stack([-sin, cos])])
    vertices = jnp.asarray(shape_outlines.outlines())[scene["label"]] @ turn * (scene["size"] / 2)
    # Image rows run downwards, outlines upwards.
    return signed_distance(grid - scene["x"], scene["y"] - grid, vertices)


def grain(number: UInt32[Array, ""], size: int) -> Float[Array, "s s"]:
    """Noise in [−1, 1]: an integer hash of the image's number and the pixel's.

    A few multiplications and shifts (constants of lowbias32, Wellons 2018) instead of the library's
    generator: noise has no need of its quality, and it would take a third of the rendering time.
    """
    pixels = jnp.arange(size * size, dtype=jnp.uint32).reshape(size, size)
    x = pixels + number * jnp.uint32(0x9E3779B9)
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return (x >> 16).astype(jnp.float32) / 32767.5 - 1


def wave(grid: Float[Array, " s"], across: Array, down: Array, phase: Array) -> Array:
    """cos 2π(across·x + down·y + phase) on the grid, from 4S cosines instead of S²."""
    x, y = 2 * math.pi * (across * grid + phase), 2 * math.pi * down * grid
    return jnp.cos(x)[None, :] * jnp.cos(y)[:, None] - jnp.sin(x)[None, :] * jnp.sin(y)[:, None]


def colour(hue: Array, saturation: Array, value: Float[Array, "s s"]) -> Float[Array, "s s 3"]:
    """HSV to RGB for one hue and saturation and many values."""
    sector = (hue * 6 + jnp.array([5.0, 3.0, 1.0])) % 6
    fade = 1 - saturation * jnp.clip(jnp.minimum(sector, 4 - sector), 0, 1)
    return value[..., None] * fade[None, None, :]


def ground(
    scene: Mapping[str, Array], grid: Float[Array, " s"], shadow: Float[Array, "s s"]
) -> Float[Array, "s s 3"]:
    """Two colours of one hue, mixed along a bent gradient, under a shadow."""
    bend = sum(  # at most 3 cycles a side
        wave(grid, 3 * across, 3 * down, phase) for across, down, phase in scene["waves"]
    )
    turn, centred = 2 * math.pi * scene["gradient_turn"], grid - 0.5
    across = jnp.cos(turn) * centred[None, :] + jnp.sin(turn) * centred[:, None]
    mix = jnp.clip(0.5 + 0.7 * across + 0.17 * bend, 0, 1)
    value = scene["ground_dark"] + (scene["ground_bright"] - scene["ground_dark"]) * mix
    return colour(scene["ground_hue"], scene["ground_saturation"], value * shadow)
