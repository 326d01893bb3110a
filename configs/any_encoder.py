"""SimCLR and CARE with a small encoder on CIFAR-10 or Imagenette, for docs/results/any_encoder.

    PYTHONPATH=benchmarks python -m eqssl_jax.main --config=configs/any_encoder.py:cifar10,care \\
        --config.data.directory=cifar10.npz --workdir=runs/cifar10_care
    python -m eqssl_jax.main --config=configs/any_encoder.py:imagenette,simclr \\
        --config.data.directory=imagenette.zip \\
        --workdir=runs/imagenette_simclr

The runs of a data set share seed, data order, initial weights and the views of the CARE paper; they
differ in λ alone, 0 and 0.4. Groups of images share the draws of the contrast views themselves
(docs/results/two_views), and the encoder is conv_tiny: two CPU cores need ten minutes or less.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets

SIZES = {"cifar10": 32, "imagenette": 64}  # of images; views have 32 px
STEPS = {"cifar10": 600, "imagenette": 200}
WEIGHTS = {"simclr": 0.0, "care": 0.4}


def get_config(variant: str = "cifar10,care") -> ConfigDict:
    dataset, _, method = variant.partition(",")
    if dataset not in STEPS or method not in WEIGHTS:
        raise ValueError(
            f"The variant is {variant!r}; it must be one of {', '.join(STEPS)}, a comma, and one "
            f"of {', '.join(WEIGHTS)}."
        )
    config = presets.two_views(presets.with_care(presets.contrastive("arrays")))
    config.data.name = "known_ground:cifar10" if dataset == "cifar10" else "folder"
    config.data.size, config.train.steps = SIZES[dataset], STEPS[dataset]
    config.model.encoder, config.model.projector = "conv_tiny", (256, 64)
    config.objectives.equivariance.weight = WEIGHTS[method]
    config.train.log_every = 50
    config.train.knn_every = config.train.save_every = config.train.steps // 2
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 0.5
    return config.lock()
