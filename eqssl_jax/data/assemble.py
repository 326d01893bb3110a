"""From what a reader read to a data set: checked, split, placed, with its statistics."""

from collections.abc import Mapping

import numpy as np

from eqssl_jax.data import checks, digits, fruits, partition, pipeline
from eqssl_jax.data.base import Dataset, Source, Split

# Published per-channel statistics of the training images.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


_STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "stl10": ((0.4406, 0.4273, 0.3858), (0.2312, 0.2265, 0.2237)),
    "3diebench": ((0.5016, 0.5037, 0.5060), (0.1030, 0.0999, 0.0969)),
    "imagenet2012": _IMAGENET,
    "imagenet100": _IMAGENET,
    "digits": ((0.365,) * 3, (0.174,) * 3),  # whatever the seed
}


# A factor whose examples of one value are too alike to be in both train and validation.
_TOGETHER = {"bloodcells": "photograph", "3diebench": "object"}


def assemble(*, name: str, source: Source, validation: float, on_device: str | bool) -> Dataset:
    """From what a reader found to a `Dataset`: check, carve, place, measure."""
    classes = checks.classes(name, source.splits, source.classes)
    notes = "; ".join(source.notes)
    if name == "fruits360":
        splits, note = fruits.hold_out_arcs(source.splits, validation)
        notes = "; ".join(text for text in (notes, note) if text)
    elif name == "digits":
        splits = digits.hold_out(source.splits, validation)
    else:
        splits = partition.with_validation(source.splits, validation, _TOGETHER.get(name))
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
    return checks.dataset(
        Dataset(name, shape, classes, mean, std, splits, notes, source.left_out, source.sizes)
    )


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
            f"The splits differ in image shape: {shapes_found}. Give size (config.data.size, e.g. "
            "64) to bring all images to one size."
        )
    return shapes_found["train"]
