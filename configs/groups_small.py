"""CARE's Gram match under three groups on shapes, beside SimCLR: minutes on two CPU cores.

    python -m eqssl_jax.main --config=configs/groups_small.py --workdir=runs/groups_small
    python benchmarks/groups.py --workdir=runs/groups_small

Augmentations act as rotations (`euclidean`), Lorentz maps (`lorentz`, on the hyperboloid, with
hyperbolic InfoNCE) or symplectic maps (`symplectic`, on the sphere: unitary maps). All runs share
seed, data order and initial weights; they differ in geometry, form and weight of the Gram match
alone. Embeddings have 16 dimensions (17 on the hyperboloid), so that they can span their space and
a few hundred images determine a linear map. Results: docs/results/groups.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets

HYPERBOLOID = {"model": {"geometry": "hyperboloid"}}
SIMCLR = {"objectives": {"equivariance": {"weight": 0.0}}}
RUNS = {
    "simclr": SIMCLR,
    "euclidean": {},
    "lorentz": {**HYPERBOLOID, "objectives": {"equivariance": {"form": "minkowski"}}},
    "symplectic": {"objectives": {"equivariance": {"form": "symplectic"}}},
    "simclr_hyperbolic": {**HYPERBOLOID, **SIMCLR},
}


def get_config() -> ConfigDict:
    config = presets.with_care(presets.factored("shapes"))
    config.model.encoder, config.model.projector = "conv_tiny", (128, 16)
    config.data.options.outlines = 4
    config.data.size = config.recipe.options.size = 24
    config.objectives.equivariance.weight, config.objectives.equivariance.splits = 0.2, 8
    config.train.batch_size = 64
    config.train.steps = 300
    config.train.log_every = 50
    config.train.knn_every = 300
    config.train.save_every = 300
    config.evaluation.preset = "quick"
    config.evaluation.options = ConfigDict(  # the groups are measured by benchmarks/groups.py
        {
            "train_images": 2048,
            "validation_images": 512,
            "test_images": 1024,
            "rotation_images": 512,
            "augmentations": 4,
            "pairs": 1,
            "probe_steps": 300,
            "ladder_images": 0,
            "queries": 0,
        }
    )
    config.runs = ConfigDict(RUNS)
    return config.lock()
