"""The methods of the equivariance benchmark, each as a small recipe on one of its data sets.

What a method needs that others do not (a target network, pairs of images, a role for every part) is
set here; batch, steps, encoder and optimiser are the same for all.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.config import base
from eqssl_jax.presets.ours import objectives

DATA = ("solids", "shapes", "cifar10", "fruits360", "3diebench")
# Not on stored views of objects: draws shared by objects or views, ladders, turns of the picture.
OF_IMAGES = ("care", "two_view_care", "order", "stl", "essl", "ser")
# Entries of config.objectives by method; at small scale widths of heads fit an encoder of 128
# features, at full scale they are those of the cards, as authors have them.
METHODS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "supervised": {"classify": {}},  # the ceiling of class accuracy
    "simclr": {"simclr": {}},
    "vicreg": {"vicreg": {}},
    "byol": {"byol": {"hidden": (256,)}},
    "care": {"simclr": {}},
    "two_view_care": {"simclr": {}},
    "prediction": {"simclr": {}},
    "order": {"simclr": {}},
    "equimod": {"simclr": {}, "equimod": {"projector": (256, 64), "parameters": 32}},
    "sie": {"sie": {"projector": (128, 64)}},
    "sen": {"sen": {"projector": (256, 64), "code": 32}},
    "stl": {"stl": {"code": (128, 32), "projector": (256, 64), "code_projector": (64, 64)}},
    "essl": {"essl": {"head": (256, 256)}},
    "augself": {"simclr": {}, "augself": {"hidden": (256, 256)}},
    "cassle": {"cassle": {"projector": (256, 64)}},
    "seqjepa": {"seqjepa": {"code": 32, "hidden": (256,)}},
    "ser": {"simclr": {}, "ser": {"layer": "layer1", "head": (64, 64)}},
}
WIDTHS = ("projector", "code", "code_projector", "head", "hidden", "parameters")
# For a choice on validation every method has as many trials: one number times each of these, its
# weight of equivariance or, where it has no second term, the learning rate.
TRIALS = (1.0, 0.3, 3.0)
TRIED: Mapping[str, str] = {
    **dict.fromkeys(METHODS, "optimizer.learning_rate"),
    **dict.fromkeys(("care", "two_view_care"), "objectives.equivariance.weight"),
    **{
        name: f"objectives.{name}.weight"
        for name in ("prediction", "order", "equimod", "augself", "ser")
    },
    "sie": "objectives.sie.equivariance",
    "stl": "objectives.stl.transformation",
    "essl": "objectives.essl.turn",
}
_ROLES = {"care": "rotational", "two_view_care": "rotational", "prediction": "predicted"}


def benchmark(data: str, method: str, *, small: bool = True) -> ConfigDict:
    """A method on a data set, unlocked; without `small`, heads are as wide as their authors'.

    Raises:
      ValueError: for an unknown data set or method.
    """
    if data not in DATA or method not in METHODS:
        raise ValueError(
            f"The benchmark has the data {', '.join(DATA)} and the methods {', '.join(METHODS)}; "
            f"found {data!r} and {method!r}."
        )
    if data == "3diebench" and method in OF_IMAGES:
        raise ValueError(
            f"{method} is not trained on 3diebench: each stored view of an object has a pose and "
            f"hues of its own, which no other object shares and nothing changes. Methods without "
            f"such views are {', '.join(name for name in METHODS if name not in OF_IMAGES)}."
        )
    config = base()
    config.data.name = data
    config.model.encoder, config.model.stem = "conv_tiny", "imagenet"
    config.model.projector = (256, 64) if small else (512, 128)
    entries = {
        name: {key: value for key, value in values.items() if small or key not in WIDTHS}
        for name, values in METHODS[method].items()
    }
    config.objectives = objectives(**entries)
    config.objectives.equivariance.splits = 16
    config.objectives.order.images = 32
    _views(config, data)
    parts = methods.build_recipe(config.recipe.name, config.recipe.options).identity
    if method in _ROLES:
        config.roles = ConfigDict(dict.fromkeys(parts, _ROLES[method]))
    elif method == "order":
        config.roles = ConfigDict({"turn" if data == "solids" else "crop": "ordered"})
    if method == "two_view_care":
        kept = {key: config.objectives.equivariance[key] for key in ("splits", "form", "variant")}
        config.objectives.equivariance = ConfigDict(methods.entry("two_view_care", **kept))
    if method == "equimod":  # the image and its views in one forward, as its authors have it
        config.model.joint_views = True
    if method == "essl" and data not in ("solids", "shapes"):
        # The authors crop 16 of CIFAR's 32 pixels for the view whose turns are told.
        config.objectives.essl.recipe_options = ConfigDict({"size": 16})
    if method == "seqjepa":
        config.target.momentum, config.target.final = 0.996, 1.0
    train, optimizer = config.train, config.optimizer
    train.batch_size, train.steps, train.log_every = 128, 400, 50
    train.save_every = train.knn_every = 200
    optimizer.learning_rate, optimizer.schedule = 2e-3, "cosine"
    config.knn.bank, config.knn.queries = 2_000, 500
    config.evaluation.preset = "quick"
    return config


def _views(config: ConfigDict, data: str) -> None:
    if data == "solids":  # no other augmentation than the choice of two views, as SIE's
        config.data.split, config.data.size = "objects", 32
        config.recipe.name, config.recipe.options = "solids", ConfigDict({})
        config.evaluation.options = ConfigDict({"queries": 0, "ladder_images": 0})
    elif data == "3diebench":  # pairs of stored views; images of 256 pixels
        config.data.size, config.recipe.name = 64, "stored_views"
        config.recipe.options = ConfigDict({})
        config.evaluation.options = ConfigDict({"queries": 0, "ladder_images": 0})
    elif data == "shapes":
        config.recipe.name, config.recipe.options = "shapes", ConfigDict({"size": 32})
    else:
        config.recipe.name, config.recipe.options = "simclr_cifar", ConfigDict({"size": 32})
