"""Recipes of ours: a role for every factor, proteins, and what all recipes begin with."""

import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.config import base
from eqssl_jax.presets.numbers import (
    COLOURS,
    DIGITS_OPTIMIZER,
    DIGITS_SIZES,
    DIGITS_TRAIN,
    DIGITS_VIEWS,
    FACTORED,
    FACTORS_VIEWS,
    PROTEIN_METHODS,
    SHAPES_SIZES,
)


def factored(dataset: str) -> ConfigDict:
    """A small SimCLR with a role for every factor: rotation, crop, and each part of the jitter.

    Ours, not a paper's: a resnet_tiny at 32 pixels that learns in minutes on a CPU. All roles are
    invariant; the configs change them.

    Raises:
      ValueError: for an unknown data set.
    """
    if dataset not in FACTORED:
        raise ValueError(
            f"The config variant {dataset!r} is unknown: choose one of {', '.join(FACTORED)}."
        )
    config = base()
    config.data.name = {"cub200": "caltech_birds2011"}.get(dataset, dataset)
    config.recipe.name, config.recipe.options = "factors", ConfigDict(FACTORS_VIEWS)
    flip = ("flip",) if dataset == "cifar10" else ()
    set_roles(config, ("rotate", "crop", *flip, *COLOURS))
    config.model.encoder, config.model.projector = "resnet_tiny", (256, 64)
    config.train.batch_size, config.train.epochs = 128, 60.0
    optimizer = config.optimizer
    optimizer.learning_rate, optimizer.schedule, optimizer.warmup_epochs = 2e-3, "cosine", 1.0
    config.objectives = objectives(simclr={})
    # The images of a ladder: a quarter of the batch costs as much as one more view of all of it.
    config.objectives.order.images = 32
    if dataset == "shapes":
        config.data.options = ConfigDict({**SHAPES_SIZES, "task": "outline", "outlines": 10})
        config.recipe.options.hue = 0.5  # any hue: what invariance must forget
    elif dataset == "digits":
        config.model.encoder = "conv_tiny"
        config.data.options = ConfigDict(DIGITS_SIZES)
        config.recipe.options.update(
            {**{k: DIGITS_VIEWS[k] for k in ("max_angle", "scale")}, "hue": 0.5}
        )
        config.objectives.info_nce.temperature = 0.2
        config.train.update(DIGITS_TRAIN)
        config.optimizer.update(DIGITS_OPTIMIZER)
    elif dataset == "cifar10":
        config.recipe.options.flip = 0.5
    elif dataset == "cub200":
        config.data.options = ConfigDict({"crop_boxes": False})
    elif dataset == "bloodcells":
        config.data.options = ConfigDict({"task": "white", "margin": 0.2})
    return config


def proteins(name: str) -> ConfigDict:
    """A method on protein chains, with a DeepSet; without a data directory on generated chains.

    Gupta et al. 2024, section 5.1: DeepSet to R^16, random rotations. Widths, temperature, λ,
    optimiser and budget are not known to us and are ours.

    Raises:
      ValueError: for an unknown method.
    """
    config = base()
    config.data.name = "proteins"
    config.data.options = ConfigDict(
        {"points": 128, "scale": 10.0, "shortest": 10, "test": 0.2, "chains": 320}
    )
    config.recipe.name, config.recipe.options = "rotation3d", ConfigDict({"max_angle": math.pi})
    set_roles(config, ("rotate",))
    config.model.encoder = "deepset"
    config.model.projector, config.model.projector_batch_norm = (64, 16), False
    cards = {"info_nce": "simclr", "alignment": "alignment", "uniformity": "uniformity"}
    entries = {key: methods.entry(card) for key, card in cards.items()}
    config.objectives = ConfigDict(entries | {"equivariance": methods.entry("care", splits=4)})
    config.train.batch_size, config.train.epochs = 64, 400.0
    config.train.save_every, config.train.log_every = 1000, 100
    optimizer = config.optimizer
    optimizer.learning_rate, optimizer.schedule, optimizer.warmup_epochs = 1e-3, "cosine", 1.0
    config.update(protein_overrides(name))
    return config


def protein_overrides(name: str) -> dict:
    """What a method on proteins sets: weights of all objectives, and the role of the rotation.

    Raises:
      ValueError: for an unknown method.
    """
    if name not in PROTEIN_METHODS:
        raise ValueError(
            f"The config variant {name!r} is unknown: choose one of {', '.join(PROTEIN_METHODS)}."
        )
    keys = ("info_nce", "alignment", "uniformity", "equivariance")
    weights = {key: {"weight": PROTEIN_METHODS[name].get(key, 0.0)} for key in keys}
    role = "rotational" if "equivariance" in PROTEIN_METHODS[name] else "invariant"
    return {"objectives": weights, "roles": {"rotate": role}}


def objectives(**bases: Mapping[str, Any]) -> ConfigDict:
    """Entries of base methods by card, and those of the roles."""
    entries = {
        "info_nce" if card == "simclr" else card: methods.entry(card, **changes)
        for card, changes in bases.items()
    }
    return ConfigDict(entries | methods.role_entries())


def set_roles(config: ConfigDict, parts: tuple[str, ...]) -> None:
    """Every part invariant, of weight 1 and shared as its role says: all of it can be changed."""
    config.roles = ConfigDict(dict.fromkeys(parts, "invariant"))
    config.role_weights = ConfigDict(dict.fromkeys(parts, 1.0))
    config.sharing = ConfigDict(dict.fromkeys(parts, "auto"))
