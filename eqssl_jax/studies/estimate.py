"""What a run would cost, before it runs: FLOPs, and hours on some accelerators.

Peaks of one chip are those of data sheets.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from eqssl_jax import data, methods
from eqssl_jax.config import copied, plain
from eqssl_jax.training.plan import step_flops
from eqssl_jax.training.setup import setup
from eqssl_jax.training.workdir import write_json

# Images that are trained on, before a fraction of the labeled ones goes to validation; more of
# them are unlabeled.
IMAGES = {
    "cifar10": (50_000, 0),
    "cifar100": (50_000, 0),
    "stl10": (5_000, 100_000),
    "imagenet100": (126_689, 0),
    "oxford_flowers102": (6_149, 0),
}

# A run on two idle cores, all of it. Estimated: small from 400 steps of 0.23 s, smoke from the CPU
# time of two runs, 155 s; with what compiling and one evaluation take.
MINUTES = {"small": 3.5, "smoke": 0.7}
# FLOP/s reached on two cores of an AMD EPYC, float32. Batch 128, four views, imagenet stem:
# conv_tiny 0.14 s a step of 2.99e9 FLOPs, resnet_tiny 0.23 s of 3.37e9; ResNet-18 6.95 images/s
# (docs/results/step). Of others nothing is said.
CPU = {"conv_tiny": 21e9, "resnet_tiny": 15e9, "resnet18": 93e9}
CORES = "2 CPU cores"


class Cost(NamedTuple):
    """Of one training: steps, FLOPs in all (None: not counted by this backend), hours by device.

    Hours are None on a device whose rate was not measured for this encoder.
    """

    steps: int
    flops: float | None
    hours: Mapping[str, float | None]


def cost(config: ConfigDict, cache: Path) -> Cost:
    """FLOPs of all steps, counted by lowering one; for `IMAGES` on black ones, without the data.

    Args:
      config: of one run.
      cache: a JSON file of FLOPs by the shape of a step; read, and written when one is counted.

    Raises:
      ValueError, FileNotFoundError: as `setup`; data is read only if its size is not known.
    """
    count, key = steps(config), _shape(config)
    counted = _read(cache)
    if key not in counted:
        known_size = config.data.name in IMAGES
        run = setup(
            _stand_in(config), training=False, dataset=_images(config) if known_size else None
        )
        counted[key] = step_flops(run, jax.eval_shape(run.init))
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_json(cache, counted)
    of_step = counted[key]
    flops = of_step * count if of_step else None
    return Cost(count, flops, hours(flops, config) if flops else {})


def _read(cache: Path) -> dict[str, float | None]:
    """FLOPs that were counted before; none if the file is damaged: they are counted again."""
    try:
        counted = json.loads(cache.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # of JSON and of UTF-8 alike
        return {}
    return counted if isinstance(counted, dict) else {}


def hours(flops: float, config: ConfigDict) -> dict[str, float | None]:
    """Hours of one chip at `UTILISATION` of its peak, and of two CPU cores where measured."""
    encoder = config.model.encoder
    dtype = "float32" if config.model.compute_dtype == "float32" else "bfloat16"  # auto: on chips
    by_device: dict[str, float | None] = {
        name: flops / (getattr(device, dtype) * UTILISATION) / 3600
        for name, device in DEVICES.items()
    }
    return {**by_device, CORES: flops / CPU[encoder] / 3600 if encoder in CPU else None}


def assumptions() -> str:
    """What the hours rest on, in a paragraph."""
    peaks = "; ".join(
        f"{name} {device.float32 / 1e12:g} (bfloat16 {device.bfloat16 / 1e12:g}; {device.source})"
        for name, device in DEVICES.items()
    )
    return (
        f"FLOPs are those of the lowered training step: a lower bound, since loops over small "
        f"filters are counted once. Hours are of training alone, on one chip at "
        f"{UTILISATION:.0%} of its peak, which is assumed and not measured. Peak TFLOP/s in "
        f"float32 as JAX computes it: {peaks}; model.compute_dtype=auto is bfloat16 there. Two CPU "
        f"cores: from measured step rates, of {', '.join(CPU)}."
    )


def steps(config: ConfigDict) -> int:
    """Steps of a training; data is read only if its size is not known."""
    train = config.train
    if train.steps:
        return train.steps
    if config.data.name not in IMAGES:
        return setup(config, training=False).steps
    labeled, unlabeled = IMAGES[config.data.name]
    images = round(labeled * (1 - config.data.validation))
    images += unlabeled if config.data.split == "unlabeled" else 0
    return round(train.epochs * (images // train.batch_size))


def _shape(config: ConfigDict) -> str:
    """What the FLOPs of a step depend on, as text.

    Weights count as on or off. The number of groups is left out: 4 for 16 changes the FLOPs of
    the smallest encoder by less than a thousandth.
    """
    values = plain(methods.resolved(config))
    parts = {
        "model": values["model"],
        "recipe": [values["recipe"]["name"], values["recipe"]["options"].get("size")],
        "roles": values["roles"],
        "objectives": {
            key: {**entry, "weight": entry["weight"] > 0, "splits": 0, "temperature": 0}
            for key, entry in values["objectives"].items()
        },
        "image": values["data"]["size"],
        "options": values["data"]["options"],  # such as the points of a cloud
        "batch": values["train"]["batch_size"],
        "optimizer": values["optimizer"]["name"],
    }
    return json.dumps(parts, sort_keys=True)


def _stand_in(config: ConfigDict) -> ConfigDict:
    changed = copied(config)
    if config.data.name in IMAGES:
        changed.data.split = "train"
    return changed.lock()


def _images(config: ConfigDict) -> data.Dataset:
    return _black(config.data.size or 32, config.train.batch_size)


@functools.lru_cache(maxsize=2)
def _black(size: int, batch: int) -> data.Dataset:
    images = np.zeros((batch * 5 // 4, size, size, 3), np.uint8)  # a tenth is for validation
    labels = np.zeros(len(images), np.int32)
    return data.from_arrays(images, labels, images[:2], labels[:2], on_device=False)


UTILISATION = 0.25  # of the peak FLOP/s: assumed, not measured


class Device(NamedTuple):
    """Peaks of one chip.

    Attributes:
      float32, bfloat16: dense FLOP/s, of float32 as JAX computes it by default.
      memory: bytes/s of its memory.
      source: where the numbers are from.
    """

    float32: float
    bfloat16: float
    memory: float
    source: str


DEVICES: Mapping[str, Device] = {
    # float32 products are taken in bfloat16 by default on TPU, in TF32 on these GPUs.
    "TPU v5e": Device(197e12, 197e12, 819e9, "Google Cloud documentation, TPU v5e"),
    "A100": Device(156e12, 312e12, 2.039e12, "NVIDIA A100 data sheet, 80 GB SXM"),
    "H100": Device(494e12, 989e12, 3.35e12, "NVIDIA H100 data sheet, SXM, dense"),
    "H200": Device(494e12, 989e12, 4.8e12, "NVIDIA H200 data sheet, SXM, dense"),
}
