"""The one entry point to all data sets: find the images, cut the splits, place them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eqssl_jax import names, storage
from eqssl_jax.data import (
    arrays,
    bloodcells,
    checks,
    diebench,
    digits,
    folder,
    fruits,
    hugging_face,
    outside,
    partition,
    proteins,
    shapes,
    solids,
)
from eqssl_jax.data.assemble import assemble
from eqssl_jax.data.base import Dataset, Source, Split
from eqssl_jax.data.images import EXACT, Decoding


class Reader(NamedTuple):
    """A built-in source: its function, where its directory points, and the options it knows."""

    read: Callable[..., Source]
    directory: str
    options: tuple[str, ...]


_READERS = {
    "folder": Reader(
        folder.read_folder, "an ImageFolder or a .zip of one", ("classes", "manifest", "factors")
    ),
    "fruits360": Reader(
        fruits.read_fruits, "the folder of manifest.csv and the images", ("varieties",)
    ),
    "bloodcells": Reader(
        bloodcells.read_bloodcells,
        "the folder of the tables and photographs of BCCD",
        ("task", "margin"),
    ),
    "digits": Reader(digits.read_digits, "", ("train_size", "test_size")),
    "3diebench": Reader(
        diebench.read_diebench, "the folder of the synsets and index files", ("out_of_range",)
    ),
}
_RENDERED = {
    "shapes": ("train_size", "test_size", "out_of_range_size", "task", "outlines"),
    "solids": ("poses", "views_each", "train_objects", "test_objects"),
    "proteins": ("points", "scale", "shortest", "test", "chains"),
}
# Built-in names; any other is one of TFDS.
RENDERED = tuple(_RENDERED)  # without files: they have no reader
NAMES = (*RENDERED, *_READERS, "arrays")
_FRAMABLE = ("folder", "fruits360")  # beside TFDS: image files, each of its own aspect
_HUGGING_FACE = ("image", "label")
_TFDS = ("train_split", "test_split", "crop_boxes", "margin")


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
    views: int | None = None,
    fit: str = "center",
    scaled_decoding: bool = False,
    **options: Any,
) -> Dataset:
    """Load a data set by name.

    | name          | directory                             | options                         |
    |---------------|---------------------------------------|---------------------------------|
    | "digits"      | none: drawn                           | of `digits.read_digits`         |
    | "shapes"      | none: rendered                        | of `shapes.load`                |
    | "solids"      | none: rendered                        | of `solids.load`                |
    | "proteins"    | see `proteins.load`; none: generated  | of `proteins.load`              |
    | "arrays"      | an `.npz` file, see `arrays.read_npz` | none                            |
    | "folder"      | an ImageFolder or a `.zip` of one     | of `folder.read_folder`         |
    | "fruits360"   | see `fruits.read_fruits`              | of `fruits.read_fruits`         |
    | "bloodcells"  | see `bloodcells.read_bloodcells`      | of `bloodcells.read_bloodcells` |
    | "3diebench"   | see `diebench.read_diebench`          | of `diebench.read_diebench`     |
    | "imagenet100" | TFDS's data_dir                       | of `tfds.read_tfds`             |
    | "hf:NAME"     | where files of the Hub are kept, or   | of `hugging_face.               |
    |               | none                                  | read_hugging_face`              |
    | any other     | TFDS's data_dir                       | of `tfds.read_tfds`             |
    | "module:name" | see `outside.read_outside`            | given to your function          |

    Labels are optional. Grey images become RGB. "validation" is carved from "train"
    (`partition.carve`); "test" is the set's own. "unlabeled" (STL-10, and arrays that have it) is
    the unlabeled images and the training images.

    Args:
      name: see the table.
      directory: see the table.
      size: bring images to size × size pixels (short side scaled bilinearly with antialiasing, then
        the centre cut out); None keeps them, if they are all of one size. 32 for shapes and digits
        by default.
      views: with size=None, the size that files which differ in size, or have more than 512 × 512
        pixels, are brought to; None refuses images that differ in size.
      fit: "center" as `size` says; "frame" keeps the whole of an image of TFDS, "folder" or
        "fruits360": its short side becomes `size`, its long side at most 3/2 of that (beyond, the
        middle is kept), and it lies in a frame, uint8 [size, 3 size / 2, 4] (`eqssl_jax.frame`).
        Transformations that begin with a crop take it out.
      scaled_decoding: of image files, see `images.Decoding`.
      seed: which images "shapes" and "digits" draw and which chains "proteins" generates; nothing
        else depends on it.
      validation: fraction of the training images held out; every class must keep two.
      on_device: True keeps the images on the device as uint8, False reads them batch by batch on
        the host, "auto" keeps them on the device up to 2 GiB. "shapes" and "proteins" are always on
        the device.
      corrupt: "error" stops at an image that cannot be decoded and names it; "skip" decodes every
        image once at the start, leaves out the bad ones and counts them in `Dataset.left_out`.
      limit: at most so many images of each split, validation counted as train; a fixed choice.
      **options: arguments of the source.

    Raises:
      FileNotFoundError: if the data is not there.
      ValueError: for values or data that cannot be used, with what was found and the fix.
    """
    checks.arguments(name, size, on_device, corrupt, limit)
    hub = name.startswith(hugging_face.PREFIX)
    of_files = hub or name in _FRAMABLE or not (name in NAMES or names.is_outside(name))
    checks.fit(name, fit, size, of_files=of_files)
    checks.scaled(name, scaled_decoding, of_files=of_files)
    decoding = Decoding(fit == "frame", scaled_decoding)
    directory = None if directory is None else local(name, directory)
    if name in _RENDERED:
        checks.options(name, options, _RENDERED[name])
        return checks.dataset(
            _rendered(name, directory, size, seed, validation, corrupt, limit, options)
        )
    source = read(
        name, directory, size=size, corrupt=corrupt, views=views, decoding=decoding,
        seed=seed, options=options,
    )  # fmt: skip
    source = source._replace(
        splits={key: _limited(split, limit) for key, split in source.splits.items()}
    )
    return assemble(name=name, source=source, validation=validation, on_device=on_device)


def local(name: str, directory: str | Path) -> Path:
    """The directory on this machine; of TFDS's data_dir in a bucket only the data set is copied."""
    place = storage.path(directory)
    builtin = name in NAMES or names.is_outside(name) or name.startswith(hugging_face.PREFIX)
    if builtin or not storage.is_remote(place):
        return storage.fetched(place)
    from eqssl_jax.data import tfds

    return storage.fetched(place / tfds.folder_of(name)).parent


def _rendered(
    name: str,
    directory: str | Path | None,
    size: int | None,
    seed: int,
    validation: float,
    corrupt: str,
    limit: int | None,
    options: dict[str, Any],
) -> Dataset:
    """Shapes, solids and proteins, which always live on the device."""
    if name in ("shapes", "solids"):
        more = "train_size and test_size" if name == "shapes" else "train_objects and test_objects"
        if directory is not None or limit is not None:
            raise ValueError(
                f"{name} are rendered: they take no directory (found {directory}), and {more} "
                f"instead of limit (found {limit})."
            )
        rendered = shapes.load if name == "shapes" else solids.load
        return rendered(size=size, seed=seed, validation=validation, **options)
    if size is not None or limit is not None:
        raise ValueError(
            f"proteins are point clouds: they take no size (found {size}) and no limit (found "
            f"{limit}), but the options points and, when generated, chains."
        )
    return proteins.load(
        directory=directory, seed=seed, validation=validation, corrupt=corrupt, **options
    )


def read(
    name: str,
    directory: str | Path | None,
    *,
    size: int | None,
    corrupt: str,
    views: int | None = None,
    decoding: Decoding = EXACT,
    seed: int = 0,
    options: Mapping[str, Any] = {},
) -> Source:
    """What the reader of a name (neither shapes nor proteins) finds; arguments as of `load`.

    Raises:
      FileNotFoundError: if the data is not there.
      ValueError: without a directory that is needed, for unknown options, and as the reader.
    """
    reading: dict[str, Any] = {"size": size, "corrupt": corrupt, "views": views}
    reading |= {} if decoding == EXACT else {"decoding": decoding}  # of image files alone
    if name.startswith(hugging_face.PREFIX):
        checks.options(name, options, _HUGGING_FACE)
        return hugging_face.read_hugging_face(name, directory, **reading, **options)
    if names.is_outside(name):
        return _sized(outside.read_outside(name, directory, seed, options), size)
    reader = _READERS.get(name)
    where = "an .npz file" if name == "arrays" else reader.directory if reader else ""
    if where and directory is None:
        raise ValueError(f"The data set {name!r} needs directory, the path of {where}.")
    if name == "arrays":
        checks.options(name, options, ())
        return _sized(arrays.read_npz(Path(str(directory))), size)
    if reader is not None:
        checks.options(name, options, reader.options)
        reading |= {} if where else {"seed": seed}
        return reader.read(Path(directory) if directory else None, **reading, **options)
    checks.options(name, options, _TFDS)
    # tensorflow_datasets takes a second to import, and most runs do not need it.
    from eqssl_jax.data import tfds

    return tfds.read_tfds(name, directory, **reading, **options)


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
    source = _sized(Source(splits, checks.texts(classes, "classes")), size)
    return assemble(name=name, source=source, validation=validation, on_device=on_device)


def _limited(split: Split, limit: int | None) -> Split:
    if limit is None or split.size <= limit:
        return split
    _, chosen = partition.held_out(split.size, limit / split.size)
    return partition.subset(split, chosen)


def _sized(source: Source, size: int | None) -> Source:
    """A source of arrays, its images brought to a size."""
    if size is None:
        return source
    splits = {key: arrays.resized(split, size) for key, split in source.splits.items()}
    return source._replace(splits=splits)
