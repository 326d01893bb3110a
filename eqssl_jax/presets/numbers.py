"""The numbers of every recipe in `presets`, whose docstring has the sources."""

import math
from collections.abc import Mapping
from typing import Any

Changes = Mapping[str, Mapping[str, Any]]  # settings by group

# The strengths of every transformation, all of them settings.
VIEWS = {
    "size": 32, "scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "flip": 0.5,
    "jitter": (0.4, 0.4, 0.4, 0.1), "jitter_probability": 0.8, "gray": 0.2,
    "blur_kernel": 3, "blur_sigma": (0.1, 2.0), "blur_probability": 0.5,
}  # fmt: skip
SHAPES_VIEWS = {
    "size": 32, "max_angle": math.pi / 6, "scale": (0.3, 1.0), "ratio": (3 / 4, 4 / 3),
    "jitter": (0.4, 0.4, 0.4, 0.1), "jitter_probability": 0.8,
}  # fmt: skip
# SimCLR as the CARE paper trains it on CIFAR-10, every number of it; λ is in WEIGHTS.
CIFAR10: Changes = {
    "model": {  # a stem of 3 × 3, stride 1, no pooling
        "encoder": "resnet50", "stem": "cifar", "projector": (512, 128),
        "projector_batch_norm": True,
    },
    "recipe": {"name": "simclr_cifar", "options": VIEWS},
    "objectives": {"info_nce": {"temperature": 0.5}},
    "train": {"batch_size": 256, "epochs": 400.0},
    "optimizer": {
        "name": "adam", "learning_rate": 1e-3, "weight_decay": 1e-6, "schedule": "constant",
        "warmup_epochs": 0.0,
    },
}  # fmt: skip
# The appendix; the views of the probe are those of He et al. 2020, arXiv:1911.05722.
IMAGENET_PROBE = {
    "care_optimizer": "sgd", "care_epochs": 60, "care_batch": 128, "care_rate": 30.0,
    "care_decay": 0.0, "care_recipe": "crop_flip",
}  # fmt: skip
SHAPES_SIZES = {"train_size": 8192, "test_size": 2048, "out_of_range_size": 2048}
# Ours. A digit is another at half a turn, so that turns stay small; any hue.
DIGITS_SIZES = {"train_size": 4096, "test_size": 1024}
DIGITS_VIEWS = {"max_angle": 0.5, "scale": (0.5, 1.0), "jitter": (0.4, 0.4, 0.4, 0.5)}
DIGITS_TRAIN = {"batch_size": 128, "steps": 1200}
DIGITS_OPTIMIZER = {"learning_rate": 4e-3, "schedule": "cosine", "warmup_epochs": 1.0}
# What other data sets change of CIFAR10.
CHANGES: Mapping[str, Changes] = {
    "stl10": {  # views are cropped from all of an image to 32; evaluation resizes to 32
        "data": {"split": "unlabeled", "size": 96},
        "optimizer": {
            "name": "sgd", "learning_rate": 0.06, "weight_decay": 5e-4, "schedule": "cosine",
            "warmup_epochs": 10.0,
        },
    },
    "imagenet100": {
        # Crops from the whole image; its short side is 256, as in torchvision's Resize.
        "data": {"size": 256, "fit": "frame", "on_device": "never"},
        # Measured, and evaluated, under the authors' centre of 224 of 256 pixels, by their probe.
        "evaluation": {"recipe": "care_imagenet_equivariant", "options": IMAGENET_PROBE},
        "model": {"stem": "imagenet", "projector": (2048, 128), "projector_batch_norm": False},
        "recipe": {
            "name": "moco_imagenet",
            "options": {**VIEWS, "size": 224, "scale": (0.2, 1.0), "blur_kernel": 5},
        },
        # The authors' simclr_v1.sh; the paper has no temperature.
        "objectives": {"info_nce": {"temperature": 0.2}},
        "train": {"epochs": 200.0, "batch_size": 512, "log_every": 50},
        "optimizer": {
            "name": "sgd", "weight_decay": 1e-4, "schedule": "cosine", "learning_rate": 0.8
        },
    },
    "shapes": {
        "data": {"options": SHAPES_SIZES},
        "model": {"encoder": "resnet_tiny", "projector": (256, 64)},
        "recipe": {"name": "shapes", "options": SHAPES_VIEWS},
        "train": {"epochs": 60.0},
        "optimizer": {"schedule": "cosine", "warmup_epochs": 1.0},
    },
    "digits": {  # ours: learns in a minute of two CPU cores
        "data": {"options": DIGITS_SIZES},
        "model": {"encoder": "conv_tiny", "projector": (256, 64)},
        "recipe": {"name": "shapes", "options": {**SHAPES_VIEWS, **DIGITS_VIEWS}},
        "objectives": {"info_nce": {"temperature": 0.2}},
        "train": DIGITS_TRAIN,
        "optimizer": DIGITS_OPTIMIZER,
    },
    "folder": {"model": {"encoder": "resnet18"}},
    "arrays": {"model": {"encoder": "resnet18"}},
}  # fmt: skip
# λ of CARE and its number of groups.
WEIGHTS = {
    "cifar10": {"paper": (0.01, 16), "authors": (0.03, 16)},
    "cifar100": {"paper": (0.001, 4), "authors": (0.001, 4)},
    "stl10": {"paper": (0.01, 8), "authors": (0.01, 8)},
    "imagenet100": {"paper": (0.005, 4), "authors": (0.005, 4)},
}
MOCO_WEIGHTS = {"imagenet100": (0.01, 8)}  # on MoCo-v2, where they differ from those on SimCLR
# Ours, for data the paper does not have: the middle of the sweep in docs/results/cifar10_small.
OWN_WEIGHT = (0.1, 16)
SMALL = ("shapes", "digits", "folder", "arrays")  # data the papers do not have: widths for a laptop

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

# Weights of the objectives on proteins, of the four methods of the CARE paper and one of ours.
PROTEIN_METHODS = {
    "care": {"info_nce": 1.0, "equivariance": 1.0},
    "simclr": {"info_nce": 1.0},
    "uniformity": {"uniformity": 1.0},
    "invariance": {"alignment": 1.0},
    "equivariance": {"uniformity": 1.0, "equivariance": 1.0},
}
# Sets for recipes with a role for every factor (`factored`).
FACTORED = ("shapes", "digits", "cifar10", "fruits360", "bloodcells", "cub200", "folder", "arrays")
# Every factor a part of its own. Corners are mirrored, not black: black ones show the angle.
FACTORS_VIEWS = {
    "size": 32, "max_angle": math.pi, "fill": "reflect", "scale": (0.3, 1.0),
    "ratio": (3 / 4, 4 / 3), "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1,
}  # fmt: skip
COLOURS = ("brightness", "contrast", "saturation", "hue")
