"""Classification: fine-tuning of an encoder, or training from random weights to compare it with.

    python -m eqssl_jax.main --config=configs/finetune.py:folder --config.data.directory=FOLDER \\
        --config.train.init_from=runs/care@best --workdir=runs/finetuned

The variant is a data set with labels: folder (default), arrays, fruits360, bloodcells, shapes, hf:…
or a name of TFDS. Encoder, stem and size of images are those of the run or file of weights that
init_from names, and of a run mean and standard deviation, too; the same command with
--config.train.init_parts=architecture trains from scratch. Crop and flip augment; the crop is at
least a fifth of the image. The log has the accuracy on validation (monitor_classifier_top1), which
decides the best checkpoint; `python -m eqssl_jax.eval --step=best` has it on test. Rate and budget
are ours, for a laptop. Measured on a small scale: docs/results/transfer.
"""

from ml_collections import ConfigDict

from eqssl_jax.config import base
from eqssl_jax.methods import entry


def get_config(dataset: str = "folder") -> ConfigDict:
    config = base()
    config.data.name = dataset
    config.model.encoder, config.model.projector = "source", (64,)  # the projector is of no use
    config.objectives = ConfigDict({"classify": entry("classify")})
    config.recipe.name = "crop_flip"
    config.recipe.options = ConfigDict({"scale": (0.2, 1.0)})  # size: that of the source
    config.train.batch_size, config.train.epochs = 64, 20.0
    config.train.monitors = ()
    config.optimizer.name, config.optimizer.learning_rate = "adamw", 1e-3
    config.optimizer.weight_decay, config.optimizer.decay = 1e-2, "kernels"
    config.optimizer.schedule, config.optimizer.warmup_epochs = "cosine", 1.0
    return config.lock()
