"""Can rotations of embeddings be steered? SimCLR, CARE, and CARE without alignment, two seeds.

    python -m eqssl_jax.main --config=configs/steering_small.py --workdir=runs/steering_small

Runs of one seed share data order, initial weights and recipe; they differ in the weights of the
objectives alone. `uniform` asks for uniformity and the Gram match, and not that views agree.
Evaluation fits R(p) = exp(Σ c_k(p) G_k) to draws of the rotation alone, of the hue alone, and of
the whole recipe. `benchmarks/steering.py` measures steering alone. Results: docs/results/steering.
"""

from ml_collections import ConfigDict

from eqssl_jax import methods, presets

OBJECTIVES = {
    "simclr": {"equivariance": {"weight": 0.0}},
    "care": {},
    "uniform": {"info_nce": {"weight": 0.0}, "uniformity": {"weight": 1.0}},
}
SEEDS = (0, 1)


def get_config() -> ConfigDict:
    config = presets.with_care(presets.factored("shapes"))
    config.objectives.uniformity = ConfigDict(methods.entry("uniformity", weight=0.0))
    config.model.encoder = "conv_tiny"
    # Few dimensions, since an evaluation of the fit costs d³; more images than dimensions.
    config.model.projector = (256, 16)
    config.objectives.equivariance.weight = 0.3
    config.train.steps = 600
    config.train.log_every = 50
    config.train.knn_every = 600
    config.train.save_every = 600
    config.evaluation.preset = "quick"
    config.evaluation.options = ConfigDict(
        {
            # Little of all else.
            "train_images": 512,
            "validation_images": 256,
            "test_images": 512,
            "out_of_range_images": 128,
            "probe_steps": 100,
            "seeds": (0,),
            "augmentations": 4,
            "pairs": 1,
            "rotation_images": 128,
            "pair_images": 128,
            "ladder_images": 0,
            "queries": 0,
            "steering_draws": 48,
            "steering_images": 256,
            "steering_parts": ("rotate", "hue", "all"),
        }
    )
    config.runs = ConfigDict(
        {
            f"seed{seed}_{name}": {"seed": seed, "objectives": weights}
            for seed in SEEDS
            for name, weights in OBJECTIVES.items()
        }
    )
    return config.lock()
