"""Genuine TFDS data sets on disk, written by TFDS's own ArrayRecord writer without TensorFlow."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

CLASSES = ("reddish", "bluish")


def encode(pixels: np.ndarray, encoding: str = "PNG") -> bytes:
    """The image file of uint8 pixels."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, encoding)
    return content.getvalue()


def photos(count: int, seed: int, side: int = 16) -> list[tuple[np.ndarray, int]]:
    """Noise images, red or blue by class."""
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(count):
        pixels = rng.integers(0, 160, (side, side, 3), np.uint8)
        pixels[..., 2 * (number % 2)] += 90
        pictures.append((pixels, number % 2))
    return pictures


def write(
    directory: Path,
    splits: dict[str, list[tuple[bytes, int]]],
    *,
    name: str = "tiny_photos",
    classes: tuple[str, ...] = CLASSES,
    version: str = "1.0.0",
    file_format: str = "array_record",
    extra: dict[str, str] | None = None,
    boxes: Sequence[tuple[float, float, float, float]] | None = None,
) -> Path:
    """Prepare splits of (encoded image, label) as the TFDS set `name` below `directory`.

    With `boxes`, image i has the feature bbox (ymin, xmin, ymax, xmax) of boxes[i].
    """
    fields = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=classes),
    } | {field: tfds.features.Text() for field in extra or {}}
    if boxes is not None:
        fields["bbox"] = tfds.features.BBoxFeature()

    class TinyPhotos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)

        def _info(self):
            features = tfds.features.FeaturesDict(fields)
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(items) for split, items in splits.items()}

        def _generate_examples(self, items):
            for number, (content, label) in enumerate(items):
                # A file object is stored as it is; pixels would be encoded by TensorFlow.
                boxes_of = {} if boxes is None else {"bbox": tfds.features.BBox(*boxes[number])}
                yield (
                    number,
                    {"image": io.BytesIO(content), "label": label, **(extra or {}), **boxes_of},
                )

    TinyPhotos.name = name
    tfds.disable_progress_bar()
    TinyPhotos(data_dir=str(directory), file_format=file_format).download_and_prepare()
    return directory


def prepare(directory: Path, *, train: int = 60, test: int = 20) -> Path:
    """A two-class set `tiny_photos` of 16 × 16 images; returns its data_dir."""
    return write(
        directory,
        {
            split: [(encode(pixels), label) for pixels, label in photos(count, seed)]
            for seed, (split, count) in enumerate({"train": train, "test": test}.items())
        },
    )
