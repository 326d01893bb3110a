"""The methods of configs/proteins.py beside each other: some CPU minutes a run.

    python -m eqssl_jax.main --config=configs/proteins_small.py --workdir=runs/proteins_small \\
        --config.data.directory=proteins_ca.npz

All runs share seed, data order, initial weights and rotations; they differ in the weights of the
objectives alone. Chains are thinned to 64 atoms. Without a directory the chains are generated; the
file of real ones is described in `eqssl_jax.data.chains.read_npz`. Results: docs/results/proteins.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config() -> ConfigDict:
    config = presets.proteins("care")
    config.data.options.points = 64
    config.train.steps = 600
    config.train.save_every = 600
    config.optimizer.learning_rate = 2e-3
    config.evaluation.preset = "quick"
    config.evaluation.options = ConfigDict(
        {"ladder_images": 0, "axis_turns": 4, "trajectory_clouds": 16}
    )
    config.runs = ConfigDict(
        {name: presets.protein_overrides(name) for name in presets.PROTEIN_METHODS}
    )
    return config.lock()
