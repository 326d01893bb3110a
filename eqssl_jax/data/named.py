"""What `--data` names: a source by its name, or the place of images."""

from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax import storage
from eqssl_jax.data import hugging_face, sources
from eqssl_jax.data.base import Dataset

SUFFIXES = {".npz": "arrays", ".zip": "folder"}


def check_text(data: Any) -> None:
    """Refuse what is neither a name nor a place, such as the images themselves.

    Raises:
      ValueError: with what was found.
    """
    if not isinstance(data, str | Path):
        shape = f" of shape {tuple(data.shape)}" if hasattr(data, "shape") else ""
        raise ValueError(
            f"The data are a {type(data).__name__}{shape}, where a folder, a .zip, an .npz or the "
            f"name of a data set is taken. Write arrays with np.savez('set.npz', images=…, "
            f"labels=…), uint8 [N, H, W, C], and give that file."
        )


def named(data: str | Path, directory: str = "") -> tuple[str, str | None]:
    """The name and directory for `sources.load` of what a command was given.

    | data                              | name            | directory       |
    |-----------------------------------|-----------------|-----------------|
    | a folder or .zip of images        | "folder"        | data            |
    | an .npz file of arrays            | "arrays"        | data            |
    | a source (shapes, fruits360, …)   | data            | the directory   |
    | hf:NAME or hf:PATH                | data            | the directory   |
    | any other: a TFDS name            | data            | its data_dir    |
    | NAME@DIRECTORY, where it is no path | NAME          | DIRECTORY       |

    >>> named("cifar10:3.0.2", "~/sets"), named("shapes")
    (('cifar10:3.0.2', '~/sets'), ('shapes', None))

    Raises:
      FileNotFoundError: for a path where nothing is.
      ValueError: for a file that is neither, a directory beside a path, and what is no text.
    """
    check_text(data)
    data = str(data)
    if not data:
        raise ValueError("--data is empty: give a folder, a .zip, an .npz, or a data set's name.")
    name, _, place = data.partition("@")
    if storage.is_address(place) and not storage.is_address(name) and not directory:
        return name, place
    path = storage.fetched(storage.path(data))
    if "@" in data and not path.exists() and not directory:
        data, _, directory = data.partition("@")
        path = Path(data)
    looks_like_path = "/" in data or path.suffix in SUFFIXES or data in (".", "..")
    if (
        data in sources.NAMES
        or data.startswith(hugging_face.PREFIX)
        or not (looks_like_path or path.exists())
    ):
        return data, directory or None
    if directory:
        raise ValueError(
            f"{data} is a place, so it takes no directory beside it (found {directory!r}); the "
            f"sources {', '.join(sources.NAMES)} and names of TFDS do."
        )
    if not path.exists():
        raise FileNotFoundError(f"There is no {data}: expected a folder, a .zip or an .npz.")
    if path.is_dir():
        return "folder", str(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{data} is no data set: expected a folder of images, a .zip of one, or an .npz of "
            f"arrays, found a file ending in {path.suffix or 'nothing'}."
        )
    return SUFFIXES[path.suffix], str(path)


def in_memory(data: Any) -> str | Path | Dataset:
    """A data set of an array of images, or of (images, labels); names and data sets as they are.

    Raises:
      ValueError: for whatever else, values outside [0, 1], and as `sources.from_arrays`.
    """
    if isinstance(data, str | Path | Dataset):
        return data
    pair = isinstance(data, tuple | list) and len(data) == 2
    images, labels = data if pair else (data, None)
    if not hasattr(images, "__array__") or np.ndim(images) != 4:
        shape = f" of shape {np.shape(images)}" if hasattr(images, "__array__") else ""
        raise ValueError(
            f"data is {'a pair with ' * pair}{type(images).__name__}{shape}; it must be a folder, "
            f"a .zip, an .npz, the name of a data set, an array of images [N, H, W, C], or a pair "
            f"(images, labels)."
        )
    images = np.asarray(images)
    if images.dtype.kind == "f":
        low, high = (float(bound(images)) for bound in (np.min, np.max)) if images.size else (0, 0)
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"data has values from {low:.3g} to {high:.3g}; images in floating point have "
                f"values in [0, 1], and bytes are uint8: undo any normalisation."
            )
        images = np.rint(255 * images.astype(np.float32)).astype(np.uint8)
    return sources.from_arrays(images, labels)
