"""A comparison of roles in miniature: a linear network, two parts and images of 4 × 4 pixels."""

import importlib
from pathlib import Path
from typing import Any

import agreement
import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict
from toys import linear_network
from toys import recipe as toy_recipe

from eqssl_jax import data, methods, presets
from eqssl_jax.advice import advise
from eqssl_jax.config import base, checked
from eqssl_jax.methods import Method
from eqssl_jax.training.mesh import make_mesh, replicated
from eqssl_jax.training.optimizer import permissive
from eqssl_jax.training.setup import Setup

BATCH = 8
# The package's name `run` is this file's module, not a function of it.
run_file = importlib.import_module("eqssl_jax.advice.run")
prepare_file = importlib.import_module("eqssl_jax.advice.prepare")


def tiny(**changes) -> Setup:
    """The parts shift and scale, both with a magnitude; `changes` by key with "__" for dots."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (96, 4, 4, 3)).astype(np.uint8)
    labels = np.arange(96, dtype=np.int32) % 3
    images[..., 0] = images[..., 0] // 4 + 60 * labels[:, None, None].astype(np.uint8)
    dataset = data.from_arrays(images, labels, images[:24], labels[:24], validation=0.25)
    config = base()
    config.train.batch_size = BATCH
    config.objectives = presets.objectives(simclr={})
    config.objectives.equivariance.splits = 4
    config.objectives.prediction.hidden = (4,)
    config.objectives.order.rungs = 3
    config.advice.seeds = 2
    config.advice.ladder_images, config.advice.rungs = 8, 3
    config.lock()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    mesh, schedule = make_mesh(1), optax.constant_schedule(1e-2)
    split = dataset.splits["train"]
    return Setup(
        config=config,
        stored=dataset,
        dataset=dataset,
        split=split._replace(pool=jax.device_put(split.pool, replicated(mesh))),
        network=linear_network(),
        method=Method({}, {}),  # that of one table: not used by a comparison of many
        schedule=schedule,
        optimizer=permissive(optax.adam(schedule)),
        recipe=toy_recipe(),
        mesh=mesh,
        steps=4,
        steps_per_epoch=9,
        steps_per_dispatch=1,
        log_every=2,
        knn_every=9,
        save_every=2,
    )


def stand_in(config, *, roles=(), **others) -> Setup:
    """`setup` with the data, network and budget of `tiny`."""
    del others
    return tiny()._replace(config=methods.resolved(checked(config), roles=roles))


def stand_for(patch: pytest.MonkeyPatch) -> None:
    """Advice is on the data, network and budget of `tiny` in place of what a config names."""
    for file in (agreement, prepare_file):
        patch.setattr(file, "setup", stand_in)


def finished(parent: Path, config: ConfigDict) -> tuple[Path, dict[str, Any]]:
    """The folder of advice that was trained to its end, and the advice."""
    folder = parent / "whole"
    with pytest.MonkeyPatch.context() as patch:
        stand_for(patch)
        return folder, advise(config, folder)


def evidence(workdir: Path) -> dict[str, str]:
    """The text of every file of evidence, by its path in the workdir."""
    files = sorted(workdir.glob("seed_*/round_*/evidence.json"))
    return {str(path.relative_to(workdir)): path.read_text() for path in files}


def equal(a, b, **tolerance) -> None:
    """Two trees of arrays, bit for bit or within a tolerance."""
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if tolerance:
            np.testing.assert_allclose(left, right, **tolerance)
        else:
            np.testing.assert_array_equal(left, right)
