"""Which reader and which options belong to the name of a data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eqssl_jax.data import arrays, bloodcells, checks, folder, fruits
from eqssl_jax.data.base import Split

# Where each source's directory points, and the options it knows.
_DIRECTORIES = {
    "arrays": "an .npz file",
    "folder": "an ImageFolder or a .zip of one",
    "fruits360": "the folder of manifest.csv and the images",
    "bloodcells": "the folder of the tables and photographs of BCCD",
}
_TFDS = ("train_split", "test_split", "crop_boxes", "margin")
OPTIONS: dict[str, tuple[str, ...]] = {
    "shapes": ("train_size", "test_size", "out_of_range_size", "task", "outlines"),
    "proteins": ("points", "scale", "shortest", "test", "chains"),
    "arrays": (),
    "folder": ("classes", "manifest", "factors"),
    "fruits360": ("varieties",),
    "bloodcells": ("task", "margin"),
}


def read(
    name: str, directory: str | Path | None, size: int | None, corrupt: str, options: dict[str, Any]
) -> tuple[Mapping[str, Split], tuple[str, ...], str]:
    """Streamed splits, class names and notes of the data set `name`; arguments of `data.load`.

    Raises:
      FileNotFoundError: if the data is not there.
      ValueError: without a directory that is needed, for unknown options, and as the reader.
    """
    if name in _DIRECTORIES and directory is None:
        raise ValueError(
            f"The data set {name!r} needs directory, the path of {_DIRECTORIES[name]}."
        )
    checks.options(name, options, OPTIONS.get(name, _TFDS))
    root = Path(str(directory))
    if name == "arrays":
        splits, classes = arrays.read_npz(root)
        if size is not None:
            splits = {key: arrays.resized(split, size) for key, split in splits.items()}
        return splits, classes, ""
    if name == "folder":
        return folder.read_folder(root, size=size, corrupt=corrupt, **options)
    if name == "fruits360":
        return fruits.read_fruits(root, size=size, corrupt=corrupt, **options)
    if name == "bloodcells":
        return bloodcells.read_bloodcells(root, size=size, corrupt=corrupt, **options)
    # tensorflow_datasets takes a second to import, and most runs do not need it.
    from eqssl_jax.data import tfds

    return tfds.read_tfds(name, directory, size=size, corrupt=corrupt, **options)
