"""Images held in NumPy arrays or in an `.npz` file."""

import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eqssl_jax.data import checks, pipeline
from eqssl_jax.data.base import Source, Split
from eqssl_jax.data.images import fit, to_rgb
from eqssl_jax.data.listing import printable

# The keys of a file: names of the images, and of the labels that belong to each.
_KEYS = {
    "train": {"images": "labels", "train_images": "train_labels"},
    "test": {"test_images": "test_labels"},
    "unlabeled": {"unlabeled_images": ""},
}
_NAMES = "class_names"
MAPPED = 2**30  # bytes: larger arrays of a file stay on disk, and are read where they are needed


def read_npz(directory: str | Path) -> Source:
    """The splits and class names of an `.npz` file.

    | key                                    | content                                           |
    |----------------------------------------|---------------------------------------------------|
    | `images` or `train_images`             | uint8 [N, H, W, C], C = 1 or 3, or [N, H, W]      |
    | `labels` or `train_labels`             | integers [N], classes 0 … K−1; optional           |
    | `test_images`, `test_labels`           | the same for the test split; optional             |
    | `unlabeled_images`                     | more training images; optional beside `images`    |
    | `class_names`                          | K strings (or bytes, UTF-8); optional             |

    Written with `np.savez("set.npz", images=..., labels=..., test_images=..., test_labels=...)`.
    Without labels, or with `unlabeled_images` only, all that needs labels is left out. Arrays of
    more than 1 GiB stay on disk: those of `np.savez` in the file itself, those of
    `np.savez_compressed` unpacked into a temporary file.

    Raises:
      FileNotFoundError: without such a file.
      ValueError: for missing keys, wrong dtype or rank, or lengths that differ.
    """
    path = Path(directory)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path}: the arrays data set reads one .npz file, given as directory."
        )
    content = plain_arrays(path, "images (and labels)")
    shapes = {key: value.shape for key, value in content.items()}
    if not content.keys() & {*_KEYS["train"], *_KEYS["unlabeled"]}:
        raise ValueError(
            f"{path} holds no training images: it needs images (or train_images), found {shapes}."
        )
    _check_pairs(content, shapes, str(path))
    splits = {}
    for name, choices in _KEYS.items():
        for images, labels in choices.items():
            if images in content:
                splits[name] = make_split(
                    content[images], content.get(labels), f"{path}[{images!r}]", images
                )
    if "train" not in splits:
        splits = {"train": splits.pop("unlabeled"), **splits}
    keys = {_NAMES} | {key for pairs in _KEYS.values() for pair in pairs.items() for key in pair}
    others = Counter({f"arrays called {key}": 1 for key in content if key not in keys})
    names = checks.texts(content.get(_NAMES, np.zeros(0, str)), f"{path}[{_NAMES!r}]")
    return Source(splits, names, left_out=others)


def plain_arrays(path: Path, wanted: str) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file, none of them made of Python objects.

    Raises:
      ValueError: for a file that is no such, with what was found and what is `wanted`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            strange = [name for name in archive.namelist() if not name.endswith(".npy")]
    except Exception:  # no zip at all: np.load says what it is
        strange = []
    if strange:
        raise ValueError(
            f"{path} is a zip of other files ({', '.join(map(printable, strange[:3]))}), not an "
            f".npz file of arrays with {wanted}: a zip of images is read by the data set folder."
        )
    with path.open("rb") as opened:
        if opened.read(6) == b"\x93NUMPY":
            raise ValueError(
                f"{path} is a single array (.npy), not an .npz file of arrays with {wanted}: write "
                f"them with np.savez."
            )
    try:
        # Opened here: np.load leaves a broken file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            large = {i.filename: i for i in file.zip.infolist() if i.file_size > MAPPED}
            return {
                key: _on_disk(file.zip, large[f"{key}.npy"], path)
                if f"{key}.npy" in large
                else file[key]
                for key in file.files
            }
    except Exception as error:  # numpy raises whatever zipfile, zlib or its own parser found
        raise ValueError(
            f"{path} cannot be read as an .npz file of plain arrays: {error}"
        ) from error


def _on_disk(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> np.ndarray:
    """One array of a file, mapped from disk."""
    if member.compress_type != zipfile.ZIP_STORED:
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if member.file_size > free:
            raise ValueError(
                f"{member.filename} has {member.file_size / 2**30:.1f} GiB unpacked, and "
                f"{tempfile.gettempdir()} has {free / 2**30:.1f} GiB left: write it with np.savez, "
                f"which is read in place, or set TMPDIR to a larger disk."
            )
        with archive.open(member) as packed, tempfile.TemporaryFile() as file:
            shutil.copyfileobj(packed, file)
            return _mapped(file, 0)  # it stays readable, and is gone when the array is
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)  # of the lengths of its name and extra field
        lengths = np.frombuffer(file.read(4), "<u2")
        return _mapped(file, member.header_offset + 30 + int(lengths.sum()))


def _mapped(file: Any, start: int) -> np.ndarray:
    """The array whose .npy lies at `start`; its values are read when they are used."""
    file.seek(start)
    major, _ = np.lib.format.read_magic(file)
    shape, column_major, dtype = (
        np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    )(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    order: Literal["C", "F"] = "F" if column_major else "C"
    return np.memmap(file, dtype, "r", file.tell(), shape, order)


def _check_pairs(
    content: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Labels belong to images of their own, and train and test have them alike."""
    present = [key for key in _KEYS["train"] if key in content]
    if len(present) > 1:
        raise ValueError(f"{where} holds {' and '.join(present)}: keep one of them.")
    pairs = {**_KEYS["train"], **_KEYS["test"]}
    lost = [
        labels for images, labels in pairs.items() if labels in content and images not in content
    ]
    if lost:
        raise ValueError(f"{where} needs both images and labels of {lost}, found {shapes}.")
    labelled = {images: labels in content for images, labels in pairs.items() if images in content}
    if len(set(labelled.values())) > 1:
        raise ValueError(
            f"{where} needs both test_images and test_labels, and labels for both of train and "
            f"test or for none, found {shapes}."
        )


def make_split(
    images: np.ndarray, labels: np.ndarray | None, where: str = "images", key: str = ""
) -> Split:
    """A streamed split over arrays held in memory; its examples are called `key` and their row.

    Raises:
      ValueError: naming `where`, as `checks.pictures` and `checks.class_labels`.
    """
    images = checks.pictures(images, where)
    if labels is not None:
        labels = checks.class_labels(labels, len(images), where)

    def load(indices: np.ndarray) -> np.ndarray:
        # Grey ones are repeated as they are read: the images may be larger than memory.
        return to_rgb(np.asarray(images[indices]))

    split = pipeline.streamed(load, size=len(images), labels=labels)
    return split._replace(names=lambda rows: [f"{key or where} {int(row)}" for row in rows])


def resized(split: Split, size: int) -> Split:
    """The split with every image brought to `size` × `size` pixels by `images.fit`."""
    load = split.load
    if load is None:
        raise ValueError("resized() takes a streamed split.")
    return split._replace(load=lambda wanted: np.stack([fit(x, size) for x in load(wanted)]))
