"""What a run was trained on, kept in its workdir as data.json.

The statistics that a network normalises by belong to the model: they are those of the training
images when the run started, whatever happens to the data later.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from eqssl_jax.data.base import Dataset
from eqssl_jax.training.workdir import write_json

FILE = "data.json"


class Provenance(NamedTuple):
    """The data of a run as it was at the start.

    Attributes:
      name: of the data set, as the config names it.
      input_shape: what the network takes: (height, width, channels) of a view, or (points, 4).
      stored_shape: (height, width, channels) of the images as they are read; equal to
        `input_shape` where the recipe does not change the size.
      mean, std: of each channel, in [0, 1]; part of the model.
      classes: class names in label order; empty when unlabeled.
      splits: the fingerprint of every split by name.
    """

    name: str
    input_shape: tuple[int, ...]
    stored_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = ()
    splits: Mapping[str, Any] = {}

    @property
    def clouds(self) -> bool:
        """Whether the network takes point clouds [points, 4] instead of images."""
        return len(self.input_shape) == 2

    @property
    def channels(self) -> int:
        """How many channels the network takes."""
        return self.input_shape[-1]


def provenance(dataset: Dataset, stored_shape: tuple[int, ...]) -> Provenance:
    """What is to be kept of a data set, whose images are shown at the size of the views."""
    return Provenance(
        name=dataset.name,
        input_shape=tuple(dataset.image_shape),
        stored_shape=tuple(stored_shape),
        mean=tuple(float(value) for value in dataset.mean),
        std=tuple(float(value) for value in dataset.std),
        classes=tuple(dataset.classes),
        splits={name: {"count": split.size} for name, split in dataset.splits.items()},
    )


def write_provenance(workdir: Path, value: Provenance) -> None:
    write_json(workdir / FILE, value._asdict())


def read_provenance(workdir: Path) -> Provenance | None:
    """What the run in `workdir` was trained on; None without data.json.

    Raises:
      ValueError: if the file is damaged.
    """
    path = workdir / FILE
    if not path.exists():
        return None
    try:
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): restore it from a copy. It holds the mean and standard "
            f"deviation that the network of this run normalises by, without which its checkpoints "
            f"mean nothing."
        ) from None


def _parsed(values: Any) -> Provenance:
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    missing = [name for name in ("name", "input_shape", "mean", "std") if name not in values]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    shape = _sizes("input_shape", values["input_shape"])
    mean, std = (_numbers(name, values[name], shape[-1]) for name in ("mean", "std"))
    if min(std) <= 0:
        raise ValueError(f"std is {list(std)}, which must be positive")
    classes = values.get("classes", [])
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise ValueError("classes is no list of names")
    splits = values.get("splits", {})
    if not (isinstance(splits, dict) and all(isinstance(split, dict) for split in splits.values())):
        raise ValueError("splits is no object of fingerprints")
    return Provenance(
        name=str(values["name"]),
        input_shape=shape,
        stored_shape=_sizes("stored_shape", values.get("stored_shape", list(shape))),
        mean=mean,
        std=std,
        classes=tuple(classes),
        splits=splits,
    )


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(type(size) is int and size > 0 for size in value)
    if not whole or len(value) not in (2, 3):
        raise ValueError(f"{name} is {value!r}, not two or three positive whole numbers")
    return tuple(value)


def _numbers(name: str, value: Any, count: int) -> tuple[float, ...]:
    numbers = isinstance(value, list) and all(type(x) in (int, float) for x in value)
    if not numbers or len(value) != count or not all(math.isfinite(x) for x in value):
        raise ValueError(f"{name} is {value!r}, not {count} finite numbers")
    return tuple(float(x) for x in value)
