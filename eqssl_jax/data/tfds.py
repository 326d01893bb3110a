"""Image sets of TensorFlow Datasets, read from ArrayRecord files without TensorFlow.

The only file that imports tensorflow_datasets, and only inside functions.
"""

import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from eqssl_jax import names
from eqssl_jax.data import boxes, checks, partition
from eqssl_jax.data.base import Source
from eqssl_jax.data.encoded import Encoded, all_decoded
from eqssl_jax.data.images import EXACT, Decoding

_UNLABELED = ("unlabelled", "unlabeled")
_CACHED_FROM = 200_000  # labels of larger splits take minutes to read, and are kept on disk
_READ = 1024  # records read at a time


def read_tfds(
    name: str,
    directory: str | Path | None,
    *,
    size: int | None,
    corrupt: str,
    views: int | None = None,
    decoding: Decoding = EXACT,
    train_split: str = "train",
    test_split: str | None = None,
    crop_boxes: bool = False,
    margin: float = 0.1,
) -> Source:
    """The splits of a TFDS set with the features `image` and `label`.

    Args:
      name: as TFDS names it ("cifar10", "cifar10:3.0.2", "cifar10_corrupted/fog_1"), or
        "imagenet100": the 100 classes of imagenet100.txt out of imagenet2012, numbered in the
        order of that file (Tian et al. 2020, arXiv:1906.05849).
      directory: TFDS's data_dir; None is ~/tensorflow_datasets, or $TFDS_DATA_DIR.
      size, corrupt, views, decoding: see `data.load`.
      train_split: TFDS split to train on. Only this one is used, also where a set has a validation
        split of its own (oxford_flowers102): ours is always carved from it.
      test_split: TFDS split to test on; None takes "test", else "validation" (imagenet2012), else
        holds out 10 % of each class of train by a fixed rule (`partition.carve_test`).
      crop_boxes: cut every image to the square around its feature `bbox` before it is resized
        (`boxes.square`); for sets of one box an image, such as caltech_birds2011.
      margin: added to the longer side of a box, as a fraction of it.

    Raises:
      FileNotFoundError: if the set is not prepared as ArrayRecord files, with how to prepare it.
      ValueError: for an unknown name or split, features that are not images with a class, and
        crop_boxes for a set without `bbox`. A box that is empty or leaves its image is named when
        the image is read, or left out with corrupt="skip".
    """
    builder = _builder(_OF.get(name, name), directory)
    chosen = _choose_splits(name, builder, train_split, test_split)
    classes = _class_names(name, builder)
    parts = {}
    for split, source_name in chosen.items():
        encoded = _encoded(builder, source_name, labeled=split != "unlabeled")
        if crop_boxes:
            encoded = _cropped(builder, source_name, encoded, margin)
        parts[split] = _hundred(encoded, classes) if name == "imagenet100" else encoded
    if name == "imagenet100":
        classes = _imagenet100()
    splits, left_out, sizes = all_decoded(
        parts, size=size, views=views, corrupt=corrupt, decoding=decoding
    )
    notes: tuple[str, ...] = ()
    if "test" not in splits:
        splits["train"], splits["test"] = partition.carve_test(splits["train"], names=classes)
        notes = ("test is 10 % of each class of train, held out by a fixed rule",)
    return Source(splits, classes, notes, left_out, sizes)


_OF = {"imagenet100": "imagenet2012"}  # what a data set is cut from


def folder_of(name: str) -> str:
    """The folder of a data set in data_dir.

    >>> folder_of("imagenet100"), folder_of("cifar10:3.0.2")
    ('imagenet2012', 'cifar10')
    """
    return _OF.get(name, name).partition(":")[0].partition("/")[0]


def _library(name: str) -> Any:
    try:
        import tensorflow_datasets
    except ImportError as error:
        from eqssl_jax.data.sources import NAMES

        raise ValueError(
            f"config.data.name is {name!r}, which is none of {', '.join(NAMES)} and so would be a "
            f"set of TensorFlow Datasets, which cannot be imported ({error}): pip install "
            f"'eqssl_jax[tfds]'; TensorFlow itself is not needed to read a prepared set."
        ) from None
    return tensorflow_datasets


def _builder(name: str, directory: str | Path | None) -> Any:
    tfds = _library(name)
    data_dir = None if directory is None else str(directory)
    where = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    advice = (
        "Prepare it once on any machine with TensorFlow, `pip install tensorflow "
        f"tensorflow-datasets && tfds build {name} --file_format=array_record --data_dir={where}`; "
        "reading it here needs no TensorFlow."
    )
    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(
            f"There is no data set {name!r}: not one of shapes, proteins, arrays, folder, "
            f"fruits360, bloodcells, imagenet100, not a name TensorFlow Datasets "
            f"{tfds.__version__} knows, and not prepared in {where}."
        ) from error
    except (ValueError, AssertionError) as error:  # the latter for a version that is not there
        lines = str(error).splitlines()
        if "builder name" in lines[0]:
            raise ValueError(
                f"config.data.name is {name!r}, which is no name of a data set: TensorFlow "
                f"Datasets has names like cifar10, cifar10:3.0.2 and cifar10_corrupted/fog_1."
            ) from error
        raise FileNotFoundError(
            f"{name} in {where} is not stored as ArrayRecord files ({lines[0]}). {advice}"
        ) from error
    if not builder.info.splits:
        raise FileNotFoundError(
            f"The data set {name} is not prepared: there is nothing in {builder.data_dir}. {advice}"
        )
    return builder


def _choose_splits(
    name: str, builder: Any, train_split: str, test_split: str | None
) -> dict[str, str]:
    present = sorted(builder.info.splits)
    if test_split is None:
        tests = [split for split in ("test", "validation") if split in present]
        test_split = tests[0] if tests else None
    chosen = {"train": train_split} | ({"test": test_split} if test_split else {})
    for split in chosen.values():
        if split not in present:
            raise ValueError(f"{name} has no split {split!r}, only {present}.")
    unlabeled = [split for split in _UNLABELED if split in present]
    return chosen | ({"unlabeled": unlabeled[0]} if unlabeled else {})


def _class_names(name: str, builder: Any) -> tuple[str, ...]:
    features = builder.info.features
    if "image" not in features or "label" not in features:
        raise ValueError(
            f"{name} is not an image classification set: it has the features {sorted(features)}, "
            "and image and label are needed."
        )
    return tuple(getattr(features["label"], "names", None) or ())


def _encoded(builder: Any, split: str, *, labeled: bool) -> Encoded:
    source = _source(builder, split)
    return Encoded(
        size=len(source),
        read=lambda index: source[index]["image"],
        where=lambda index: f"record {index} of {builder.info.full_name}, split {split},",
        name=lambda index: f"{split} record {index}",
        labels=_labels(builder, split, source) if labeled else None,
    )


def _source(builder: Any, split: str) -> Any:
    """Records by index, their images (and masks) still encoded.

    We decode ourselves: in parallel, once, and with errors that name the record.
    """
    import tensorflow_datasets as tfds

    features = builder.info.features
    pictures = [name for name in features if isinstance(features[name], tfds.features.Image)]
    decoders = {name: tfds.decode.SkipDecoding() for name in pictures}
    return builder.as_data_source(split=split, decoders=decoders)


def _cropped(builder: Any, split: str, encoded: Encoded, margin: float) -> Encoded:
    """The images cut to their boxes; TFDS stores (ymin, xmin, ymax, xmax) as fractions."""
    features = builder.info.features
    if "bbox" not in features:
        raise ValueError(
            f"crop_boxes=True needs the feature bbox, one box an image; {builder.info.full_name} "
            f"has {sorted(features)}."
        )
    source = _source(builder, split)

    def cut(index: int, pixels: np.ndarray) -> np.ndarray:
        ymin, xmin, ymax, xmax = (float(edge) for edge in source[index]["bbox"])
        height, width = pixels.shape[:2]
        box = boxes.Box(xmin * width, ymin * height, xmax * width, ymax * height)
        return boxes.cut(pixels, box, margin=margin, where=encoded.where(index))

    return encoded._replace(cut=cut)


def _labels(builder: Any, split: str, source: Any) -> Int[np.ndarray, " n"]:
    """Labels of a whole split; those of large ones are kept in ~/.cache/eqssl_jax/labels."""
    kept = None
    if len(source) >= _CACHED_FROM:
        place = hashlib.sha256(f"{builder.data_dir} {split} {len(source)}".encode()).hexdigest()
        cache = names.user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        kept = cache / "eqssl_jax" / "labels" / f"{place[:16]}.npy"
        if kept.exists():
            return np.load(kept)
    stored = np.empty(len(source), np.int64)
    for start in range(0, len(source), _READ):
        numbers = list(range(start, min(start + _READ, len(source))))
        stored[numbers] = [record["label"] for record in source.__getitems__(numbers)]
    labels = checks.class_labels(stored, len(source), f"{builder.info.full_name}, split {split}")
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, labels)
    return labels


def _imagenet100() -> tuple[str, ...]:
    """The 100 classes of ImageNet that contrastive papers train on when time is short."""
    return tuple(resources.files("eqssl_jax.data").joinpath("imagenet100.txt").read_text().split())


def _hundred(encoded: Encoded, classes: tuple[str, ...]) -> Encoded:
    """The images of ImageNet-100's classes, numbered in the order of its list.

    Raises:
      ValueError: if the classes lack some of the list.
    """
    wanted = _imagenet100()
    unknown = sorted(set(wanted) - set(classes))
    if unknown or encoded.labels is None:
        raise ValueError(f"imagenet2012 lacks the classes {unknown[:10]} of imagenet100.txt.")
    number = np.full(len(classes), -1, np.int32)
    number[[classes.index(name) for name in wanted]] = np.arange(len(wanted))
    labels = number[encoded.labels]
    chosen = np.flatnonzero(labels >= 0)
    return Encoded(
        size=len(chosen),
        read=lambda index: encoded.read(chosen[index]),
        where=lambda index: encoded.where(chosen[index]),
        name=lambda index: encoded.name(chosen[index]),
        labels=labels[chosen],
    )
