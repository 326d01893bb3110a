"""The data of a config, and the images as its views show them."""

import functools
import json
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict

from eqssl_jax import data, methods
from eqssl_jax.config import copied, plain
from eqssl_jax.data.base import Dataset
from eqssl_jax.data.options import RANGES
from eqssl_jax.names import check_free, user_path
from eqssl_jax.settings import accept, also, whole
from eqssl_jax.training import initial
from eqssl_jax.training.checks import check_crops
from eqssl_jax.transforms import Transform


def with_absolute_paths(config: ConfigDict) -> ConfigDict:
    """The config with the places it names absolute: a run may go on from another folder."""
    changed = copied(config)
    changed.data.directory = _absolute(config.data.directory)
    for group in initial.SETTINGS:
        changed[group].init_from = _absolute(config[group].init_from)
    return changed.lock()


def _absolute(place: str) -> str:
    return str(user_path(place).absolute()) if place and "://" not in place else place


_READING = ("workers", "buffered", "changed")  # settings that change nothing in a data set


def load_dataset(config: ConfigDict) -> Dataset:
    """The data set of config.data; runs that share it share the arrays."""
    settings = plain(config)["data"]
    settings = {key: settings[key] for key in settings if key not in _READING}
    _check_options(settings["options"])
    settings["views"] = _view_side(config)
    return _dataset(json.dumps(settings, sort_keys=True))


_LIMIT = also(whole(None, "images of each split at most", low=1), None, "all")


def _check_options(options: dict[str, Any]) -> None:
    """Options are of the source; what all sources take alike are settings of their own."""
    named = {key: value for key, value in options.items() if key != "limit"}
    advice = (
        f"options of sources are limit, {', '.join(RANGES)}, each of some; what all sources have "
        f"in common is set as config.data.NAME"
    )
    check_free(named, data.load, start="config.data.options.", advice=advice)
    if "limit" in options:
        accept("config.data.options.limit", options["limit"], _LIMIT)


def _view_side(config: ConfigDict) -> int | None:
    """The side of square views whatever the size of the images, as crops make them; else None."""
    if config.data.name in ("shapes", "solids", "proteins"):
        return None
    recipe = methods.build_recipe(config.recipe.name, config.recipe.options)
    image = jax.ShapeDtypeStruct((67, 71, 3), "float32")
    height, width, _ = jax.eval_shape(functools.partial(recipe.apply, recipe.identity), image).shape
    return height if height == width else None


@functools.lru_cache(maxsize=1)
def _dataset(settings: str) -> Dataset:
    chosen = json.loads(settings)
    on_device: dict[str, str | bool] = {"auto": "auto", "always": True, "never": False}
    return data.load(
        name=chosen["name"],
        directory=chosen["directory"] or None,
        size=chosen["size"] or None,
        seed=chosen["seed"],
        validation=chosen["validation"],
        on_device=on_device[chosen["on_device"]],
        corrupt=chosen["corrupt"],
        views=chosen["views"],
        fit=chosen["fit"],
        scaled_decoding=chosen["scaled_decoding"],
        **chosen["options"],
    )


def at_view_size(dataset: Dataset, config: ConfigDict) -> Dataset:
    """The data set as the recipe's identity shows it, if views have another size than images.

    An encoder is evaluated at the resolution it was trained at: on whole images, resized, or as
    the identity of config.evaluation.recipe shows them (ImageNet's centre crop).
    """
    name, options = _seen_recipe(config)
    recipe = methods.build_recipe(name, options, "config.evaluation.recipe")
    check_crops(dataset, {"evaluation": recipe})
    image = jax.ShapeDtypeStruct(dataset.image_shape, "float32")
    shape = jax.eval_shape(functools.partial(recipe.apply, recipe.identity), image).shape
    if shape == tuple(dataset.image_shape):
        return dataset
    seen = name, json.dumps(options, sort_keys=True)
    splits = {
        split_name: split._replace(read=_resized(split.read, *seen))
        for split_name, split in dataset.splits.items()
    }
    return dataset._replace(image_shape=shape, splits=splits)


# Cached, so that equal readers are the same functions and compiled code is found again.
@functools.lru_cache(maxsize=32)
def _resized(
    read: Callable[[PyTree, Array], Array], recipe: str, options: str
) -> Callable[[PyTree, Array], Array]:
    transform = methods.build_recipe(recipe, json.loads(options))

    def resized(pool: PyTree, inputs: Array) -> Array:
        return jax.vmap(functools.partial(transform.apply, transform.identity))(read(pool, inputs))

    return resized


def measured_recipe(config: ConfigDict) -> Transform:
    """The recipe of config.evaluation if it names one, else that of an objective (CARE's views)
    that has one of its own, else that of all views."""
    for values in config.objectives.values():
        if values.get("recipe") and not config.evaluation.recipe:
            options = methods.at_same_size(values.recipe, values.recipe_options, config)
            return methods.build_recipe(values.recipe, options)
    return methods.build_recipe(*_seen_recipe(config), "config.evaluation.recipe")


def _seen_recipe(config: ConfigDict) -> tuple[str, dict[str, Any]]:
    """Name and options of the recipe whose identity evaluation sees images through."""
    options = plain(config)["recipe"]["options"]
    if not config.evaluation.recipe:
        return config.recipe.name, options
    return config.evaluation.recipe, {"size": options["size"]} if "size" in options else {}
