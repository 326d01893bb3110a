"""What a run was trained on, kept in its workdir as data.json.

The statistics that a network normalises by belong to the model: they are those of the training
images when the run started, whatever happens to the data later.
"""

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from eqssl_jax.data import fingerprint
from eqssl_jax.data.base import Dataset
from eqssl_jax.training.workdir import write_json

FILE = "data.json"


class Provenance(NamedTuple):
    """The data of a run as it was at the start.

    Attributes:
      name: of the data set, as the config names it.
      input_shape: what the network takes: (height, width, channels) of a view, or (points, 4).
      stored_shape: (height, width, channels) of the images as they are read; equal to
        `input_shape` where the recipe does not change the size. (numbers,) of a description that
        images are made of.
      mean, std: of each channel, in [0, 1]; part of the model.
      classes: class names in label order; empty when unlabeled.
      splits: the fingerprint of every split by name, see `data.fingerprint`.
      earlier: fingerprints that these replaced, of data that the run was also trained on.
    """

    name: str
    input_shape: tuple[int, ...]
    stored_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = ()
    splits: Mapping[str, Any] = {}
    earlier: tuple[fingerprint.Fingerprint, ...] = ()

    @property
    def fingerprint(self) -> fingerprint.Fingerprint:
        """Of all splits, as `data.fingerprint` has it."""
        return {"name": self.name, "classes": list(self.classes), "splits": dict(self.splits)}

    @property
    def clouds(self) -> bool:
        """Whether the network takes point clouds [points, 4] instead of images."""
        return len(self.input_shape) == 2

    @property
    def shown(self) -> bool:
        """Whether examples were descriptions [S], such as scenes, that images are made of."""
        return len(self.stored_shape) == 1

    @property
    def channels(self) -> int:
        """How many channels the network takes."""
        return self.input_shape[-1]


def provenance(dataset: Dataset, stored_shape: tuple[int, ...]) -> Provenance:
    """What is to be kept of a data set, whose images are shown at the size of the views.

    Reads every image once, if all of them are at most 2 GiB.
    """
    return Provenance(
        name=dataset.name,
        input_shape=tuple(dataset.shown_shape),
        stored_shape=tuple(stored_shape),
        mean=tuple(float(value) for value in dataset.mean),
        std=tuple(float(value) for value in dataset.std),
        classes=tuple(dataset.classes),
        splits=fingerprint.fingerprint(dataset)["splits"],
    )


def with_statistics(dataset: Dataset, trained_on: Provenance | None) -> Dataset:
    """The data set with the mean and standard deviation that a network was trained with.

    Raises:
      ValueError: if the network takes inputs of another shape.
    """
    if trained_on is None:
        return dataset
    if tuple(dataset.shown_shape) != trained_on.input_shape:
        raise ValueError(
            f"The network was trained on inputs of shape {trained_on.input_shape}, but those of "
            f"{dataset.name} now have shape {tuple(dataset.shown_shape)}: give images of that "
            f"shape, or train in another --workdir."
        )
    return dataset._replace(mean=trained_on.mean, std=trained_on.std)


def changes(kept: Provenance, present: Provenance) -> str:
    """What differs between the data of training and those of now, in words; "" if nothing.

    Raises:
      ValueError: if the fingerprint that was kept cannot be read.
    """
    try:
        return fingerprint.differences(kept.fingerprint, present.fingerprint)
    except _UNREADABLE as error:
        raise ValueError(
            f"{FILE} of the run is damaged: its fingerprints cannot be read ({error!r})."
        ) from None


def seen_in_training(kept: Provenance, present: Provenance) -> str:
    """What to say of test images with the pixels of an image that the run was trained on.

    Those of all data it was trained on, now and earlier, count; where some of these cannot be told
    apart, the others give a least number. "" if there are none, and where nothing can be told of
    the only data there ever were (rendered, or of more than 2 GiB).

    Raises:
      ValueError: as `changes`.
    """
    if "test" not in present.splits:
        return ""
    present_data, stored = present.fingerprint, (kept.fingerprint, *kept.earlier)
    try:
        comparable = [
            data for data in stored if fingerprint.trained_on(data, present_data) is not None
        ]
        count = fingerprint.trained_on(comparable, present_data) or 0
        differing = fingerprint.differences(kept.fingerprint, present_data)
    except _UNREADABLE as error:
        raise ValueError(
            f"{FILE} of the run is damaged: its fingerprints cannot be read ({error!r})."
        ) from None
    unknown = len(stored) - len(comparable)
    if unknown and (kept.earlier or differing):
        return (
            f"Test images that were training images: at least {count:,}; of {unknown} of the "
            f"{len(stored)} data sets of training it cannot be told (rendered, or not read)."
        )
    return f"Test images that were training images: {count:,}." if count else ""


_UNREADABLE = (KeyError, TypeError, AttributeError, ValueError, IndexError, zlib.error)


def refuse_changes(where: Path, differing: str, changed: str) -> None:
    """Stop where the data are not those of training, unless config.data.changed is "accept".

    Raises:
      ValueError: with what differs.
    """
    if not differing or changed == "accept":
        return
    raise ValueError(
        f"The data are not those that {where} was trained on: {differing}. Restore them, or say "
        f"where they are now (--config.data.directory=...); --config.data.changed=accept takes "
        f"them as they are. The mean and standard deviation of the model stay in any case."
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
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): restore it from a copy. It holds the mean and standard "
            f"deviation that the network of this run normalises by, without which its checkpoints "
            f"mean nothing."
        ) from None


def kept_provenance(workdir: Path, present: Provenance, changed: str) -> Provenance:
    """`read_provenance`; of a run of an older version that of the present data, if accepted.

    Raises:
      ValueError: if data.json is damaged, or missing and config.data.changed is not "accept".
    """
    kept = read_provenance(workdir)
    if kept is None and changed != "accept":
        raise ValueError(
            f"{workdir} has no {FILE}, which holds the mean and standard deviation that its "
            f"network normalises by: restore it from a copy. If the run is of an older version "
            f"and its data are as they were, --config.data.changed=accept writes it from them."
        )
    if kept is None:
        print(f"{workdir / FILE} is written from the data as they are now.", flush=True)
        write_provenance(workdir, present)
    return kept or present


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
    earlier = values.get("earlier", [])
    if not (isinstance(earlier, list) and all(isinstance(entry, dict) for entry in earlier)):
        raise ValueError("earlier is no list of fingerprints")
    return Provenance(
        name=str(values["name"]),
        input_shape=shape,
        stored_shape=_sizes("stored_shape", values.get("stored_shape", list(shape))),
        mean=mean,
        std=std,
        classes=tuple(classes),
        splits=splits,
        earlier=tuple(earlier),
    )


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(type(size) is int and size > 0 for size in value)
    if not whole or not 1 <= len(value) <= 3:
        raise ValueError(f"{name} is {value!r}, not one to three positive whole numbers")
    return tuple(value)


def _numbers(name: str, value: Any, count: int) -> tuple[float, ...]:
    numbers = isinstance(value, list) and all(type(x) in (int, float) for x in value)
    if not numbers or len(value) != count or not all(math.isfinite(x) for x in value):
        raise ValueError(f"{name} is {value!r}, not {count} finite numbers")
    return tuple(float(x) for x in value)
