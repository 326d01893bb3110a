"""Rotation in its roles on shapes, everything else equal: a quarter of an hour on two CPU cores.

    python -m eqssl_jax.main --config=configs/roles_small.py --workdir=runs/roles_small

All runs share seed, data order, initial weights and recipe; they differ in the role of the rotation
(and, in care_order, of crop and colours) alone. Results: docs/results/roles.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets

COLOURS = ("crop", *presets.COLOURS)
RUNS = {
    "invariant": {},
    "ordered": {"roles": {"rotate": "ordered"}},
    "ordered_10": {
        "roles": {"rotate": "ordered"},
        "objectives": {"order": {"weight": 10.0}},
    },
    "predicted": {"roles": {"rotate": "predicted"}},
    "care_order": {"roles": {**dict.fromkeys(COLOURS, "rotational"), "rotate": "ordered"}},
}


def get_config() -> ConfigDict:
    config = presets.factored("shapes")
    config.model.stem = "imagenet"  # stride 4 from the start: five times faster than "cifar"
    config.data.options.outlines = 4
    config.train.steps = 600
    config.train.log_every = 100
    config.train.knn_every = 300
    config.train.save_every = 300
    config.train.keep = 2
    config.evaluation.preset = "quick"
    config.evaluation.options = ConfigDict(
        {"train_images": 4096, "validation_images": 512, "test_images": 2048, "ladder_images": 256}
    )
    config.runs = ConfigDict(RUNS)
    return config.lock()
