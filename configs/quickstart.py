"""SimCLR and CARE on rendered shapes, evaluated and compared: minutes on a laptop.

    python -m eqssl_jax.main --config=configs/quickstart.py --workdir=runs/quickstart

Both runs share seed, data order, budget and recipe; they differ in the weight of the equivariance
objective alone.
"""

import math

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config() -> ConfigDict:
    config = presets.with_care(presets.contrastive("shapes"), "shapes")
    config.model.stem = "imagenet"  # stride 4 from the start: five times faster than "cifar"
    config.data.options = ConfigDict(
        {"train_size": 4096, "test_size": 1024, "out_of_range_size": 1024}
    )
    # Any hue and any angle: what SimCLR must forget, and CARE may keep as a rotation.
    config.recipe.options.jitter = (0.4, 0.4, 0.4, 0.5)
    config.recipe.options.max_angle = math.pi
    config.train.batch_size = 128
    config.train.steps = 400
    config.train.steps_per_dispatch = 10
    config.train.log_every = 20
    config.train.knn_every = 200
    config.train.save_every = 400
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup_epochs = 0.5
    config.evaluation.preset = "quick"
    config.runs = ConfigDict(
        {"simclr": {"objectives": {"equivariance": {"weight": 0.0}}}, "care": {}}
    )
    return config.lock()
