"""Images held in NumPy arrays or in an `.npz` file."""

from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax.data import pipeline
from eqssl_jax.data.base import Split
from eqssl_jax.data.images import fit, to_rgb

# The keys of a file, first match first.
_KEYS = {
    "train": (("images", "labels"), ("train_images", "train_labels")),
    "test": (("test_images", "test_labels"),),
    "unlabeled": (("unlabeled_images", ""),),
}


def read_npz(directory: str | Path) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Streamed splits and class names of an `.npz` file.

    | key                                    | content                                           |
    |----------------------------------------|---------------------------------------------------|
    | `images` or `train_images`             | uint8 [N, H, W, C], C = 1 or 3, or [N, H, W]      |
    | `labels` or `train_labels`             | integers [N], classes 0 … K−1                     |
    | `test_images`, `test_labels`           | the same for the test split; optional             |
    | `unlabeled_images`                     | more training images; optional                    |
    | `class_names`                          | K strings; optional                               |

    Written with `np.savez("set.npz", images=..., labels=..., test_images=..., test_labels=...)`.

    Raises:
      FileNotFoundError: without such a file.
      ValueError: for missing keys, wrong dtype or rank, or lengths that differ.
    """
    path = Path(directory)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path}: the arrays data set reads one .npz file, given as directory."
        )
    try:
        # Opened here: np.load leaves a broken file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            content = {key: file[key] for key in file.files}
    except Exception as error:  # numpy raises whatever zipfile, zlib or its own parser found
        raise ValueError(
            f"{path} cannot be read as an .npz file of plain arrays: {error}"
        ) from error
    return _from_keys(content, str(path))


def _from_keys(content: dict[str, np.ndarray], where: str) -> tuple[dict[str, Split], Any]:
    splits = {}
    for name, choices in _KEYS.items():
        for images, labels in choices:
            if images in content and (not labels or labels in content):
                splits[name] = make_split(
                    content[images], content[labels] if labels else None, f"{where}[{images!r}]"
                )
                break
    shapes = {key: value.shape for key, value in content.items()}
    if "train" not in splits:
        raise ValueError(
            f"{where} holds no training images: it needs images and labels (or train_images and "
            f"train_labels), found {shapes}."
        )
    if "test" not in splits and {"test_images", "test_labels"} & set(content):
        raise ValueError(f"{where} needs both test_images and test_labels, found {shapes}.")
    names = tuple(str(name) for name in content.get("class_names", ()))
    return splits, names


def make_split(images: np.ndarray, labels: np.ndarray | None, where: str = "images") -> Split:
    """A streamed split over arrays held in memory.

    Raises:
      ValueError: naming `where`, for images that are not uint8 [N, H, W, 1 or 3] or [N, H, W], and
        labels that are not N integers ≥ 0.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(
            f"{where} must be uint8 in 0 … 255, found {images.dtype}: convert images in [0, 1] "
            "with (images * 255).round().astype('uint8')."
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise ValueError(
            f"{where} must have the shape [N, H, W, 3], [N, H, W, 1] or [N, H, W], found "
            f"{images.shape}."
        )
    if not images.size:
        raise ValueError(f"{where} is empty, of shape {images.shape}.")
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise ValueError(
                f"The labels of {where} must be {len(images)} integers, one for each image, found "
                f"shape {labels.shape} of {labels.dtype}."
            )
        if labels.min() < 0:
            raise ValueError(f"The labels of {where} must count from 0, found {labels.min()}.")
        labels = labels.astype(np.int32)
    rgb = to_rgb(images)
    key = where[where.rfind("[") + 1 :].strip("]'")
    split = pipeline.streamed(lambda indices: rgb[indices], size=len(rgb), labels=labels)
    return split._replace(names=lambda indices: [f"{key} {index}" for index in indices])


def resized(split: Split, size: int) -> Split:
    """The split with every image brought to `size` × `size` pixels by `images.fit`."""
    load = split.load
    if load is None:
        raise ValueError("resized() takes a streamed split.")
    return split._replace(load=lambda wanted: np.stack([fit(x, size) for x in load(wanted)]))
