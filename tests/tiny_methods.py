"""Every base method in miniature, trained for 20 steps on any number of devices and processes.

    python tests/tiny_methods.py HOST:PORT PROCESSES PROCESS FILE

is one process of several; process 0 writes what came out.
"""

import sys

import jax
import numpy as np
import optax
from ml_collections import ConfigDict
from toys import normed_network, read

from eqssl_jax import methods, presets
from eqssl_jax.training.mesh import make_mesh, rows, spread
from eqssl_jax.training.optimizer import permissive
from eqssl_jax.training.state import init_state
from eqssl_jax.training.step import make_dispatch, make_step

# Every base, CARE and EquiMod, once with a target network and once without.
METHODS = (
    ("info_nce", "care"), ("moco", "care"), ("barlow_twins", "care"), ("vicreg", "equimod"),
    ("byol", "equimod"),
)  # fmt: skip
VARIANTS = {"looped": {"looped": True}, "bfloat16": {"dtype": "bfloat16"}}  # of the first method
BATCH, SHAPE, STEPS = 16, (8, 8, 3), 20


def settings_of(*names: str) -> ConfigDict:
    """The named objectives on crops and flips of 8 pixels, quick to compile; "care" adds CARE."""
    config = presets.contrastive("arrays")
    if "care" in names:
        config = presets.with_care(config)
    config.recipe.name, config.recipe.options = "crop_flip", ConfigDict({"size": 8})
    roles = dict.fromkeys(("crop", "flip"), "rotational") if "care" in names else {}
    config.roles, config.role_weights, config.sharing = (
        ConfigDict(roles), ConfigDict(), ConfigDict()
    )  # fmt: skip
    # Barlow Twins' sum over D² entries takes larger steps, in which rounding errors grow.
    weights = {"barlow_twins": 0.02}
    small = {
        "moco": {"queue": 24},
        "byol": {"hidden": (8,)},
        "equimod": {"projector": (8, 6), "parameters": 5},
        "stl": {"code": (8, 4), "projector": (8, 4), "code_projector": (8, 4)},
        "essl": {"head": (8, 8)},
        "sie": {"projector": (8, 4)},
        "sen": {"projector": (8, 4), "code": 4},
        "augself": {"hidden": (8,), "flip": 1.0},
        "cassle": {"projector": (8, 4), "condition": (6, 6)},
        "ser": {"images": 4, "layer": "map", "head": (6, 4)},
        "seqjepa": {"code": 4, "layers": 1, "heads": 2, "hidden": (8,)},
    }
    config.objectives = presets.objectives(
        **{
            {"info_nce": "simclr"}.get(name, name): {
                "weight": weights.get(name, 1.0),
                **small.get(name, {}),
            }
            for name in names
            if name != "care"
        }
    )
    config.objectives.equivariance.splits = 4
    return config


def build(*names: str):
    """The method of these settings."""
    return methods.build(settings_of(*names))


def train(
    names, *, devices: int | None = None, looped: bool = False, dtype: str = "float32"
) -> dict[str, np.ndarray]:
    """Losses and final arrays by name, after 20 steps on the first `devices` devices."""
    built, network, mesh = build(*names), normed_network(dtype), make_mesh(devices)
    optimizer = permissive(optax.sgd(0.005))
    pool = np.random.default_rng(1).uniform(size=(64, *SHAPE)).astype(np.float32)
    inputs = np.random.default_rng(0).integers(0, 64, (STEPS, BATCH)).astype(np.int32)
    state = init_state(jax.random.key(0), network, built, optimizer, SHAPE, BATCH)
    dispatch = make_dispatch(
        make_step(network, built, optimizer, read, jax.random.key(1)), mesh, looped=looped
    )
    state, metrics = dispatch(
        spread(mesh, state), spread(mesh, pool), inputs[:, rows(mesh, BATCH)], STEPS
    )
    arrays = {f"metrics.{name}": np.asarray(jax.device_get(m)) for name, m in metrics.items()}
    kept = {"params": state.params, "target": state.target, "memory": state.memory}
    for path, leaf in jax.tree_util.tree_flatten_with_path(kept)[0]:
        arrays[jax.tree_util.keystr(path, simple=True, separator=".")] = np.asarray(leaf)
    return arrays


def main(coordinator: str, processes: str, process: str, file: str) -> None:
    from eqssl_jax.training.processes import Cluster, first, join

    join(Cluster(coordinator, int(processes), int(process), 60))
    arrays = {}
    for names in METHODS:
        label = "+".join(names)
        arrays |= {f"{label}/{name}": value for name, value in train(names).items()}
    for label, changes in VARIANTS.items():
        trained = train(METHODS[0], **changes)
        arrays |= {f"{label}/{name}": value for name, value in trained.items()}
    if first():
        np.savez(file, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
