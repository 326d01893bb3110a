"""SimCLR and CARE with a tiny encoder on CIFAR-10, with a sweep of λ: an hour on two CPU cores.

    python -m eqssl_jax.main --config=configs/cifar10_small.py \\
        --config.data.directory=cifar10.npz --workdir=runs/cifar10_small

`cifar10.npz` holds train_images, train_labels, test_images and test_labels. All runs share seed,
data order, initial weights and recipe (that of the CARE paper); they differ in λ alone. Results:
docs/results/cifar10_small.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets

WEIGHTS = {"simclr": 0.0, "care_0.03": 0.03, "care_0.1": 0.1, "care_0.4": 0.4}


def get_config() -> ConfigDict:
    config = presets.with_care(presets.contrastive("arrays"))
    config.data.size = 0
    config.model.encoder = "resnet_tiny"
    config.model.projector = (256, 64)
    config.train.batch_size = 128
    config.train.steps = 400
    config.train.log_every = 20
    config.train.knn_every = 200
    config.train.save_every = 200
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 0.5
    config.evaluation.preset = "quick"
    config.evaluation.options = ConfigDict(
        {
            "train_images": 10_000,
            "validation_images": 2_500,
            "test_images": 5_000,
            "augmentations": 20,
            "pairs": 5,
            "rotation_images": 1_000,
            "pair_images": 500,
            "probe_steps": 600,
            "queries": 256,
        }
    )
    config.runs = ConfigDict(
        {
            name.replace(".", "_"): {"objectives": {"equivariance": {"weight": weight}}}
            for name, weight in WEIGHTS.items()
        }
    )
    return config.lock()
