"""What a card sees: one encoder on one data set, and what is computed once for several cards."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Array, Float, Int, Key

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures.budget import Settings
from eqssl_jax.measures.features import Encode, EncoderFault, Features, Layers, extract
from eqssl_jax.transforms.base import Transform

T = TypeVar("T")
# Features of images [n, H], of the same images after a draw of its own each [n, H], and these draws
# (leaves [n, …]), to the embeddings after, predicted and before, [n, D] each.
Head = Callable[[np.ndarray, np.ndarray, Any], tuple[np.ndarray, np.ndarray, np.ndarray]]


class Subject(NamedTuple):
    """An encoder as measurements see it.

    Attributes:
      encode: images to features and embeddings, or to all its layers; compiled or of the host (see
        `features.outputs`).
      heads: what was trained beside it and can be asked, by the name of the objective.
      classifier: class scores [n, K] of features [n, H], of a run that learned from labels.
      rotates: whether it was trained to have draws rotate embeddings, with no head that says how.
    """

    encode: Encode | Layers
    heads: Mapping[str, Head] = {}
    classifier: Callable[[Any], Any] | None = None
    rotates: bool = False


class Conditions:
    """What is the same for all encoders of one evaluation, and a memory of shared work."""

    def __init__(
        self,
        subjects: Mapping[str, Subject],
        dataset: Dataset,
        transform: Transform,
        key: Key[Array, ""],
        settings: Settings,
        *,
        probe_transform: Transform | None = None,
        probe_split: Split | None = None,
    ):
        self.subjects, self.dataset, self.transform, self.key = subjects, dataset, transform, key
        self.settings = settings
        self.probe_transform, self.probe_split = probe_transform or transform, probe_split
        # Without a test split, validation stands in for all that needs no choice.
        self.held_out = "test" if "test" in dataset.splits else "validation"
        self._kept: dict[Any, Any] = {}

    @property
    def splits(self) -> Mapping[str, Split]:
        """The splits of the data set."""
        return self.dataset.splits

    @property
    def encoders(self) -> dict[str, Encode | Layers]:
        """The encoders by name."""
        return {name: subject.encode for name, subject in self.subjects.items()}

    def once(self, work: Callable[..., T], *arguments: Any) -> T:
        """`work(self, *arguments)`, computed at the first call; an error is kept, too.

        Raises:
          ValueError: as the work.
        """
        key = (work, arguments)
        if key not in self._kept:
            try:
                self._kept[key] = work(self, *arguments)
            except ValueError as error:
                self._kept[key] = error
        if isinstance(self._kept[key], ValueError):
            raise self._kept[key]
        return self._kept[key]

    def labels(self, split: str) -> Int[np.ndarray, " n"] | None:
        """Of all images of a split; None where it is missing or not labelled."""
        images = self.splits.get(split)
        return images.labels if images is not None and self.dataset.classes else None

    def limit(self, split: str) -> int | None:
        """How many images of a split are encoded; None: all."""
        return getattr(self.settings, f"{split}_images", None)


class Seen:
    """One encoder under the conditions of an evaluation."""

    def __init__(self, name: str, conditions: Conditions):
        self.name, self.conditions, self.subject = name, conditions, conditions.subjects[name]
        self.settings, self.splits = conditions.settings, conditions.splits
        self.held_out, self.dataset = conditions.held_out, conditions.dataset

    def shared(self, work: Callable[[Conditions], Mapping[str, T]]) -> T:
        """This encoder's part of work that is done once for all encoders."""
        return self.conditions.once(work)[self.name]

    def own(self, work: Callable[["Seen"], T]) -> T:
        """`work(self)`, computed once for all cards."""
        return self.conditions.once(_of_one, self.name, work)

    def rows(self, split: str) -> Features:
        """Features and embeddings of a fixed random subset of a split, encoded once.

        Raises:
          ValueError: for a split that the data set does not have.
          EncoderFault: for values that are not finite.
        """
        return self.conditions.once(_rows, self.name, split)

    def features(self, split: str) -> Float[np.ndarray, "n h"]:
        """Before the projector, as they come."""
        return self.rows(split).features

    def embeddings(self, split: str) -> Float[np.ndarray, "n d"]:
        """After the projector, brought to length 1."""
        return unit(self.rows(split).embeddings)

    def labels(self, split: str) -> Int[np.ndarray, " n"]:
        """Of the rows of `features(split)`.

        Raises:
          ValueError: where there are none.
        """
        labels = self.conditions.labels(split)
        if labels is None:
            raise ValueError(f"{self.dataset.name} has no labels of its {split} split")
        return np.asarray(labels)[self.rows(split).indices]


def unit(z: Float[np.ndarray, "... d"]) -> Float[np.ndarray, "... d"]:
    """Rows of length 1."""
    return z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)


def _of_one(conditions: Conditions, name: str, work: Callable[[Seen], T]) -> T:
    return work(Seen(name, conditions))


def _rows(conditions: Conditions, name: str, split: str) -> Features:
    if split not in conditions.splits:
        raise ValueError(f"{conditions.dataset.name} has no {split} split")
    encoded = extract(
        conditions.subjects[name].encode,
        conditions.splits[split],
        batch=conditions.settings.batch,
        limit=conditions.limit(split),
    )
    if not (np.isfinite(encoded.features).all() and np.isfinite(encoded.embeddings).all()):
        raise EncoderFault(
            f"The encoder {name!r} gives NaN or infinite values for images of the {split} split of "
            f"{conditions.dataset.name}: it diverged, or computes with too few digits. There is "
            f"nothing to measure; take an earlier checkpoint."
        )
    return encoded


def _labelled(seen: Seen) -> str:
    splits = ("train", seen.held_out)
    lacking = [split for split in splits if seen.conditions.labels(split) is None]
    if lacking:
        where = "" if len(lacking) == len(splits) else f" of its {lacking[0]} split"
        return f"{seen.dataset.name} has no labels{where}"
    labels = np.concatenate([seen.labels(split) for split in splits])
    return "" if len(np.unique(labels)) > 1 else "all images are of one class"


def _chosen_labels(seen: Seen) -> str:
    if any(seen.conditions.labels(split) is None for split in ("validation", "test")):
        return "a probe is chosen on labelled validation images and tested on others: no test split"
    return ""


def _tested_labels(seen: Seen) -> str:
    missing = any(seen.conditions.labels(split) is None for split in ("train", "test"))
    return f"{seen.dataset.name} has no labelled test split" if missing else ""


def _train(seen: Seen) -> str:
    return "" if "train" in seen.splits else f"{seen.dataset.name} has no train split"


def _test(seen: Seen) -> str:
    enough = {"train", "validation", "test"} <= set(seen.splits)
    return "" if enough else "it is fitted on train, chosen on validation and tested on test images"


# What a card may need: each gives the reason why it is missing, or "".
NEEDS: Mapping[str, Callable[[Seen], str]] = {
    "train": _train,
    "test": _test,
    "labels": _labelled,
    "labels to choose by": _chosen_labels,
    "labels to test": _tested_labels,
}
# Needs that are about the kind of input or method: a card that lacks one is not mentioned.
KINDS: Mapping[str, Callable[[Seen], bool]] = {
    "clouds": lambda seen: seen.dataset.clouds,
    "images": lambda seen: not seen.dataset.clouds,
    "classifier": lambda seen: seen.subject.classifier is not None,
    "rotates": lambda seen: seen.subject.rotates,
}
