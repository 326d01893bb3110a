"""A data set in words, for whoever starts a run: what was found, and what was left out."""

from collections.abc import Sequence

import numpy as np

from eqssl_jax.data.base import Dataset
from eqssl_jax.frame import is_frame

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
