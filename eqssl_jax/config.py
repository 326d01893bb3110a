"""Every setting with its default and its range: the files in `configs/` start here.

Values are plain numbers, names and tuples, so that a resolved config is JSON. `checked` refuses
what is out of range before anything is read or compiled; what depends on several settings or on
the data is checked where it is used. This file imports nothing heavy: reading a config must be
instant.
"""

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from eqssl_jax.settings import (
    Schema,
    check,
    choice,
    defaults,
    flag,
    free,
    merged,
    names,
    number,
    numbers,
    shown,
    text,
    values_of,
    where,
    whole,
    wholes,
)

# Words after the colon of a config of a paper: `presets.parse`, and --help.
DATASETS = ("cifar10", "cifar100", "stl10", "imagenet100", "shapes", "digits", "folder", "arrays")
VALUES = ("paper", "authors", "solo", "equimod_recipe")
ADDITIONS = ("care", "equimod", "two_views")
ROLES = ("invariant", "rotational", "ordered", "predicted", "off")
MONITORS = ("knn", "probe", "rankme", "lidar", "alignment", "gamma", "wahba")  # "all"
# The last: no weights, but all else that comes with the encoder of another run.
INIT_PARTS = ("encoder", "encoder_and_projector", "architecture")
WIDEST = 65_536  # of a layer
LARGEST_IMAGE = 4096  # side in pixels


SCHEMA: Schema = {
    "seed": whole(0, "of weights, order of images, and draws"),
    "data": dict(
        name=where(
            text(
                "cifar10",
                "a TFDS name, or imagenet100, digits, shapes, folder, …; or module:function",
                longest=200,
            ),
            lambda name: re.fullmatch(r"[\w./:,=+-]+", name) is not None,
            "a name of letters, digits and . / : , = + -",
        ),
        directory=text("", "the file or folder of arrays and folder, the data_dir of TFDS"),
        size=whole(
            0, "of stored images; 0: as they are, or as views if they must be", high=LARGEST_IMAGE
        ),
        fit=choice(
            "center",
            "of an image its central square; frame: all of it, if recipes begin with a crop",
            ("center", "frame"),
        ),
        scaled_decoding=flag(False, "decode large JPEGs at ½, ¼ or ⅛: faster, other pixels"),
        split=text(
            "train", "what is trained on: train, or unlabeled (STL-10)", longest=200, empty=False
        ),
        validation=number(0.1, "fraction of train carved off by a fixed rule", low=0, below=1),
        on_device=choice(
            "auto", "always: gathered inside the step; never: streamed", ("auto", "always", "never")
        ),
        corrupt=choice("error", "skip: leave out (and count) unreadable images", ("error", "skip")),
        workers=whole(0, "of streamed data: processes that decode; 0: threads instead", high=256),
        buffered=whole(4, "of streamed data: batches read ahead", low=1, high=1024),
        changed=choice(
            "refuse",
            "of a run that goes on or is evaluated: whether other data than it was trained on are "
            "taken as they are (accept)",
            ("refuse", "accept"),
        ),
        seed=whole(0, "which images are drawn (digits, shapes); apart from the seed of training"),
        options=free("arguments of one source, e.g. train_size of shapes"),
    ),
    "model": dict(
        encoder=text(
            "resnet18",
            "conv_tiny, resnet_tiny, resnet18, resnet34, resnet50, vit_tiny, vit_small, vit_base; "
            "deepset (clouds); source: that of init_from, with its stem and the size of images; "
            "or module:attribute, a flax module called as (images, train=…)",
            longest=200,
            empty=False,
        ),
        stem=choice(
            "cifar", "cifar: 3×3, stride 1; imagenet: 7×7, stride 2, pooled", ("cifar", "imagenet")
        ),
        projector=wholes(
            (512, 128), "widths of its layers, the last is D", low=1, high=WIDEST, least=1, most=16
        ),
        projector_batch_norm=flag(True, "BatchNorm after every hidden layer of the projector"),
        projector_last_batch_norm=flag(
            False, "BatchNorm without scale and shift after the projector's last layer"
        ),
        compute_dtype=choice(
            "auto", "auto: float32 on CPU, else bfloat16", ("auto", "float32", "bfloat16")
        ),
        remat=choice("none", "blocks: computed again in the backward pass", ("none", "blocks")),
        init_from=text("", "another name of train.init_from"),
        vit=dict(  # of vision transformers alone
            patch=whole(4, "side of a patch in pixels; 16 is usual at 224 px", low=1, high=256),
            pool=choice("cls", "features: the class token, or the patches' mean", ("cls", "mean")),
            registers=whole(0, "tokens beside the class token (arXiv:2309.16588)", high=1024),
            layer_scale=number(0.0, "start of a factor on branches; 0: none", low=0, high=10),
            drop_path=number(
                0.0, "stochastic depth: its rate in the last block, growing from 0", low=0, below=1
            ),
            heads=whole(0, "of attention; 0: as the name of the encoder says", high=1024),
        ),
        joint_views=flag(
            False,
            "True: one BatchNorm over all views; False: each its own; BYOL's head: each its own",
        ),
        conv=choice("auto", "how convolutions are computed", ("auto", "xla", "patches")),
        geometry=choice("sphere", "where methods compare embeddings", ("sphere", "hyperboloid")),
    ),
    "recipe": dict(
        name=text("simclr_cifar", "of the augmentations", longest=200, empty=False),
        options=free("strengths of its parts, by name"),
    ),
    # By part of the recipe; docs/howto/roles.md. Parts that are not named are invariant, weigh 1
    # and are shared as their role says ("auto").
    "roles": free("a role for each part of the recipe", choice("invariant", "", ROLES)),
    "role_weights": free(
        "a factor on a part's own objective (ordered, predicted)", number(1.0, "", low=0, high=1e6)
    ),
    "sharing": free(
        "what two contrast views see of a part",
        choice("auto", "", ("auto", "independent", "shared", "fixed")),
    ),
    # Entries of methods by name: `method` is a built-in one or module:attribute (the name of the
    # entry, if it is missing), `weight` a factor in the sum; the rest is in the card, which
    # checks it (`methods.resolved`).
    "objectives": free("an entry for each method, e.g. info_nce=dict(method='simclr', weight=1.0)"),
    "target": dict(  # the moving average of the network that MoCo and BYOL compare to
        momentum=number(
            0.99, "at the start: target ← m·target + (1 − m)·online after each step", low=0, high=1
        ),
        final=number(0.99, "at the end, reached along half a cosine", low=0, high=1),
    ),
    "optimizer": dict(
        name=choice("adam", "adam has L2 in the gradient", ("adam", "adamw", "sgd", "lars")),
        learning_rate=number(1e-3, "at its peak", low=1e-12, high=1e4),
        weight_decay=number(1e-6, "of the parameters that decay", low=0, high=1e4),
        decay=choice("all", "which parameters decay: all (as PyTorch)", ("all", "kernels")),
        momentum=number(0.9, "sgd, lars", low=0, below=1),
        trust=number(
            1e-3, "lars: η, the share of its own length that a kernel moves by", low=1e-12, high=1e4
        ),
        clip=flag(False, "lars: True bounds that by the rate, as solo-learn does"),
        schedule=choice("constant", "of the rate", ("constant", "cosine", "step")),
        warmup_epochs=number(0.0, "over which the rate rises from 0", low=0, high=1e6),
        step_epochs=numbers(
            (), "step: where the rate is multiplied by step_factor", above=0, high=1e6, ordered=True
        ),
        step_factor=number(0.1, "step", low=1e-6, high=1),
    ),
    "train": dict(
        batch_size=whole(256, "images in a step", low=2, high=2**20),
        epochs=number(400.0, "passes over the images", low=0, high=1e6),
        steps=whole(0, "if positive, the budget in steps instead of epochs"),
        init_from=text(
            "",
            "WORKDIR, WORKDIR@best or WORKDIR@STEP of a run, or FILE.safetensors, whose weights "
            "are the start",
        ),
        init_parts=choice("encoder", "what init_from gives", INIT_PARTS),
        steps_per_dispatch=whole(
            10, "steps in one program when data is on a device that is no CPU", low=1, high=1000
        ),
        log_every=whole(50, "steps", low=1),
        monitors=names(
            ("knn", "rankme"),
            "measured every knn_every steps on a fixed small set: cards of measures by name, "
            "probe, or module:attribute; all: " + ", ".join(MONITORS),
        ),
        knn_every=whole(
            0, "steps; 0: once an epoch, or so seldom that monitors cost 2 % of training at most"
        ),
        save_every=whole(0, "steps; 0: once an epoch, and as seldom as monitors without knn_every"),
        keep=whole(2, "latest checkpoints kept, besides the best", low=1, high=10_000),
    ),
    "monitor": dict(  # of monitors that need no labels
        images=whole(384, "under augmentations, of validation (or train)", low=2, high=10**6),
        draws=whole(2, "augmentations of all of them (gamma, wahba)", low=1, high=1000),
        views=whole(4, "of each under draws of its own (lidar, alignment)", low=2, high=1000),
    ),
    "log": names(  # beside metrics.jsonl, which is always written
        ("tensorboard",), "trackers: tensorboard, wandb, trackio, or module:attribute of your own"
    ),
    "knn": dict(  # the monitor on the validation split
        neighbours=whole(200, "that vote", low=1, high=10**7),
        temperature=number(0.5, "of the votes", low=1e-4, high=1e4),
        bank=whole(10_000, "images of train that are neighbours", low=1, high=10**7),
        queries=whole(2_000, "images of validation", low=1, high=10**7),
    ),
    "evaluation": dict(
        preset=choice("full", "quick: budgets for a laptop", ("full", "quick")),
        options=free("any budget of the preset, by name"),
        measures=names((), "of your own beside those of the package: cards, module:attribute"),
        recipe=text(
            "",
            "whose effect on embeddings is measured; '': that of CARE's views, if they have one of "
            "their own, or that of all views",
            longest=200,
        ),
    ),
    "advice": dict(  # python -m eqssl_jax.advise
        roles=names(("invariant", "ordered", "off"), "tried for every part", ROLES, least=1),
        parts=names((), "of the recipe; (): all that can have one of these roles"),
        methods=names((), "tried beside the base: cards by name, or module:attribute"),
        seeds=whole(3, "trainings of every candidate; intervals are over them", low=2, high=1000),
        confidence=number(
            0.9, "that no difference called clear is chance of the seeds", above=0, below=1
        ),
        most=whole(
            16,
            "more candidates than this are halved on the way, until so many are left",
            low=2,
            high=10_000,
        ),
        train_images=whole(
            2048, "of the training split, for the probe and as neighbours", low=10, high=10**7
        ),
        held_out=choice(
            "validation",
            "the split of every number; test: to check the advice itself",
            ("validation", "test"),
        ),
        held_out_images=whole(1024, "of it", low=8, high=10**7),
        ladder_images=whole(128, "of it, for ladders", low=2, high=10**7),
        rungs=whole(5, "of those ladders", low=3, high=256),
    ),
    # Several runs from one file: name -> overrides, nested like the config. Empty: one run.
    "runs": free("overrides of this config by the name of a run"),
}


def base() -> ConfigDict:
    """The default config, unlocked; config files lock it when they are done."""
    return copied(_base())


@functools.cache
def _base() -> ConfigDict:
    return ConfigDict(defaults(SCHEMA))


def copied(config: ConfigDict | Mapping[str, Any]) -> ConfigDict:
    """A config with the same values, unlocked, that shares no group with this one.

    It takes a fifth of the time of `ConfigDict(config.to_dict())`.
    """
    copy = ConfigDict()
    for key, value in config.items():
        copy[key] = copied(value) if isinstance(value, ConfigDict | Mapping) else value
    return copy


def checked(config: ConfigDict) -> ConfigDict:
    """The config with every setting in its range and its own type (1 as 1.0), locked.

    Raises:
      ValueError: for the first setting that does not fit: its name, its value, what is allowed; and
        for what is no ConfigDict.
    """
    values = check(values_of(config), SCHEMA)
    for name, overrides in values["runs"].items():
        if {"/", "\\"} & set(name):
            raise ValueError(f"config.runs has a run {shown(name)}; its name is that of a folder.")
        values["runs"][name] = check(overrides, SCHEMA, f"config.runs.{name}", partial=True)
    return copied(values).lock()


def plain(config: ConfigDict) -> dict[str, Any]:
    """The config as JSON sees it: dicts, lists, numbers and strings."""
    return json.loads(json.dumps(config.to_dict()))


def load(values: dict[str, Any]) -> ConfigDict:
    """The inverse of `plain`, locked; settings that an older version did not know get defaults.

    Raises:
      ValueError: as `checked`.
    """
    return checked(ConfigDict(merged(defaults(SCHEMA), values)))
