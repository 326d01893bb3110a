"""Ours: a small SimCLR whose recipe has a part, and so a role, for every factor."""

import math

from ml_collections import ConfigDict

from eqssl_jax.config import base
from eqssl_jax.presets.care import SHAPES_SIZES, objectives
from eqssl_jax.presets.variants import set_roles

# Sets for recipes with a role for every factor (`factored`).
FACTORED = ("shapes", "cifar10", "fruits360", "bloodcells", "cub200", "folder", "arrays")

# Every factor a part of its own. Corners are mirrored, not black: black ones show the angle.
FACTORS_VIEWS = {
    "size": 32,
    "max_angle": math.pi,
    "fill": "reflect",
    "scale": (0.3, 1.0),
    "ratio": (3 / 4, 4 / 3),
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
}
COLOURS = ("brightness", "contrast", "saturation", "hue")


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
    set_roles(config, ("rotate", "crop", *COLOURS))
    config.model.encoder, config.model.projector = "resnet_tiny", (256, 64)
    config.train.batch_size = 128
    config.train.epochs = 60.0
    optimizer = config.optimizer
    optimizer.learning_rate, optimizer.schedule, optimizer.warmup_epochs = 2e-3, "cosine", 1.0
    config.objectives = objectives(simclr={})
    # The images of a ladder: a quarter of the batch costs as much as one more view of all of it.
    config.objectives.order.images = 32
    if dataset == "shapes":
        config.data.options = ConfigDict({**SHAPES_SIZES, "task": "outline", "outlines": 10})
        config.recipe.options.hue = 0.5  # any hue: what invariance must forget
    elif dataset == "cifar10":
        config.recipe.options.flip = 0.5
        set_roles(config, ("rotate", "crop", "flip", *COLOURS))
    elif dataset == "cub200":
        config.data.options = ConfigDict({"crop_boxes": False})
    elif dataset == "bloodcells":
        config.data.options = ConfigDict({"task": "white", "margin": 0.2})
    return config
