"""What should be equivariant? Tries every role of every transformation with small encoders.

    python -m eqssl_jax.advise --config=configs/advise.py:shapes --workdir=runs/advice

Variants: shapes (default), digits, fruits360, bloodcells, cub200, cifar10, folder, arrays; the data
of each as in configs/order.py. The base is config.roles (all invariant); each part's role is
changed in turn to those of config.advice.roles. Six parts in three roles, three seeds, on shapes:
see docs/results/roles for what it took and found.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(dataset: str = "shapes") -> ConfigDict:
    config = presets.factored(dataset)
    config.model.encoder = "conv_tiny"
    config.train.batch_size = 64
    config.train.steps = 200
    config.train.log_every = 50
    config.train.save_every = 100
    config.optimizer.warmup_epochs = 0.2
    config.objectives.order.images = 8
    config.advice.ladder_images = 64
    return config.lock()
