"""The one entry point to all data sets: find the images, cut the splits, place them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax.data import arrays, checks, fruits, partition, pipeline, proteins, readers, shapes
from eqssl_jax.data.base import Dataset, Split

# Published per-channel statistics of the training images.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "stl10": ((0.4406, 0.4273, 0.3858), (0.2312, 0.2265, 0.2237)),
    "imagenet2012": _IMAGENET,
    "imagenet100": _IMAGENET,
}

# A factor whose examples of one value are too alike to be in both train and validation.
_TOGETHER = {"bloodcells": "photograph"}


def load(
    *,
    name: str,
    directory: str | Path | None = None,
    size: int | None = None,
    seed: int = 0,
    validation: float = 0.1,
    on_device: str | bool = "auto",
    corrupt: str = "error",
    limit: int | None = None,
    **options: Any,
) -> Dataset:
    """Load a data set by name.

    | name          | directory                             | options                         |
    |---------------|---------------------------------------|---------------------------------|
    | "shapes"      | none: rendered                        | of `shapes.load`                |
    | "proteins"    | see `proteins.load`; none: generated  | of `proteins.load`              |
    | "arrays"      | an `.npz` file, see `arrays.read_npz` | none                            |
    | "folder"      | an ImageFolder or a `.zip` of one     | of `folder.read_folder`         |
    | "fruits360"   | see `fruits.read_fruits`              | of `fruits.read_fruits`         |
    | "bloodcells"  | see `bloodcells.read_bloodcells`      | of `bloodcells.read_bloodcells` |
    | "imagenet100" | TFDS's data_dir                       | of `tfds.read_tfds`             |
    | any other     | TFDS's data_dir                       | of `tfds.read_tfds`             |

    Grey images become RGB. "validation" is carved from "train" (`partition.carve`); "test" is the
    set's own. STL-10 also has "unlabeled": its unlabeled images and the training images.

    Args:
      name: see the table.
      directory: see the table.
      size: bring images to size × size pixels (short side scaled bilinearly with antialiasing, then
        the centre cut out); None keeps them, if they are all of one size. 32 for shapes by default.
      seed: which images "shapes" renders and which chains "proteins" generates; nothing else
        depends on it.
      validation: fraction of the training images held out; every class must keep two.
      on_device: True keeps the images on the device as uint8, False reads them batch by batch on
        the host, "auto" keeps them on the device up to 2 GiB. "shapes" and "proteins" are always on
        the device.
      corrupt: "error" stops at an image that cannot be decoded and names it; "skip" decodes every
        image once at the start, leaves out the bad ones and counts them in `Dataset.notes`.
      limit: at most so many images of each split, validation counted as train; a fixed choice.
      **options: arguments of the source.

    Raises:
      FileNotFoundError: if the data is not there.
      ValueError: for values or data that cannot be used, with what was found and the fix.
    """
    checks.arguments(name, size, on_device, corrupt, limit)
    if name == "shapes":
        if directory is not None or limit is not None:
            raise ValueError(
                f"shapes are rendered: they take no directory (found {directory}), and train_size "
                f"and test_size instead of limit (found {limit})."
            )
        checks.options(name, options, readers.OPTIONS[name])
        return shapes.load(size=size, seed=seed, validation=validation, **options)
    if name == "proteins":
        if size is not None or limit is not None:
            raise ValueError(
                f"proteins are point clouds: they take no size (found {size}) and no limit (found "
                f"{limit}), but the options points and, when generated, chains."
            )
        checks.options(name, options, readers.OPTIONS[name])
        return proteins.load(
            directory=directory, seed=seed, validation=validation, corrupt=corrupt, **options
        )
    splits, classes, notes = readers.read(name, directory, size, corrupt, options)
    splits = {key: _limited(split, limit) for key, split in splits.items()}
    return finish(
        name=name,
        splits=splits,
        classes=classes,
        validation=validation,
        on_device=on_device,
        notes=notes,
    )


def from_arrays(
    images: np.ndarray,
    labels: np.ndarray | None = None,
    test_images: np.ndarray | None = None,
    test_labels: np.ndarray | None = None,
    *,
    name: str = "arrays",
    size: int | None = None,
    classes: tuple[str, ...] = (),
    validation: float = 0.1,
    on_device: str | bool = "auto",
) -> Dataset:
    """A data set from NumPy arrays: uint8 images [N, H, W, 3], [N, H, W, 1] or [N, H, W].

    >>> import numpy as np
    >>> data = from_arrays(np.zeros((20, 8, 8, 3), np.uint8), np.arange(20) % 2)
    >>> data.image_shape, data.splits["validation"].size
    ((8, 8, 3), 2)

    Raises:
      ValueError: as `load`.
    """
    splits = {"train": arrays.make_split(images, labels, "images")}
    if test_images is not None:
        splits["test"] = arrays.make_split(test_images, test_labels, "test_images")
    if size is not None:
        splits = {key: arrays.resized(split, size) for key, split in splits.items()}
    return finish(
        name=name, splits=splits, classes=classes, validation=validation, on_device=on_device
    )


def finish(
    *,
    name: str,
    splits: Mapping[str, Split],
    classes: tuple[str, ...],
    validation: float,
    on_device: str | bool,
    notes: str = "",
) -> Dataset:
    """From the streamed splits of a source to a `Dataset`: check, carve, place, measure."""
    classes = checks.classes(name, splits, classes)
    if name == "fruits360":
        splits, note = fruits.hold_out_arcs(splits, validation)
        notes = "; ".join(text for text in (notes, note) if text)
    else:
        splits = partition.with_validation(splits, validation, _TOGETHER.get(name))
    checks.trainable(name, splits["train"], classes)
    if "unlabeled" in splits:
        splits["unlabeled"] = partition.concatenate(splits["unlabeled"], splits["train"])
    shape = _image_shape(splits)
    if on_device == "auto":
        total = sum(split.size for split in splits.values()) * int(np.prod(shape))
        on_device = total <= pipeline.RESIDENT_BYTES
    if on_device:
        splits = {key: pipeline.to_device(split) for key, split in splits.items()}
    mean, std = _STATISTICS.get(name) or pipeline.statistics(splits["train"])
    return Dataset(name, shape, classes, mean, std, splits, notes)


def _limited(split: Split, limit: int | None) -> Split:
    if limit is None or split.size <= limit:
        return split
    _, chosen = partition.held_out(split.size, limit / split.size)
    return partition.subset(split, chosen)


def _image_shape(splits: Mapping[str, Split]) -> tuple[int, int, int]:
    shapes_found = {}
    for key, split in splits.items():
        if split.load is not None:
            # Some of the images, evenly spaced: decoding all may take hours for large sets.
            some = np.unique(np.linspace(0, split.size - 1, 16).astype(np.int32))
            height, width, channels = split.load(some)[0].shape
            shapes_found[key] = (height, width, channels)
    if len(set(shapes_found.values())) > 1:
        raise ValueError(
            f"The splits differ in image shape: {shapes_found}. Give size (e.g. size=64) to bring "
            "all images to one size."
        )
    return shapes_found["train"]
