"""Every setting with its default; the files in `configs/` start here and change what they must.

Values are plain numbers, names and tuples, so that a resolved config is JSON. Ranges are checked
where a value is used, before anything is compiled. This file imports nothing heavy: reading a
config must be instant.
"""

import json
from typing import Any

from ml_collections import ConfigDict


def base() -> ConfigDict:
    """The default config, unlocked; config files lock it when they are done."""
    config = ConfigDict()
    config.seed = 0
    config.data = ConfigDict(
        dict(
            name="cifar10",  # a TFDS name, or imagenet100, shapes, arrays, folder
            directory="",  # the file or folder of arrays/folder, the data_dir of TFDS
            size=0,  # images are resized to size × size; 0 keeps them
            split="train",  # what is trained on: train, or unlabeled (STL-10)
            validation=0.1,  # fraction of train carved off by a fixed rule
            on_device="auto",  # auto, always (gathered inside the step) or never (streamed)
            corrupt="error",  # error, or skip (and count) unreadable images
            workers=0,  # of streamed data: processes that decode; 0: threads of this one
            buffered=4,  # of streamed data: batches read ahead
            seed=0,  # which images are rendered (shapes); apart from the seed of training
            options=ConfigDict(),  # arguments of one source, e.g. train_size of shapes
        )
    )
    config.model = ConfigDict(
        dict(
            encoder="resnet18",  # conv_tiny, resnet_tiny, resnet18, …34, …50; deepset (clouds)
            stem="cifar",  # cifar (3×3, stride 1) or imagenet (7×7, stride 2, max-pool)
            projector=(512, 128),  # widths of the projector's layers, the last is D
            projector_batch_norm=True,  # BatchNorm after every hidden layer of the projector
            compute_dtype="float32",  # float32 or bfloat16; parameters and losses stay float32
            # True: one BatchNorm over all views; False: each its own. Heads (BYOL, EquiMod): each.
            joint_views=False,
            conv="auto",  # how convolutions are computed: auto, xla or patches
            geometry="sphere",  # where embeddings are compared: sphere or hyperboloid
        )
    )
    config.recipe = ConfigDict(dict(name="simclr_cifar", options=ConfigDict()))
    # By part of the recipe; README, "Roles". Parts that are not named are invariant, weigh 1 and
    # are shared as their role says ("auto").
    config.roles = ConfigDict()  # invariant, rotational, ordered, predicted or off
    config.role_weights = ConfigDict()  # factor on a part's own objective (ordered, predicted)
    config.sharing = ConfigDict()  # what two contrast views see: auto, independent, shared or fixed
    # By name, the entries of methods: `method` is a built-in one or module:attribute (the name, if
    # it is missing), `weight` its factor in the sum, all else is in its card (`eqssl_jax/methods`).
    config.objectives = ConfigDict()
    config.target = ConfigDict(  # the moving average of the network that MoCo and BYOL compare to
        dict(
            momentum=0.99,  # at the start: target ← m·target + (1 − m)·online after each step
            final=0.99,  # at the end, reached along half a cosine
        )
    )
    config.optimizer = ConfigDict(
        dict(
            name="adam",  # adam (L2 in the gradient), adamw, sgd, lars
            learning_rate=1e-3,
            weight_decay=1e-6,
            decay="all",  # which parameters decay: all (as PyTorch), or kernels
            momentum=0.9,  # sgd, lars
            trust=1e-3,  # lars: η, the share of its own length that a kernel moves by
            clip=False,  # lars: True bounds that by the rate, as solo-learn does
            schedule="constant",  # constant, cosine, step
            warmup_epochs=0.0,
            step_epochs=(),  # step: where the rate is multiplied by step_factor
            step_factor=0.1,
        )
    )
    config.train = ConfigDict(
        dict(
            batch_size=256,
            epochs=400.0,
            steps=0,  # if positive, the budget in steps instead of epochs
            steps_per_dispatch=10,  # steps in one program when data is on a device that is no CPU
            log_every=50,  # steps
            knn_every=0,  # steps; 0: once an epoch
            save_every=0,  # steps; 0: once an epoch
            keep=2,  # latest checkpoints kept, besides the best on validation
        )
    )
    config.knn = ConfigDict(  # the monitor on the validation split
        dict(neighbours=200, temperature=0.5, bank=10_000, queries=2_000)
    )
    config.evaluation = ConfigDict(
        dict(
            preset="full",  # full, or quick (budgets for a laptop)
            recipe="",  # whose effect on embeddings is measured; "": that of CARE's views or of all
            options=ConfigDict(),  # any budget of the preset, by name
        )
    )
    config.advice = ConfigDict(  # python -m eqssl_jax.advise
        dict(
            roles=("invariant", "ordered", "off"),  # tried for every part
            parts=(),  # of the recipe; (): all that can have one of these roles
            seeds=3,  # trainings of every candidate; intervals are over them
            confidence=0.9,  # that no difference called clear is chance of the seeds
            most=16,  # more candidates than this are halved on the way, until so many are left
            train_images=2048,  # of the training split, for the probe and as neighbours
            held_out="validation",  # the split of every number; test: to check the advice itself
            held_out_images=1024,  # of it
            ladder_images=128,
            rungs=5,
        )
    )
    # Several runs from one file: name -> overrides, nested like the config. Empty: one run.
    config.runs = ConfigDict()
    return config


def plain(config: ConfigDict) -> dict[str, Any]:
    """The config as JSON sees it: dicts, lists, numbers and strings."""
    return json.loads(json.dumps(config.to_dict()))


def load(values: dict[str, Any]) -> ConfigDict:
    """The inverse of `plain`, locked; settings that an older version did not know get defaults.

    Raises:
      ValueError: for what is no group of settings, or no number, where the defaults have one.
    """
    return ConfigDict(_merged(plain(base()), values, "config")).lock()


def _merged(defaults: dict[str, Any], values: Any, name: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"{name} is {values!r}, not a group of settings")
    merged = {**defaults, **values}
    for key, default in defaults.items():
        value = merged[key]
        if isinstance(default, dict):
            merged[key] = _merged(default, value, f"{name}.{key}")
        elif isinstance(default, int | float) and not isinstance(value, int | float):
            raise ValueError(f"{name}.{key} is {value!r}, not a value like {default!r}")
    return merged


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys whose values differ, with (old, new); a missing side is "absent".

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}})
    {'a.b': (1, 3)}
    """
    found: dict[str, Any] = {}
    for key in sorted(set(old) | set(new)):
        left, right = old.get(key, "absent"), new.get(key, "absent")
        if isinstance(left, dict) and isinstance(right, dict):
            found |= differences(left, right, f"{prefix}{key}.")
        elif left != right:
            found[prefix + key] = (left, right)
    return found
