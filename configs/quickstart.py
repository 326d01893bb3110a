"""What three roles do to one encoder, in minutes on a laptop: SimCLR, CARE, and rotation ordered.

    python -m eqssl_jax.main --config=configs/quickstart.py --workdir=runs/quickstart

Handwritten digits in any colour on textured ground (nothing is downloaded). All runs share seed,
data, order of images, initial weights, recipe and steps. In `simclr` every transformation is
invariant; in `care` every one is rotational, on the two views that are compared anyway (ours, half
the cost of the paper's form); in `ordered` the rotation keeps its order and all else is invariant.
The variant `control` adds a run that shares draws and computes ladders as `ordered` does, with an
order loss of no weight: what differs between the two is the loss.

Budget and weights are a first choice: docs/results/quickstart has one training of each at seed 10,
where CARE is not more rotational than SimCLR yet; results over seeds are not measured.
"""

from ml_collections import ConfigDict

from eqssl_jax import methods, presets


def get_config(variant: str = "") -> ConfigDict:
    if variant not in ("", "control"):
        raise ValueError(f"The config variant {variant!r} is unknown: choose control, or none.")
    config = presets.factored("digits")
    config.train.steps = 500
    config.train.log_every = 50
    config.train.knn_every = config.train.save_every = 500
    config.evaluation.preset = "quick"
    config.evaluation.options = ConfigDict(
        {"train_images": 2048, "validation_images": 384, "test_images": 1024, "queries": 0}
    )
    ordered = {"rotate": "ordered"}
    runs = {
        "simclr": {},
        "care": {
            "roles": dict.fromkeys(config.roles, "rotational"),
            "objectives": {"equivariance": methods.entry("two_view_care", weight=0.1, splits=16)},
        },
        "ordered": {"roles": ordered},
    }
    if variant:
        runs["control"] = {"roles": ordered, "objectives": {"order": {"weight": 1e-9}}}
    config.runs = ConfigDict(runs)
    return config.lock()
