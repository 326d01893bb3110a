"""A vision transformer under the recipe of MoCo-v3 and DINO: AdamW, warm-up, kernels decay alone.

    python -m eqssl_jax.main --config=configs/vit.py:simclr,cifar10 --workdir=runs/vit

Before the comma stands the method (simclr, moco, byol, barlow_twins or vicreg), after it what
configs/simclr.py takes: a data set, and words as `care`. What differs from those configs is below:
the encoder, the optimiser and, for methods with a target network, its momentum. Patches are of 4 px
at 32 px and of 16 px at 224 px (imagenet100).

Numbers of the recipe: AdamW, rate 1.5e-4 for 256 images with linear scaling, weight decay 0.1,
cosine, warm-up over a tenth of the training, stochastic depth 0.1 (Chen, Xie and He 2021,
arXiv:2104.02057, which has 40 of 300 epochs and no stochastic depth; Caron et al. 2021,
arXiv:2104.14294, which has 0.1 of it); target momentum 0.99 rising to 1. Position embeddings,
tokens, biases and normalisations do not decay. Not run at full size here: no result is claimed.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets

METHODS = ("simclr", "moco", "byol", "barlow_twins", "vicreg")


def get_config(variant: str = "simclr,cifar10") -> ConfigDict:
    base, _, rest = variant.partition(",")
    if base not in METHODS:
        raise ValueError(
            f"configs/vit.py:{variant} begins with {base!r}; it must begin with one of {METHODS}."
        )
    config = presets.method(base, rest or "cifar10")
    config.model.encoder = "vit_tiny"
    config.model.vit.patch = 16 if "imagenet100" in rest else 4
    config.model.vit.drop_path = 0.1
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1.5e-4 * config.train.batch_size / 256
    config.optimizer.weight_decay = 0.1
    config.optimizer.decay = "kernels"
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = config.train.epochs / 10
    config.target.momentum, config.target.final = 0.99, 1.0
    return config.lock()
