"""Objects as examples, each with some of its stored views and with what is known of them.

Of data whose images are views of objects (3DIEBench), a step reads of each object of its batch as
many views as its method compares, drawn without replacement: a pure function of (seed, step,
object), so that a resumed run goes on with the same views, and each process reads its own rows.
Only these images are read and decoded; pose and hues travel behind the pixels, as bytes.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int, PyTree, UInt8

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.data.partition import names_of

ROTATION, HUE = "rotation", "hue"
# What is known of a view, by the part of the recipe: parameter, how many numbers, and factor.
KNOWN = {
    "turn": (ROTATION, 3, "rotation"),
    "floor": (HUE, 1, "floor_hue"),
    "light": (HUE, 1, "light_hue"),
    "shift": ("translation", 3, "translation"),
}


class StoredViews(NamedTuple):
    """What `Split.read` gives of objects: views, and the draws that they show.

    Attributes:
      views: [N, V, H, W, C] in [0, 1].
      params: leaves [N, V, …].
    """

    views: Float[Array, "n v h w c"]
    params: Mapping[str, Mapping[str, Array]]


def objects_of(
    dataset: Dataset,
    split_name: str,
    parts: Sequence[str],
    places: Sequence[int],
    *,
    relative: bool = False,
) -> Split:
    """The objects of a split of their views, as a streamed split.

    The draw of a view is its pose (`rotation`, a rotation vector in radians) and its hues in turns,
    as if it were made of the object upright under hues 0. With `relative` it is what leads to it
    from view 0 of the step, from the left: R R₀ᵀ and the differences of hues (and of translations).
    That is for methods which look at the object itself beside its views: view 0 stands for it.

    Args:
      dataset, split_name: whose images are views; on the device or streamed.
      parts: of the recipe, keys of `KNOWN`.
      places: which of the views drawn for a step stands in each place of it, counted from 0.
      relative: see above.

    Raises:
      ValueError: for images whose parts are not known, factors of another shape or no unit
        quaternions, or an object with fewer views than are drawn, naming one of its images.
    """
    split, count = dataset.splits[split_name], max(places) + 1
    where = f"the {split_name} split of {dataset.name}"
    lacking = sorted({"object", *(KNOWN[part][2] for part in parts)} - set(split.factors))
    if lacking:
        raise ValueError(
            f"config.recipe.name is 'stored_views', which is for stored views of objects, and of "
            f"the images of {where} it is not known: {', '.join(lacking)}. Use config.data.name = "
            f"'3diebench' (translation: 3DIEBench-T), or another recipe."
        )
    objects, first, counts = np.unique(
        np.asarray(split.factors["object"]), return_index=True, return_counts=True
    )
    few = int(np.argmin(counts))
    if counts[few] < count:
        raise ValueError(
            f"The method compares {count} stored views of each object, and the object of "
            f"{names_of(split, first[few : few + 1])[0]} has {counts[few]} in {where}: restore its "
            f"images, leave it out of the index, raise config.data.options.limit if it is set, or "
            f"choose a method that takes fewer views."
        )
    draw = functools.partial(
        _draw, np.argsort(np.asarray(split.factors["object"]), kind="stable"), counts, places
    )
    known = {part: _known(split, part, where) for part in parts}
    pixels = _images(split)
    reference = places.index(0) if relative else None

    def load(rows: Int[np.ndarray, "b ..."]) -> UInt8[np.ndarray, "b v p"]:
        rows = rows if rows.ndim == 2 else draw(0, 0, rows)  # any, where only the shape is asked
        views = rows[:, 1:]
        images = pixels(views.reshape(-1)).reshape(*views.shape, -1)
        numbers = _numbers({part: values[views] for part, values in known.items()}, reference)
        return np.concatenate([images, numbers.astype("<f4").view(np.uint8)], axis=-1)

    return Split(
        len(objects),
        (),
        _reader(tuple(dataset.image_shape), tuple(parts)),
        labels=None if split.labels is None else np.asarray(split.labels)[first],
        factors={"object": objects},
        load=load,
        draw=draw,
    )


def _known(split: Split, part: str, where: str) -> Float[np.ndarray, "n ..."]:
    """The factor that the draws of a part are made of."""
    kind, width, name = KNOWN[part]
    width = 4 if kind == ROTATION else width
    shape = (split.size,) if width == 1 else (split.size, width)
    values = np.asarray(split.factors[name], np.float64)
    if values.shape != shape:
        raise ValueError(
            f"The factor {name} of {where} must be of shape {shape}, found {values.shape}."
        )
    lengths = np.linalg.norm(values, axis=-1) if kind == ROTATION else np.ones(1)
    farthest = lengths[np.argmax(np.abs(lengths - 1))]
    if not abs(farthest - 1) < 1e-3:
        raise ValueError(
            f"The factor {name} of {where} must hold unit quaternions (x, y, z, w), and one has "
            f"length {farthest:.4g}: divide them by their length."
        )
    return values


def _images(split: Split) -> Callable[[Int[np.ndarray, " n"]], UInt8[np.ndarray, "n h w c"]]:
    """What reads images of a split on the host."""
    if split.load is not None:
        return split.load
    pool = np.asarray(split.pool)
    return lambda rows: pool[rows]


def _draw(
    order: Int[np.ndarray, " n"],
    counts: Int[np.ndarray, " m"],
    places: Sequence[int],
    seed: int,
    step: int,
    indices: Int[np.ndarray, " b"],
) -> Int[np.ndarray, "b v+1"]:
    """Of each object its number, and the images that stand in the places of its step.

    Views are the first of a permutation drawn with Philox(key=[seed, step]), whose counter starts
    at another place for every object, and never where that of `batch_indices` is.
    """
    starts = np.cumsum(counts) - counts
    rows = np.empty((len(indices), 1 + len(places)), np.int32)
    for row, index in enumerate(indices.tolist()):
        generator = np.random.Generator(
            np.random.Philox(key=[seed, step], counter=[0, index, 1, 0])
        )
        drawn = generator.permutation(int(counts[index]))[np.asarray(places)]
        rows[row] = index, *order[starts[index] + drawn]
    return rows


def _numbers(
    known: Mapping[str, Float[np.ndarray, "b v ..."]], reference: int | None
) -> Float[np.ndarray, "b v k"]:
    """What is known of views as draws: of each as it is, or from the view of this place on."""
    columns = []
    for part, values in known.items():
        kind, width, _ = KNOWN[part]
        if kind == ROTATION:
            read = scipy.spatial.transform.Rotation.from_quat
            poses = read(values.reshape(-1, 4))
            if reference is not None:
                start = np.broadcast_to(values[:, reference, None], values.shape)
                poses = poses * read(start.reshape(-1, 4)).inv()
            values = poses.as_rotvec()
        elif reference is not None:
            values = values - values[:, [reference]]
            values = (values + 0.5) % 1 - 0.5 if kind == HUE else values
        columns.append(values.reshape(*next(iter(known.values())).shape[:2], width))
    return np.concatenate(columns, axis=-1)


# Cached, so that equal readers are the same functions and compiled code is found again.
@functools.lru_cache(maxsize=32)
def _reader(shape: tuple[int, ...], parts: tuple[str, ...]) -> Callable[[PyTree, Array], Any]:
    def read(pool: PyTree, packed: UInt8[Array, "b v p"]) -> StoredViews:
        del pool
        outer = packed.shape[:2]
        pixels, numbers = jnp.split(packed, [math.prod(shape)], axis=-1)
        views = pixels.reshape(*outer, *shape).astype(jnp.float32) / 255
        numbers = jax.lax.bitcast_convert_type(numbers.reshape(*outer, -1, 4), jnp.float32)
        params, start = {}, 0
        for part in parts:
            name, width, _ = KNOWN[part]
            values = numbers[..., start : start + width]
            params[part] = {name: values[..., 0] if width == 1 else values}
            start += width
        return StoredViews(views, params)

    return read
