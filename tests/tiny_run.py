"""One run of two steps on 48 images of 8 pixels, trained once for all tests that only read it."""

import functools
import tempfile
from pathlib import Path

from test_training_stored import arrays, config

from eqssl_jax.training.loop import train
from eqssl_jax.training.setup import setup


@functools.cache
def tiny_run():
    """(workdir, its set-up, the state at its end); data.npz lies beside the workdir."""
    folder = Path(tempfile.mkdtemp(prefix="tiny_run"))
    run = setup(config(arrays(folder / "data.npz")))
    return folder / "run", run, train(run, folder / "run")
