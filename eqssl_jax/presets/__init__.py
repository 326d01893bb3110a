"""The training recipes that several configs share: base methods, CARE on them, and ours.

`method("moco", "cifar10,care")` is `CIFAR10`, with what `CHANGES` holds for the data set, MoCo-v2
in place of SimCLR, and CARE added. A config file may change any of it.

SimCLR and CARE are trained as in the CARE paper (Gupta, Robinson, Lim, Villar, Jegelka 2024,
arXiv:2306.13924, appendix) and the authors' code (Sharut/CARE @ 7090100); where the two differ, the
word "paper" or "authors" chooses, for MoCo-v2 too. For BYOL, Barlow Twins and VICReg the paper has
no recipe: projector, optimiser, weights and momentum are then those of solo-learn's ResNet-18
recipes on CIFAR, with the encoder, epochs, batch and views of the CARE recipe. "solo" takes
solo-learn's recipe whole, its views apart, which stay those of the CARE paper (da Costa et al.
2022, arXiv:2108.01775, solo-learn @ 9187ea3); on STL-10, which it has no recipe for, that of CIFAR.
"equimod_recipe" takes EquiMod's own but for its views (Devillers and Lefort 2023,
arXiv:2211.01244); one BatchNorm is over an image and its views, except beside CARE. What
`proteins` and `factored` hold is ours.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.config import ADDITIONS, DATASETS, VALUES, base
from eqssl_jax.presets.numbers import (
    BASES,
    CHANGES,
    CIFAR10,
    COLOURS,
    EQUIMOD_RATES,
    FACTORED,
    IMAGENET_PROBE,
    MOCO_WEIGHTS,
    OWN_WEIGHT,
    PROTEIN_METHODS,
    SHAPES_VIEWS,
    SMALL,
    SOLO,
    SOLO_TRUST,
    VIEWS,
    WEIGHTS,
    Changes,
)
from eqssl_jax.presets.ours import factored, objectives, protein_overrides, proteins, set_roles


class Variant(NamedTuple):
    """A data set, whose values where sources differ, and what is added to the base method."""

    dataset: str
    values: str = "paper"
    additions: tuple[str, ...] = ()


def parse(argument: str) -> Variant:
    """What stands after the colon of a config: the data set first, other words in any order.

    >>> parse("stl10,care,authors")
    Variant(dataset='stl10', values='authors', additions=('care',))

    Raises:
      ValueError: for an unknown word, or two sources of values.
    """
    dataset, *words = argument.split(",")
    values = [word for word in words if word in VALUES]
    additions = tuple(word for word in ADDITIONS if word in words)
    unknown = [word for word in words if word not in (*VALUES, *ADDITIONS)]
    if dataset not in DATASETS or unknown or len(values) > 1:
        raise ValueError(
            f"The config variant {argument!r} is unknown: write :DATASET, then any of "
            f"{', '.join(ADDITIONS)} and one of {', '.join(VALUES)}, between commas, with DATASET "
            f"one of {', '.join(DATASETS)}."
        )
    return Variant(dataset, values[0] if values else "paper", additions)


def method(name: str, argument: str) -> ConfigDict:
    """A base method on a data set with what is added, from words as `parse` reads them.

    Raises:
      ValueError: for an unknown base method or word.
    """
    dataset, values, additions = parse(argument)
    if dataset in SMALL and values in ("solo", "equimod_recipe"):
        raise ValueError(
            f"{values} is a recipe for CIFAR, STL-10 and ImageNet-100, not for {dataset}: leave "
            f"that word out."
        )
    config = with_base(contrastive(dataset, values), name, values)
    if "equimod" in additions:
        config = with_equimod(config)
    if values == "equimod_recipe":
        _equimod_training(config, name)
    if {"care", "two_views"} & set(additions):
        config = with_care(config)
    return two_views(config) if "two_views" in additions else config


def contrastive(dataset: str, values: str = "paper") -> ConfigDict:
    """SimCLR as the CARE paper trains it on `dataset`; every transformation is invariant."""
    config = base()
    config.data.name = dataset
    config.objectives = objectives(simclr={})
    parts = ("rotate", "crop", "jitter") if dataset in ("shapes", "digits") else (
        "crop", "flip", "jitter", "gray", "blur")  # fmt: skip
    set_roles(config, parts)
    _set(config, CIFAR10)
    _set(config, CHANGES.get(dataset, {}))
    authors = values == "authors"
    weights = WEIGHTS.get(dataset, {}).get("authors" if authors else "paper", OWN_WEIGHT)
    care = config.objectives.equivariance  # in use as soon as a part is rotational
    care.weight, care.splits = weights
    care.variant = "code" if authors else "paper"
    if dataset == "imagenet100" and values != "paper":
        config.train.batch_size, config.optimizer.learning_rate = 256, 0.4
    return config


def with_base(config: ConfigDict, name: str, values: str = "paper") -> ConfigDict:
    """Another base method in place of SimCLR: its objective, projector, optimiser and momentum.

    Raises:
      ValueError: for an unknown base method.
    """
    if name not in BASES:
        raise ValueError(f"The base method {name!r} is unknown: choose from {', '.join(BASES)}.")
    imagenet = config.data.name == "imagenet100"
    if name != "simclr":
        del config.objectives["info_nce"]
        config.objectives[name] = ConfigDict(methods.entry(name))
    if name == "moco" and config.data.name in MOCO_WEIGHTS:
        care = config.objectives.equivariance
        care.weight, care.splits = MOCO_WEIGHTS[config.data.name]
    if values == "solo":  # encoder, budget and batch of all of solo-learn's recipes
        config.model.encoder, config.train.batch_size = "resnet18", 256
        config.train.epochs = 400.0 if imagenet else 1000.0
    if values == "solo" or name not in ("simclr", "moco"):
        _solo_recipe(config, name)
    elif name == "moco":  # as the CARE paper; queue and momentum on CIFAR and STL-10 are ours
        moco = config.objectives.moco
        moco.temperature, moco.queue = (0.2, 65_536) if imagenet else (0.1, 4_096)
        config.target.momentum = config.target.final = 0.99
    return config


def with_equimod(config: ConfigDict) -> ConfigDict:
    """EquiMod beside the base method, λ 1: Devillers and Lefort 2023, arXiv:2211.01244."""
    config.objectives.equimod = ConfigDict(methods.entry("equimod"))
    config.model.joint_views = True  # an image and its views in one forward, as its authors
    if config.data.name in SMALL:
        config.objectives.equimod.projector, config.objectives.equimod.parameters = (256, 64), 32
    return config


def with_care(config: ConfigDict) -> ConfigDict:
    """CARE: every transformation becomes rotational; each view has a BatchNorm of its own."""
    config.model.joint_views = False
    for part in config.roles:
        config.roles[part] = "rotational"
    if config.data.name == "imagenet100":
        config.objectives.equivariance.recipe = "care_imagenet_equivariant"
        config.objectives.equivariance.images = 128
    return config


def two_views(config: ConfigDict) -> ConfigDict:
    """The Gram match on the contrast views: groups share their draws, a step encodes half as much.

    Ours, not the paper's: see docs/results/two_views for what it costs and gives.
    """
    care = config.objectives.equivariance
    if care.images:  # all images are compared now; λ belongs to the size of a group
        care.splits = care.splits * config.train.batch_size // care.images
    kept = {key: care[key] for key in ("weight", "splits", "form", "variant")}
    config.objectives.equivariance = ConfigDict(methods.entry("two_view_care", **kept))
    return config


def _set(config: ConfigDict, changes: Changes) -> None:
    """Change settings; a group "options" is replaced whole, an entry of a method is changed."""
    for group, values in changes.items():
        for name, value in values.items():
            if group == "objectives":
                config.objectives[name].update(value)
            else:
                config[group][name] = ConfigDict(value) if isinstance(value, Mapping) else value


def _equimod_training(config: ConfigDict, name: str) -> None:
    """EquiMod's own recipe on CIFAR-10: ResNet-18, 800 epochs of batch 512 with LARS."""
    if name not in EQUIMOD_RATES or config.data.name == "imagenet100":
        raise ValueError(
            f"EquiMod's own values are known for {' and '.join(EQUIMOD_RATES)} on small images, "
            f"not for {name} on {config.data.name}: leave out equimod_recipe, or write "
            f"paper or solo."
        )
    config.objectives.equivariance.splits *= 2  # λ belongs to the size of a group: twice the batch
    simclr = name == "simclr"
    projector = (2048, 2048, 128) if simclr else (4096, 256)
    optimizer = {
        "name": "lars", "learning_rate": EQUIMOD_RATES[name], "trust": 1e-3, "clip": False,
        "weight_decay": 1e-6, "schedule": "cosine", "warmup_epochs": 10.0,
    }  # fmt: skip
    changes: dict[str, dict[str, Any]] = {
        "model": {
            "encoder": "resnet18", "projector": projector, "projector_last_batch_norm": simclr
        },
        "train": {"batch_size": 512, "epochs": 800.0},
        "optimizer": optimizer,
    }  # fmt: skip
    if simclr:
        changes["objectives"] = {"info_nce": {"temperature": 0.5}}
    else:
        changes["target"] = {"momentum": 0.996, "final": 1.0}
    _set(config, changes)


def _solo_recipe(config: ConfigDict, name: str) -> None:
    """Solo-learn's settings of one base method; without its budget on data of a laptop."""
    recipe, column = SOLO[name], int(config.data.name == "imagenet100")
    small = config.data.name in SMALL
    config.model.projector = (256, 64) if small else recipe["projector"][column]
    config.model.projector_batch_norm = recipe.get("batch_norm", True)
    optimizer = config.optimizer
    if not small:  # a laptop's run keeps Adam: LARS needs the long warm-up
        optimizer.name = recipe.get("optimizer", "lars")
        optimizer.trust, optimizer.clip = SOLO_TRUST, True
        optimizer.learning_rate = recipe["rate"][column] * config.train.batch_size / 256
        optimizer.weight_decay = recipe["decay"][column]
        optimizer.schedule, optimizer.warmup_epochs = "cosine", 10.0
    if "momentum" in recipe:
        config.target.momentum, config.target.final = recipe["momentum"]
    settings = config.objectives["info_nce" if name == "simclr" else name]
    settings.update(recipe["objective"])
    if "queue" in recipe:
        settings.queue = recipe["queue"][column]
    if "hidden" in recipe:
        settings.hidden = (256,) if small else recipe["hidden"][column]
