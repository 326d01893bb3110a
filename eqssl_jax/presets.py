"""The training recipes that several configs share: the CARE paper's, and ours with many roles.

Source of the first: Gupta, Robinson, Lim, Villar, Jegelka 2024, arXiv:2306.13924, appendix, and the
authors' code (Sharut/CARE @ 7090100). Where the two differ, `values` chooses: "paper" or "authors".
"""

import math

from ml_collections import ConfigDict

from eqssl_jax.config import base

DATASETS = ("cifar10", "cifar100", "stl10", "imagenet100", "shapes", "folder", "arrays")
# Sets for recipes with a role for every factor (`factored`).
FACTORED = ("shapes", "cifar10", "fruits360", "bloodcells", "cub200", "folder", "arrays")

# λ and the number of groups, by data set.
WEIGHTS = {
    "cifar10": {"paper": (0.01, 16), "authors": (0.03, 16)},
    "cifar100": {"paper": (0.001, 4), "authors": (0.001, 4)},
    "stl10": {"paper": (0.01, 8), "authors": (0.01, 8)},
    "imagenet100": {"paper": (0.005, 4), "authors": (0.005, 4)},
}
# Ours, for data the paper does not have: the middle of the sweep in docs/results/cifar10_small.
OWN_WEIGHT = (0.1, 16)

# The strengths of every transformation, all of them settings.
VIEWS = {
    "size": 32,
    "scale": (0.08, 1.0),
    "ratio": (3 / 4, 4 / 3),
    "flip": 0.5,
    "jitter": (0.4, 0.4, 0.4, 0.1),
    "jitter_probability": 0.8,
    "gray": 0.2,
    "blur_kernel": 3,
    "blur_sigma": (0.1, 2.0),
    "blur_probability": 0.5,
}
SHAPES_VIEWS = {
    "size": 32,
    "max_angle": math.pi / 6,
    "scale": (0.3, 1.0),
    "ratio": (3 / 4, 4 / 3),
    "jitter": (0.4, 0.4, 0.4, 0.1),
    "jitter_probability": 0.8,
}


SHAPES_SIZES = {"train_size": 8192, "test_size": 2048, "out_of_range_size": 2048}
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


def parse(argument: str) -> tuple[str, str]:
    """The data set and whose values, from "cifar10" or "cifar10,authors".

    >>> parse("stl10,authors")
    ('stl10', 'authors')

    Raises:
      ValueError: for an unknown data set or source of values.
    """
    dataset, _, values = argument.partition(",")
    values = values or "paper"
    if dataset not in DATASETS or values not in ("paper", "authors"):
        raise ValueError(
            f"The config variant {argument!r} is unknown: write :DATASET or :DATASET,authors with "
            f"DATASET one of {', '.join(DATASETS)}."
        )
    return dataset, values


def contrastive(dataset: str, values: str = "paper") -> ConfigDict:
    """SimCLR as the CARE paper trains it on `dataset`; every transformation is invariant."""
    config = base()
    config.data.name = dataset
    config.recipe.name = "simclr_cifar"
    config.recipe.options = ConfigDict(VIEWS)
    _set_roles(config, ("crop", "flip", "jitter", "gray", "blur"))
    _set_weight(config, dataset, values)
    config.model.encoder = "resnet50"
    if dataset == "stl10":
        _stl10(config)
    elif dataset == "imagenet100":
        _imagenet100(config, values)
    elif dataset == "shapes":
        _shapes(config)
    elif dataset in ("folder", "arrays"):
        config.data.size = 32
        config.model.encoder = "resnet18"
    return config


def with_care(config: ConfigDict) -> ConfigDict:
    """CARE: every transformation becomes rotational."""
    for part in config.roles:
        config.roles[part] = "rotational"
    if config.data.name == "imagenet100":
        config.objectives.equivariance.recipe = "care_imagenet_equivariant"
        config.objectives.equivariance.images = 128
    return config


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
    config.data.size = 32
    config.recipe.name, config.recipe.options = "factors", ConfigDict(FACTORS_VIEWS)
    _set_roles(config, ("rotate", "crop", *COLOURS))
    config.model.encoder, config.model.projector = "resnet_tiny", (256, 64)
    config.train.batch_size = 128
    config.train.epochs = 60.0
    optimizer = config.optimizer
    optimizer.learning_rate, optimizer.schedule, optimizer.warmup_epochs = 2e-3, "cosine", 1.0
    # The images of a ladder: a quarter of the batch costs as much as one more view of all of it.
    config.objectives.order.images = 32
    if dataset == "shapes":
        config.data.options = ConfigDict({**SHAPES_SIZES, "task": "outline", "outlines": 10})
        config.recipe.options.hue = 0.5  # any hue: what invariance must forget
    elif dataset == "cifar10":
        config.recipe.options.flip = 0.5
        _set_roles(config, ("rotate", "crop", "flip", *COLOURS))
    elif dataset == "cub200":
        config.data.options = ConfigDict({"crop_boxes": False})
    elif dataset == "bloodcells":
        config.data.options = ConfigDict({"task": "white", "margin": 0.2})
    return config


def _set_roles(config: ConfigDict, parts: tuple[str, ...]) -> None:
    """Every part invariant, of weight 1 and shared as its role says: all of it can be changed."""
    config.roles = ConfigDict(dict.fromkeys(parts, "invariant"))
    config.role_weights = ConfigDict(dict.fromkeys(parts, 1.0))
    config.sharing = ConfigDict(dict.fromkeys(parts, "auto"))


def _set_weight(config: ConfigDict, dataset: str, values: str) -> None:
    """λ, groups and form of CARE's objective: in use as soon as a part is rotational."""
    weight, splits = WEIGHTS.get(dataset, {}).get(values, OWN_WEIGHT)
    objective = config.objectives.equivariance
    objective.weight, objective.splits = weight, splits
    objective.variant = "code" if values == "authors" else "paper"


def _stl10(config: ConfigDict) -> None:
    config.data.split = "unlabeled"
    config.data.size = 32
    optimizer = config.optimizer
    optimizer.name, optimizer.learning_rate, optimizer.weight_decay = "sgd", 0.06, 5e-4
    optimizer.schedule, optimizer.warmup_epochs = "cosine", 10.0


def _imagenet100(config: ConfigDict, values: str) -> None:
    config.data.size = 256
    config.data.on_device = "never"
    config.model.stem = "imagenet"
    config.model.projector, config.model.projector_batch_norm = (2048, 128), False
    config.recipe.name = "moco_imagenet"
    config.recipe.options = ConfigDict(
        {**VIEWS, "size": 224, "scale": (0.2, 1.0), "blur_kernel": 5}
    )
    config.train.epochs = 200.0
    config.train.batch_size = 512 if values == "paper" else 256
    optimizer = config.optimizer
    optimizer.name, optimizer.weight_decay, optimizer.schedule = "sgd", 1e-4, "cosine"
    optimizer.learning_rate = 0.8 if values == "paper" else 0.4
    config.train.log_every = 50


def _shapes(config: ConfigDict) -> None:
    config.model.encoder, config.model.projector = "resnet_tiny", (256, 64)
    config.recipe.name, config.recipe.options = "shapes", ConfigDict(SHAPES_VIEWS)
    _set_roles(config, ("rotate", "crop", "jitter"))
    config.data.options = ConfigDict(SHAPES_SIZES)
    config.optimizer.schedule, config.optimizer.warmup_epochs = "cosine", 1.0
    config.train.epochs = 60.0
