"""What a data set is to the rest of the library: splits that can be read by index."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree


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
