"""One run of two steps on 48 images of 8 pixels, trained once for all tests that only read it."""

import functools
import tempfile
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from eqssl_jax import presets
from eqssl_jax.training.loop import train
from eqssl_jax.training.setup import setup


def arrays(path, seed=0, count=48, bright=255):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, bright, (count, 8, 8, 3)).astype(np.uint8)
    np.savez(path, images=images, labels=np.arange(count) % 3)
    return path


def config(directory, **changes) -> ConfigDict:
    """SimCLR on a few arrays of 8 pixels with the tiniest network."""
    made = presets.contrastive("arrays")
    made.data.directory, made.data.size, made.data.validation = str(directory), 0, 0.25
    made.recipe.name, made.recipe.options = "crop_flip", ConfigDict({"size": 8})
    made.roles, made.role_weights, made.sharing = ConfigDict(), ConfigDict(), ConfigDict()
    made.model.encoder, made.model.projector = "conv_tiny", (8, 4)
    made.train.batch_size, made.train.steps = 8, 2
    made.optimizer.warmup_epochs = 0.0
    made.knn.neighbours, made.knn.bank, made.knn.queries = 5, 30, 12
    made.lock()
    made.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return made


@functools.cache
def tiny_run():
    """(workdir, its set-up, the state at its end); data.npz lies beside the workdir."""
    folder = Path(tempfile.mkdtemp(prefix="tiny_run"))
    run = setup(config(arrays(folder / "data.npz")))
    return folder / "run", run, train(run, folder / "run")


def with_data():
    """(workdir, its set-up, the state at its end, the file of its data)."""
    workdir, run, state = tiny_run()
    return workdir, run, state, workdir.parent / "data.npz"
