"""What every source must satisfy, whatever it was read from; refused before anything is compiled.

Readers of arrays, tables, structures and records bring values to the dtypes of this project through
`class_labels`, `finite`, `pictures` and `texts`, and nothing else casts; `splits` and `dataset`
check what a reader or a user's function returned.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.data.listing import printable
from eqssl_jax.data.options import RANGES
from eqssl_jax.settings import accept, shown

_MOST_LABELS = 2**31 - 1  # of int32
_NAMED = 10  # classes named in an error


def class_labels(values: Any, count: int, where: str) -> Int[np.ndarray, " n"]:
    """Labels as int32 [count], in range before they are cast.

    Raises:
      ValueError: naming `where`, for other lengths and dtypes, labels below 0 or beyond int32.
    """
    labels = np.asarray(values)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        advice = ""
        if labels.dtype.kind in "SU":
            advice = ": number them with np.unique(names, return_inverse=True)"
        elif labels.dtype.kind in "fb":
            advice = ": whole numbers are brought to it with labels.astype('int64')"
        raise ValueError(
            f"The labels of {where} must be {count} integers, one for each image, found shape "
            f"{labels.shape} of {labels.dtype}{advice}."
        )
    if count and labels.min() < 0:
        raise ValueError(f"The labels of {where} must count from 0, found {labels.min()}.")
    if count and labels.max() > _MOST_LABELS:
        raise ValueError(
            f"The labels of {where} must count from 0 to one less than the number of classes, "
            f"found {labels.max()}, which is beyond 32 bits."
        )
    return labels.astype(np.int32)


def finite(values: Any, where: str) -> Float[np.ndarray, "..."]:
    """Numbers as float32, all finite as such (1e39 is not).

    Raises:
      ValueError: naming `where` and the first value that is not.
    """
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "fiu":
        raise ValueError(f"{where} must be numbers, found {numbers.dtype}.")
    largest = float(np.finfo(np.float32).max)
    bad = ~(np.abs(numbers.astype(np.float64)) <= largest)  # true of NaN, too
    if bad.any():
        raise ValueError(
            f"{where} must be finite in float32 (up to {largest:.1e}), found {numbers[bad][0]}."
        )
    return numbers.astype(np.float32)


def pictures(values: Any, where: str) -> UInt8[np.ndarray, "n h w *c"]:
    """Images as they may be given in memory: uint8 [N, H, W, 1 or 3] or [N, H, W].

    Raises:
      ValueError: naming `where`, for other dtypes and shapes.
    """
    images = np.asarray(values)
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
    return images


def texts(values: Any, where: str, repeated: bool = False) -> tuple[str, ...]:
    """Names as text; bytes are read as UTF-8. No two are equal unless they may be `repeated`.

    Raises:
      ValueError: naming `where`, for what is no list of names, for bytes that are no UTF-8, for an
        empty name, and for one that appears twice.
    """
    names = np.asarray(values)
    if names.ndim != 1:
        raise ValueError(f"{where} must be a list of names, found shape {names.shape}.")
    try:
        decoded = tuple(
            printable(name.decode() if isinstance(name, bytes) else name) for name in names.tolist()
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} must be text in UTF-8: {error}.") from error
    if not all(decoded):
        raise ValueError(f"{where} has an empty name at {decoded.index('')}: name it.")
    twice = [] if repeated else [name for name, times in Counter(decoded).items() if times > 1]
    if twice:
        raise ValueError(f"{where} has {', '.join(twice[:_NAMED])} more than once.")
    return decoded


def classes(name: str, splits: Mapping[str, Split], classes: tuple[str, ...]) -> tuple[str, ...]:
    """The class names, "0" … "K−1" where there are none; every class must be in train and test.

    Takes time and memory for the examples, not for the largest label.

    Raises:
      ValueError: naming the labels out of range or the classes without an image.
    """
    train = splits["train"].labels
    if train is None:
        _no_other_labels(name, splits)
        return ()
    count = len(classes) or int(train.max()) + 1
    for key in ("train", "test"):
        labels = splits[key].labels if key in splits else None
        if labels is None:
            continue
        present = np.unique(labels)
        unknown = [int(label) for label in present[present >= count][:_NAMED]]
        if unknown:
            raise ValueError(
                f"The {key} split of {name} has the labels {unknown}, but there are only "
                f"{count} classes (0 to {count - 1})."
            )
        if len(present) < count:
            # Among so many labels, as many as are named are missing, if that many are.
            first = np.setdiff1d(np.arange(min(count, len(present) + _NAMED)), present)
            missing = [classes[label] if classes else str(label) for label in first[:_NAMED]]
            raise ValueError(
                f"The {key} split of {name} has no image of {count - len(present)} of its {count} "
                f"classes: {', '.join(missing)}. Every class needs an image in train and in test, "
                "and labels count from 0 without gaps."
            )
    return classes or tuple(str(label) for label in range(count))


def _no_other_labels(name: str, splits: Mapping[str, Split]) -> None:
    labelled = [key for key, split in splits.items() if split.labels is not None]
    if labelled:
        raise ValueError(
            f"The splits {labelled} of {name} have labels and train has none: give labels to all "
            "of them, or to none."
        )


def trainable(name: str, split: Split, classes: tuple[str, ...]) -> None:
    """Refuse a class with fewer than two training images, counted without validation.

    A probe cannot tell a class from the one image it is fitted on, and no other image of the class
    is left as a neighbour.

    Raises:
      ValueError: naming the classes.
    """
    if split.labels is None:
        return
    counts = np.bincount(split.labels, minlength=len(classes))
    few = [f"{classes[label]} ({counts[label]})" for label in np.flatnonzero(counts < 2)]
    if few:
        raise ValueError(
            f"{len(few)} of the {len(classes)} classes of {name} have fewer than 2 training images "
            f"after validation is held out: {', '.join(few[:10])}. Add images of them, leave these "
            "classes out, or lower validation (or raise limit)."
        )


def dataset(loaded: Dataset) -> Dataset:
    """The data set, if every split of it is a sound `Split`; the last check behind every reader.

    Raises:
      ValueError: naming the split and what is wrong with it.
    """
    if "train" not in loaded.splits:
        raise ValueError(f"{loaded.name} has no split train, only {sorted(loaded.splits)}.")
    for key, split in loaded.splits.items():
        where = f"the {key} split of {loaded.name}"
        if split.size < 1:
            raise ValueError(f"There is nothing in {where}.")
        if split.labels is not None and len(loaded.classes):
            labels = class_labels(split.labels, split.size, where)
            if labels.max() >= len(loaded.classes):
                raise ValueError(
                    f"The labels of {where} go to {labels.max()}, and there are "
                    f"{len(loaded.classes)} classes."
                )
        for factor, values in split.factors.items():
            found_shape = finite(values, f"The factor {factor} of {where}").shape
            if found_shape[:1] != (split.size,) or len(found_shape) > 2:
                raise ValueError(
                    f"The factor {factor} of {where} must hold {split.size} numbers, found shape "
                    f"{values.shape}."
                )
        if isinstance(split.pool, np.ndarray | jax.Array) and split.pool.dtype != np.uint8:
            finite(split.pool, f"The examples of {where}")
    finite(loaded.mean, f"The mean of {loaded.name}")
    finite(loaded.std, f"The standard deviation of {loaded.name}")
    return loaded


def arguments(
    name: str, size: int | None, on_device: str | bool, corrupt: str, limit: int | None
) -> None:
    """Refuse arguments of `data.load` that no data set can be loaded with."""
    if not name:
        raise ValueError('data.load() needs a name, e.g. "shapes" or "cifar10".')
    if size is not None and not 1 <= size <= 4096:
        raise ValueError(f"size must be at least 1 pixel and at most 4096, found {size}.")
    if on_device not in ("auto", True, False):
        raise ValueError(f'on_device must be "auto", True or False, found {on_device!r}.')
    if corrupt not in ("error", "skip"):
        raise ValueError(f'corrupt must be "error" or "skip", found {corrupt!r}.')
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 image (or None), found {limit}.")


def fit(name: str, fit: str, size: int | None, *, of_files: bool) -> None:
    """Refuse a way of bringing images to a size that the source does not have."""
    if fit not in ("center", "frame"):
        raise ValueError(f'fit (config.data.fit) must be "center" or "frame", found {fit!r}.')
    if fit == "frame" and not of_files:
        raise ValueError(
            f"fit (config.data.fit) is 'frame', which is for image files, of folder, fruits360 and "
            f"TFDS; {shown(name)} has images of one shape: set config.data.fit to 'center'."
        )
    if fit == "frame" and not size:
        raise ValueError(
            "fit (config.data.fit) is 'frame' and there is no size (config.data.size): give the "
            "short side of the pictures in pixels, e.g. 256."
        )


def scaled(name: str, scaled: bool, *, of_files: bool) -> None:
    """Refuse to decode at a part of the size what is not decoded."""
    if not isinstance(scaled, bool):
        raise ValueError(f"scaled_decoding must be True or False, found {scaled!r}.")
    if scaled and not of_files:
        raise ValueError(
            f"scaled_decoding (config.data.scaled_decoding) is for the JPEG files of folder, "
            f"fruits360, TFDS and the Hub; {shown(name)} is not read so: set it to False."
        )


def options(name: str, options: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Refuse options that the data set `name` does not have, and values out of their range."""
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(
            f"The data set {shown(name)} (config.data.name) has no options {unknown}; it knows "
            f"{list(allowed) or 'none'}."
        )
    for key, value in options.items():
        accept(f"config.data.options.{key}", value, RANGES[key])
