"""Rotations of proteins: the paper's four losses, and one of ours, on chains of Cα atoms."""

from ml_collections import ConfigDict

from eqssl_jax import presets
from eqssl_jax.studies import figures, scales
from eqssl_jax.studies.base import DataChoice, Runs, Study


def _runs(scale: str, data: DataChoice) -> Runs:
    """`data` is an .npz of chains or a folder of PDB files; shapes, or nothing: generated chains.

    Raises:
      ValueError: for an unknown scale, and for data that is not of proteins.
    """
    scales.check(scale)
    if data.name not in ("", "shapes", "arrays", "folder"):
        raise ValueError(
            f"--data={data.name} is no set of proteins: give an .npz of chains or a folder of "
            f"PDB files, or nothing for generated chains."
        )
    return {name: _config(name, scale, data) for name in presets.PROTEIN_METHODS}


def _config(method: str, scale: str, data: DataChoice) -> ConfigDict:
    config = presets.proteins(method)
    config.data.directory = data.directory
    if scale == "paper":
        return config
    smoke = scale == "smoke"
    config.data.options.points = 64
    config.train.steps = config.train.save_every = config.train.knn_every = 6 if smoke else 400
    config.train.log_every = 2 if smoke else 50
    config.optimizer.learning_rate, config.optimizer.warmup_epochs = 2e-3, 0.0
    config.evaluation.preset = "quick"
    budgets = {"ladder_images": 0, "axis_turns": 4, "trajectory_clouds": 4 if smoke else 16}
    config.evaluation.options = ConfigDict(budgets)
    return config


PROTEINS = Study(
    name="proteins",
    title="Principal axis of a protein from its embedding, and how regular its turns are",
    reproduces=("Figures 3, 4, 17-20",),
    figure=figures.proteins,
    runs=_runs,
    metrics=(
        "principal_axis_error", "principal_axis_error_embedding",
        "principal_axis_error_embedding_products", "principal_axis_degrees", "trajectory_length",
        "trajectory_closure_error", "trajectory_step_variation",
        "trajectory_rotation_residual", "gram_error", "gamma",
        "wahba_per_root_n", "effective_rank",
    ),
)  # fmt: skip
