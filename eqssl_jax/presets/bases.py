"""The base methods, and what can be added to any of them in one line.

Where the CARE paper says how a base method was trained, `values` "paper" and "authors" say it
(SimCLR, MoCo-v2). For BYOL, Barlow Twins and VICReg it does not: projector, optimiser, weights and
momentum are then those of solo-learn's ResNet-18 recipes on CIFAR, with the encoder, epochs, batch
and views of the CARE recipe. "solo" takes solo-learn's recipe whole, its views apart, which stay
those of the CARE paper (da Costa et al. 2022, arXiv:2108.01775, solo-learn @ 9187ea3);
on STL-10, which it has no recipe for, that of CIFAR. "equimod_recipe" takes EquiMod's own but for
its views and its one BatchNorm over an image and its views (Devillers and Lefort 2023,
arXiv:2211.01244).
"""

from typing import Any

from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.presets.care import contrastive, two_views, with_care
from eqssl_jax.presets.variants import parse

# solo-learn: layers of the projector (CIFAR, ImageNet-100) and whether they have BatchNorm, rate at
# batch 256, weight decay, and settings of the objective.
SOLO: dict[str, dict[str, Any]] = {
    "simclr": dict(
        projector=((2048, 256), (4096, 512)), batch_norm=False, rate=(0.4, 0.3), decay=(1e-4, 1e-4),
        objective=dict(temperature=0.2),
    ),
    # One queue for both views here, a queue for each there: twice the length.
    "moco": dict(
        projector=((2048, 256),) * 2, batch_norm=False, rate=(0.3, 0.3), decay=(1e-4, 1e-4),
        optimizer="sgd", queue=(65_536, 131_072), momentum=(0.99, 0.999),
        objective=dict(temperature=0.2, symmetric=True),
    ),
    "byol": dict(
        projector=((4096, 256),) * 2, rate=(1.0, 0.5), decay=(1e-5, 1e-6),
        hidden=((4096,), (8192,)), momentum=(0.99, 1.0), objective={},
    ),
    "barlow_twins": dict(
        projector=((2048, 2048, 2048),) * 2, rate=(0.3, 0.3), decay=(1e-4, 1e-4),
        objective=dict(weight=0.1, off_diagonal=5e-3),
    ),
    # 25 for the sum of both views' variance terms there, for their mean here.
    "vicreg": dict(
        projector=((2048, 2048, 2048),) * 2, rate=(0.3, 0.3), decay=(1e-4, 1e-4),
        objective=dict(invariance=25.0, variance=50.0, covariance=1.0),
    ),
}  # fmt: skip
# Its LARS moves a kernel by at most 0.02 of its length, and by no more than the rate.
SOLO_TRUST = 0.02
BASES = tuple(SOLO)
# EquiMod on CIFAR-10, its own recipe: rate at batch 512 of each base method it was tried on.
EQUIMOD_RATES = {"simclr": 4.0, "byol": 2.0}
SMALL = ("shapes", "folder", "arrays")  # data the papers do not have: widths for a laptop
# λ and groups of CARE on MoCo-v2 where they differ from those on SimCLR.
MOCO_WEIGHTS = {"imagenet100": (0.01, 8)}


def method(base: str, argument: str) -> ConfigDict:
    """A base method on a data set with what is added, from words as `variants.parse` reads them.

    Raises:
      ValueError: for an unknown base method or word.
    """
    dataset, values, additions = parse(argument)
    if dataset in SMALL and values in ("solo", "equimod_recipe"):
        raise ValueError(
            f"{values} is a recipe for CIFAR, STL-10 and ImageNet-100, not for {dataset}: leave "
            f"that word out."
        )
    config = with_base(contrastive(dataset, values), base, values)
    if "equimod" in additions:
        config = with_equimod(config)
    if values == "equimod_recipe":
        _equimod_training(config, base)
    if {"care", "two_views"} & set(additions):
        config = with_care(config)
    return two_views(config) if "two_views" in additions else config


def with_base(config: ConfigDict, base: str, values: str = "paper") -> ConfigDict:
    """Another base method in place of SimCLR: its objective, projector, optimiser and momentum.

    Raises:
      ValueError: for an unknown base method.
    """
    if base not in BASES:
        raise ValueError(f"The base method {base!r} is unknown: choose from {', '.join(BASES)}.")
    if base != "simclr":
        del config.objectives["info_nce"]
        config.objectives[base] = ConfigDict(methods.entry(base))
    if base == "moco" and config.data.name in MOCO_WEIGHTS:
        care = config.objectives.equivariance
        care.weight, care.splits = MOCO_WEIGHTS[config.data.name]
    if values == "solo":
        _solo_training(config)
    if values == "solo" or base not in ("simclr", "moco"):
        _solo_recipe(config, base)
    elif base == "moco":
        _moco(config)
    return config


def with_equimod(config: ConfigDict) -> ConfigDict:
    """EquiMod beside the base method, λ 1: Devillers and Lefort 2023, arXiv:2211.01244."""
    config.objectives.equimod = ConfigDict(methods.entry("equimod"))
    if config.data.name in SMALL:
        config.objectives.equimod.projector, config.objectives.equimod.parameters = (256, 64), 32
    return config


def _equimod_training(config: ConfigDict, base: str) -> None:
    """EquiMod's own recipe on CIFAR-10: ResNet-18, 800 epochs of batch 512 with LARS."""
    if base not in EQUIMOD_RATES or config.data.name == "imagenet100":
        raise ValueError(
            f"EquiMod's own values are known for {' and '.join(EQUIMOD_RATES)} on small images, "
            f"not for {base} on {config.data.name}: leave out equimod_recipe, or write "
            f"paper or solo."
        )
    config.model.encoder, config.train.batch_size, config.train.epochs = "resnet18", 512, 800.0
    config.objectives.equivariance.splits *= 2  # λ belongs to the size of a group: twice the batch
    config.model.projector = (2048, 2048, 128) if base == "simclr" else (4096, 256)
    config.model.projector_last_batch_norm = base == "simclr"
    optimizer = config.optimizer
    optimizer.name, optimizer.learning_rate = "lars", EQUIMOD_RATES[base]
    optimizer.trust, optimizer.clip = 1e-3, False
    optimizer.weight_decay, optimizer.schedule, optimizer.warmup_epochs = 1e-6, "cosine", 10.0
    if base == "simclr":
        config.objectives.info_nce.temperature = 0.5
    if base == "byol":
        config.target.momentum, config.target.final = 0.996, 1.0


def _moco(config: ConfigDict) -> None:
    """MoCo-v2 as the CARE paper trains it; queue and momentum on CIFAR and STL-10 are ours."""
    imagenet = config.data.name == "imagenet100"
    settings = config.objectives.moco
    settings.temperature = 0.2 if imagenet else 0.1
    settings.queue = 65_536 if imagenet else 4_096
    config.target.momentum = config.target.final = 0.99


def _solo_training(config: ConfigDict) -> None:
    """Encoder, budget and schedule of all of solo-learn's recipes."""
    imagenet = config.data.name == "imagenet100"
    config.model.encoder = "resnet18"
    config.train.batch_size = 256
    config.train.epochs = 400.0 if imagenet else 1000.0


def _solo_recipe(config: ConfigDict, base: str) -> None:
    """What one base method has of its own there."""
    recipe, which = SOLO[base], int(config.data.name == "imagenet100")
    small = config.data.name in SMALL
    config.model.projector = (256, 64) if small else recipe["projector"][which]
    config.model.projector_batch_norm = recipe.get("batch_norm", True)
    optimizer = config.optimizer
    if not small:  # a laptop's run keeps Adam: LARS needs the long warm-up
        optimizer.name = recipe.get("optimizer", "lars")
        optimizer.trust, optimizer.clip = SOLO_TRUST, True
        optimizer.learning_rate = recipe["rate"][which] * config.train.batch_size / 256
        optimizer.weight_decay = recipe["decay"][which]
        optimizer.schedule, optimizer.warmup_epochs = "cosine", 10.0
    if "momentum" in recipe:
        config.target.momentum, config.target.final = recipe["momentum"]
    settings = config.objectives["info_nce" if base == "simclr" else base]
    settings.update(recipe["objective"])
    if "queue" in recipe:
        settings.queue = recipe["queue"][which]
    if "hidden" in recipe:
        settings.hidden = (256,) if small else recipe["hidden"][which]
