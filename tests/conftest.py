"""Strict numerics for every test: no silent promotion of dtype or rank."""

from pathlib import Path

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

GOLDEN = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def golden():
    """Reference values by file name: `golden("torchvision")["hue"]`."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz") as file:
            return {key: file[key] for key in file.files}

    return load
