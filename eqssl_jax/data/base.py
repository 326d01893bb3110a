"""What a data set is to the rest of the library, splits that are read by index; and in words."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from eqssl_jax.frame import is_frame


class Split(NamedTuple):
    """Examples 0 … size−1 of one split, readable by index inside a compiled step.

    A compiled step calls `read(pool, inputs)`. For splits that live on the device, `inputs` are
    indices and `pool` holds the data (or, for rendered sets, a seed); for streamed splits `pool` is
    empty and `inputs` is what `load(indices)` returned on the host.

    Attributes:
      size: number of examples.
      pool: arrays that stay on the device; () when streamed.
      read: `read(pool, inputs)` gives float32 images [B, H, W, C] in [0, 1], or point clouds
        [B, P, 4]; pure, jittable, and a module-level or otherwise stable function, so that
        compiled code is reused.
      labels: class of every example, int32 [size]; None when unlabeled.
      factors: known generative factors by name, float32 [size] or [size, k] each (hue in turns,
        angle in radians, rotation as a unit quaternion, …); empty when unknown.
      load: `load(indices)` reads uint8 images [B, H, W, C] on the host; None when resident.
      draw: `draw(seed, step, indices)` gives what `load` takes in place of indices, where a step
        reads other things of the same examples than the step before, as views of objects
        (`data.views_of_objects`); pure, each row a function of its own index alone. None: indices.
      names: `names(indices)` says what the examples are called where they come from (a path below
        the root, a row of an array, a record); no two of a source are equal. None: by number.
    """

    size: int
    pool: PyTree
    read: Callable[[PyTree, Array], Float[Array, "b ..."]]
    labels: Int[np.ndarray, " n"] | None = None
    factors: Mapping[str, Float[np.ndarray, "n ..."]] = {}
    load: Callable[[Int[np.ndarray, "b ..."]], np.ndarray] | None = None
    draw: Callable[[int, int, Int[np.ndarray, " b"]], Int[np.ndarray, "b k"]] | None = None
    names: Callable[[Int[np.ndarray, " b"]], Sequence[str]] | None = None


class Sizes(NamedTuple):
    """Heights and widths of images as they were found, before anything is resized.

    Attributes:
      smallest, median, largest: (height, width); ordered by area.
      images: how many were looked at, evenly spaced over all.
    """

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    images: int


class Source(NamedTuple):
    """What a reader took from a source, before it is checked, carved and placed.

    Attributes:
      splits: streamed splits, "train" among them.
      classes, left_out, sizes: as of a `Dataset`.
      notes: facts worth printing.
    """

    splits: dict[str, Split]
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, int] = {}
    sizes: Sizes | None = None


class Dataset(NamedTuple):
    """Named splits with what is known about their images.

    Attributes:
      name: as the user wrote it.
      image_shape: of an example: (height, width, channels), (points, 4) of point clouds, or that of
        what `show` makes an image of.
      classes: class names in label order; empty when unlabeled.
      mean, std: per-channel statistics of the training images, in [0, 1].
      splits: "train", "validation", "test"; also "unlabeled" (STL-10: train without labels) and
        "out_of_range" (shapes) where they exist. "validation" is always carved from "train".
      notes: one line of facts worth printing (held-out parts, lossy copies, …), may be empty.
      left_out: how many files or examples were not taken, by reason ("files ending in .txt").
      sizes: of the images as they were found; None where they are rendered, or of one size.
      show: `show(examples)` makes images [B, H, W, C] of examples that are none, such as scenes:
        what is transformed is the description, and whoever looks at it has it rendered. None:
        examples are what they show.
    """

    name: str
    image_shape: tuple[int, ...]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: Mapping[str, Split]
    notes: str = ""
    left_out: Mapping[str, int] = {}
    sizes: Sizes | None = None
    show: Callable[[Array], Float[Array, "b h w c"]] | None = None

    @property
    def shown_shape(self) -> tuple[int, ...]:
        """Shape of an example as an encoder sees it."""
        if self.show is None:
            return tuple(self.image_shape)
        example = jax.ShapeDtypeStruct((1, *self.image_shape), "float32")
        return jax.eval_shape(self.show, example).shape[1:]

    @property
    def clouds(self) -> bool:
        """Whether examples are point clouds [points, 4] (x, y, z, mask) instead of images."""
        return len(self.image_shape) == 2


def shown(dataset: Dataset) -> Dataset:
    """The data set of the images that its examples show; itself, if they are images."""
    show = dataset.show
    if show is None:
        return dataset

    def read(split: Split, pool: Any, inputs: Array) -> Array:
        return show(split.read(pool, inputs))

    splits = {
        name: split._replace(read=functools.partial(read, split))
        for name, split in dataset.splits.items()
    }
    return dataset._replace(image_shape=dataset.shown_shape, splits=splits, show=None)


_NAMED = 10  # classes named


def describe(dataset: Dataset, trained_at: Sequence[int]) -> dict[str, str]:
    """The facts of a data set by name, as text.

    Args:
      trained_at: shape of a view, [height, width, channels] (or [points, 4]).

    >>> from eqssl_jax.data import from_arrays
    >>> images = np.zeros((20, 8, 8, 3), np.uint8)
    >>> facts = describe(from_arrays(images, np.arange(20) % 2, classes=("a", "b")), (4, 4, 3))
    >>> facts["classes"], facts["size trained at"]
    ('2: a 10, b 10', '4 × 4')
    """
    facts = {
        "data": f"{dataset.name}: "
        + ", ".join(f"{name} {split.size:,}" for name, split in dataset.splits.items()),
        "classes": _classes(dataset),
        "image sizes": _sizes(dataset),
        "size trained at": pixels(trained_at),
        "left out": ", ".join(f"{count:,} {kind}" for kind, count in dataset.left_out.items())
        or "nothing",
    }
    if dataset.clouds:
        del facts["image sizes"], facts["size trained at"]
    return facts | ({"data notes": dataset.notes} if dataset.notes else {})


def size_notice(dataset: Dataset, trained_at: Sequence[int]) -> str:
    """One line if images are larger than the views that are trained on; "" if not.

    >>> from eqssl_jax.data import from_arrays
    >>> size_notice(from_arrays(np.zeros((20, 64, 96, 3), np.uint8)), (32, 32, 3))[:45]
    'Your images are 64 × 96 and views are 32 × 32'
    """
    if dataset.clouds:
        return ""
    height, width = dataset.sizes.median if dataset.sizes else dataset.shown_shape[:2]
    if min(height, width) <= max(trained_at[:2]):
        return ""
    stored = tuple(dataset.shown_shape[:2])
    reduced = "" if stored == (height, width) else f" (of images reduced to {pixels(stored)})"
    if is_frame(dataset.image_shape):
        reduced = f" (of whole images whose short side is reduced to {stored[0]})"
    return (
        f"Your images are {height} × {width} and views are {pixels(trained_at)}{reduced}: detail "
        f"is lost. To train at more pixels set config.recipe.options.size, e.g. to "
        f"{min(height, width)}."
    )


def pixels(shape: Sequence[int]) -> str:
    """Height × width of a shape."""
    return f"{shape[0]} × {shape[1]}"


def _classes(dataset: Dataset) -> str:
    labels = [split.labels for split in dataset.splits.values() if split.labels is not None]
    if not labels or not dataset.classes:
        return "no labels: kNN and probes are left out"
    counts = np.bincount(np.concatenate(labels), minlength=len(dataset.classes))
    named = ", ".join(
        f"{name} {count:,}" for name, count in zip(dataset.classes[:_NAMED], counts, strict=False)
    )
    more = ", …" if len(dataset.classes) > _NAMED else ""
    return f"{len(dataset.classes)}: {named}{more}"


def _sizes(dataset: Dataset) -> str:
    sizes = dataset.sizes
    if sizes is None or sizes.smallest == sizes.largest:
        return pixels(sizes.smallest if sizes else dataset.shown_shape)
    return (
        f"{pixels(sizes.smallest)} to {pixels(sizes.largest)}, median {pixels(sizes.median)} "
        f"(height × width, of {sizes.images:,} images)"
    )
