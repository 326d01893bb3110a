"""A complete set-up in miniature: real data split, loop and checkpoints; a linear network."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from toys import linear_network
from toys import recipe as toy_recipe

from eqssl_jax import data, views
from eqssl_jax.config import base
from eqssl_jax.methods import Method
from eqssl_jax.objectives import Objective, info_nce, unit
from eqssl_jax.training import checkpoint, loop, step
from eqssl_jax.training.mesh import make_mesh
from eqssl_jax.training.optimizer import permissive
from eqssl_jax.training.setup import Setup

BATCH = 8


def _loss(_, seen):
    z1, z2 = unit(seen.embeddings)
    return info_nce(z1, z2), {}


@functools.cache
def _parts() -> dict[str, Any]:
    """What no test changes, made once, so that the step of all runs is the same program."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (48, 4, 4, 3)).astype(np.uint8)
    labels = np.arange(48, dtype=np.int32) % 3
    dataset = data.from_arrays(images, labels, images[:12], labels[:12], validation=0.25)
    schedule = optax.constant_schedule(1e-2)
    return {
        "stored": dataset,
        "dataset": dataset,
        "split": dataset.splits["train"],
        "network": linear_network(),
        "method": Method(
            views={"contrast": views.ViewSpec(toy_recipe(), views.independent(2))},
            objectives={"info_nce": (1.0, Objective("contrast", _loss))},
        ),
        "schedule": schedule,
        "optimizer": permissive(optax.adam(schedule)),
        "recipe": toy_recipe(),
        "mesh": make_mesh(1),
    }


def small(**changes) -> Setup:
    """A complete set-up in miniature: real data split, loop and checkpoints; a linear network."""
    config = base()
    config.train.batch_size = BATCH
    config.knn.neighbours, config.knn.bank = 5, 30
    config.lock()
    intervals = {
        "steps": 12,
        "steps_per_epoch": 4,
        "steps_per_dispatch": 3,
        "log_every": 2,
        "knn_every": 4,
        "save_every": 4,
    }
    return Setup(**({"config": config} | _parts() | intervals | changes))


_MADE: dict[tuple, tuple[Any, Any]] = {}


def _once(make: Callable[..., Any], key: tuple, *parts: Any) -> Any:
    """`make(*parts)`, made once for a key; the parts are kept, and their ids with them."""
    if key not in _MADE:
        _MADE[key] = make(*parts), parts
    return _MADE[key][0]


def _step(network, method, optimizer, read, root):
    parts = (network, method, optimizer, read)
    key = (*map(id, parts), *jax.random.key_data(root).tolist())
    return _once(step.make_step, key, *parts, root)


def _dispatch(made, mesh):
    return _once(step.make_dispatch, (id(made), mesh), made, mesh)


# Runs of the same parts are trained by one program.
loop.make_step, loop.make_dispatch = _step, _dispatch


def equal(a, b) -> None:
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


class Killed(Exception):
    pass


def killed_at(at: int, monkeypatch) -> None:
    """Stop the process' work as a kill would, right after the checkpoint of step `at` is begun."""
    save = checkpoint.save

    def save_and_die(manager, now, state, score):
        save(manager, now, state, score)
        if now == at:
            raise Killed

    monkeypatch.setattr(checkpoint, "save", save_and_die)
