"""Strict numerics for every test: no silent promotion of dtype or rank; and eight devices."""

import gc
import os
import signal
from pathlib import Path

import warm

# Before jax is imported: eight virtual CPU devices, so that sharding is tested on any machine; and
# quick rather than good code, since nearly all the time of these tests is compilation.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8 {warm.QUICK}"
)

# Binaries that tests start keep no programs in the home of whoever runs them.
os.environ.setdefault("EQSSL_COMPILE_CACHE", "off")

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

GOLDEN = Path(__file__).parent / "data"

gc.disable()  # until all is imported, which takes seconds longer otherwise


def pytest_collection_finish(session):
    """What was imported stays, and is not looked through for garbage after every test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def own_garbage():
    """What a file leaves behind complains there, not in the next one; the rest is not looked at."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def golden():
    """Reference values by file name: `golden("torchvision")["hue"]`."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz") as file:
            return {key: file[key] for key in file.files}

    return load


@pytest.fixture
def interruptible():
    """SIGINT reaches what the test starts, also where a shell in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # exec makes it the default
    yield
    signal.signal(signal.SIGINT, before)
