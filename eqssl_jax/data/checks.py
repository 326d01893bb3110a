"""Arguments and labels that cannot work, refused before anything is read or compiled."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from eqssl_jax.data.base import Split
from eqssl_jax.data.options import RANGES
from eqssl_jax.settings import accept, shown


def classes(name: str, splits: Mapping[str, Split], classes: tuple[str, ...]) -> tuple[str, ...]:
    """The class names, "0" … "K−1" where there are none; every class must be in train and test.

    Raises:
      ValueError: naming the labels out of range or the classes without an image.
    """
    train = splits["train"].labels
    if train is None:
        return classes
    count = len(classes) or int(train.max()) + 1
    classes = classes or tuple(str(label) for label in range(count))
    for key in ("train", "test"):
        labels = splits[key].labels if key in splits else None
        if labels is None:
            continue
        present = np.unique(labels)
        unknown = [int(label) for label in present if label >= count]
        if unknown:
            raise ValueError(
                f"The {key} split of {name} has the labels {unknown[:10]}, but there are only "
                f"{count} classes (0 to {count - 1})."
            )
        missing = [classes[label] for label in range(count) if label not in present]
        if missing:
            raise ValueError(
                f"The {key} split of {name} has no image of {len(missing)} of its {count} classes: "
                f"{', '.join(missing[:10])}. Every class needs an image in train and in test."
            )
    return classes


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


def arguments(
    name: str, size: int | None, on_device: str | bool, corrupt: str, limit: int | None
) -> None:
    """Refuse arguments of `data.load` that no data set can be loaded with."""
    if not name:
        raise ValueError('data.load() needs a name, e.g. "shapes" or "cifar10".')
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1 pixel (or None), found {size}.")
    if on_device not in ("auto", True, False):
        raise ValueError(f'on_device must be "auto", True or False, found {on_device!r}.')
    if corrupt not in ("error", "skip"):
        raise ValueError(f'corrupt must be "error" or "skip", found {corrupt!r}.')
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 image (or None), found {limit}.")


def options(name: str, options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse options that the data set `name` does not have, and values out of their range."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"The data set {shown(name)} (config.data.name) has no options {unknown}; it knows "
            f"{list(known) or 'none'}."
        )
    for key, value in options.items():
        accept(f"config.data.options.{key}", value, RANGES[key])
