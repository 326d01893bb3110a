"""What a config must satisfy before anything is compiled or read."""

from collections.abc import Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from eqssl_jax.config import plain
from eqssl_jax.data.base import Dataset
from eqssl_jax.frame import is_frame
from eqssl_jax.measures import budgets, cards
from eqssl_jax.methods import Method, build_recipe, entries_of, find
from eqssl_jax.methods.card import LABELS
from eqssl_jax.names import is_outside
from eqssl_jax.settings import LARGEST
from eqssl_jax.training import monitor, trackers
from eqssl_jax.transforms import Transform


def check_batch(config: ConfigDict, built: Method, devices: int) -> None:
    """The batch must divide over the devices and over CARE's groups.

    Raises:
      ValueError: with the batch size, what it must be a multiple of, and the nearest that is.
    """
    batch = config.train.batch_size
    if batch % devices:
        raise ValueError(
            f"config.train.batch_size is {batch}, which {devices} devices cannot share equally: "
            f"use a multiple of {devices}, e.g. {_near(batch, devices)}."
        )
    for name, splits, images in compared_groups(config, built):
        if images > batch or images % splits or images // splits < 2:
            raise ValueError(
                f"config.train.batch_size is {batch}: {name} compares {images} of {batch} images "
                f"in config.objectives.{name}.splits = {splits} equal groups of two or more: use a "
                f"batch (and {name}.images, if set) that is a multiple of the splits, e.g. "
                f"{_near(batch, splits)}."
            )
    for name, spec in built.views.items():
        if (spec.images or 0) > batch:
            raise ValueError(
                f"config.train.batch_size is {batch}, but the view set {name} (of "
                f"config.objectives: {entries_of(built, name, config)}) is of {spec.images} "
                f"images: use a larger batch, or set `images` of that entry to 0 for all."
            )


def compared_groups(config: ConfigDict, built: Method) -> list[tuple[str, int, int]]:
    """(name, groups, images) of the objectives that compare images within groups."""
    return [
        (name, values.splits, built.views[spec.names()[0]].images or config.train.batch_size)
        for name, values in config.objectives.items()
        if "splits" in values and (spec := built.objectives.get(name, (0, None))[1])
    ]


def check_inputs(config: ConfigDict, dataset: Dataset) -> None:
    """Point clouds and images each have their own encoder and recipe.

    Raises:
      ValueError: naming the setting that belongs to the other kind of input.
    """
    kind = "point clouds" if dataset.clouds else "images"
    of_clouds = {
        "config.model.encoder": (config.model.encoder, "deepset"),
        "config.recipe.name": (config.recipe.name, "rotation3d"),
    }
    for setting, (chosen, needed) in of_clouds.items():
        if is_outside(chosen):  # whoever brings code knows what it takes
            continue
        if dataset.clouds and chosen != needed:
            raise ValueError(
                f"{dataset.name} is of {kind} and {setting} is {chosen!r}, which takes images: use "
                f"{needed!r}, as configs/proteins.py does."
            )
        if not dataset.clouds and chosen == needed:
            raise ValueError(
                f"{dataset.name} is of {kind} and {setting} is {chosen!r}, which takes point "
                f"clouds: choose another, or config.data.name = 'proteins'."
            )

    if is_outside(config.recipe.name):
        return
    if (dataset.show is not None) != (config.recipe.name == "solids"):
        raise ValueError(
            f"config.recipe.name is {config.recipe.name!r} and config.data.name is "
            f"{dataset.name!r}: the recipe solids turns the scenes of the data set solids, and no "
            f"other recipe does; use both or neither."
        )


def check_labels(config: ConfigDict, dataset: Dataset) -> None:
    """A method that learns from labels needs some, of two classes or more.

    Raises:
      ValueError: naming the split and what its labels are.
    """
    labels = dataset.splits[config.data.split].labels
    entries = config.objectives.items()
    name = next(key for key, values in entries if LABELS in find(values.method).needs)
    where = f"the {config.data.split} split of {dataset.name}"
    if labels is None or not dataset.classes:
        raise ValueError(
            f"config.objectives.{name} learns from labels, and {where} has none: give labels, or "
            f"choose a method that needs none."
        )
    if len(present := np.unique(labels)) < 2:
        raise ValueError(
            f"config.objectives.{name} learns to tell classes apart, and all {len(labels):,} "
            f"labels of {where} are {present[0]} ({dataset.classes[present[0]]}): give images of "
            f"two classes or more."
        )


def check_crops(dataset: Dataset, transforms: Mapping[str, Transform]) -> None:
    """Of whole images in frames, a crop comes first: nothing else knows where the picture ends.

    Raises:
      ValueError: naming the views whose recipe begins with something else.
    """
    if not is_frame(tuple(dataset.image_shape)):
        return
    frame = jax.ShapeDtypeStruct(tuple(dataset.image_shape), "float32")
    for name, transform in transforms.items():
        first = next(iter(transform.identity), "nothing")
        shape = frame.shape
        if first == "crop":
            shape = jax.eval_shape(transform.apply, transform.identity, frame).shape
        if is_frame(shape):
            raise ValueError(
                f"config.data.fit is 'frame', which only a crop can read, and the first part of "
                f"the recipe of {name} is {first}: set config.data.fit to 'center', or use a "
                f"recipe that begins with a crop, such as moco_imagenet."
            )


def check_measurements(config: ConfigDict) -> None:
    """What is measured during and after training must be possible, before hours are spent.

    Raises:
      ValueError: naming the setting.
    """
    monitor.chosen(config)
    trackers.find(config.log)
    evaluation = plain(config)["evaluation"]
    try:
        measured = cards(evaluation["measures"])
        chosen = budgets(evaluation["options"], evaluation["preset"], cards=measured)
    except ValueError as error:
        raise ValueError(f"config.evaluation does not fit: {error}") from None
    parts = (*build_recipe(config.recipe.name, config.recipe.options).identity, "all")
    if unknown := [part for part in getattr(chosen, "steering_parts", ()) if part not in parts]:
        raise ValueError(
            f"config.evaluation.options.steering_parts names {unknown}; choose from {list(parts)}."
        )
    if chosen.care_recipe:
        setting = "config.evaluation.options.care_recipe"
        build_recipe(chosen.care_recipe, {"size": 32}, setting, setting)  # size: of the views later


def check_budget(config: ConfigDict, steps: int) -> None:
    """There must be a step to train, and steps are counted in int32.

    Raises:
      ValueError: naming the setting.
    """
    if not 1 <= steps <= LARGEST:
        raise ValueError(
            f"config.train.epochs = {config.train.epochs} and config.train.steps = "
            f"{config.train.steps} give {steps:,} steps of training; ask for at least one and at "
            f"most {LARGEST:,}."
        )


def _near(batch: int, divisor: int) -> int:
    return max(round(batch / divisor), 2) * divisor
