"""What augmentations do to embeddings: on a circle, by γ and Wahba's error, in retrieval.

And rotations of proteins: the paper's four losses, and one of ours, on chains of Cα atoms.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets
from eqssl_jax.studies import figures, scales
from eqssl_jax.studies.base import DataChoice, Runs, Study
from eqssl_jax.studies.comparisons import METHODS, METRICS

_COMPARED = {
    "simclr": METHODS["SimCLR"],
    "care": METHODS["CARE-SimCLR"],
    "equimod": METHODS["EquiMod-SimCLR"],
}


# At presets.OWN_WEIGHT embeddings of two dimensions crowd to one side (docs/results/care_studies),
# where any cosine varies little.
CIRCLE_WEIGHTS = (0.003, 0.01, 0.03)

# Of EquiMod-SimCLR the network's embedding is what InfoNCE makes invariant.
_EQUIMOD = (
    "EquiMod is measured by the network's embedding, the head whose views InfoNCE pulls together, "
    "not by EquiMod's own projection y, which its predictor moves: what EquiMod says of "
    "augmentations in y does not show here."
)


def _compared(
    scale: str, data: DataChoice, *, dataset: str = "cifar10", size: int = 0
) -> dict[str, ConfigDict]:
    """SimCLR, CARE and EquiMod on a ResNet-18, as in Figures 5 and 8."""
    return {
        name: scales.config(dataset, method, scale, data, encoder="resnet18", size=size)
        for name, method in _COMPARED.items()
    }


def _over_training(scale: str, data: DataChoice) -> Runs:
    """Of Figures 5 and 8 alike, so that the two share their runs."""
    runs = _compared(scale, data)
    if scale == "paper":
        for config in runs.values():
            scales.keep_course(config)
    return runs


def _circle(scale: str, data: DataChoice) -> Runs:
    """SimCLR, CARE and, below the scale "paper", CARE at smaller weights: care_0.01, …"""
    smaller = () if scale == "paper" else CIRCLE_WEIGHTS
    weights = {"simclr": None, "care": None} | {f"care_{weight:g}": weight for weight in smaller}
    runs = {}
    for name, weight in weights.items():
        change = _COMPARED["simclr" if name == "simclr" else "care"]
        config = scales.config("cifar10", change, scale, data)
        config.model.projector = (*config.model.projector[:-1], 2)
        if weight is not None:
            config.objectives.equivariance.weight = weight
        runs[name] = config
    return runs


def _flowers(scale: str, data: DataChoice) -> Runs:
    runs = _compared(scale, data, dataset="oxford_flowers102", size=64)
    for config in runs.values():
        if config.data.name == "oxford_flowers102":
            # Its "test" split is the large one, 6,149 images; "train" has ten of each class.
            splits = {"train_split": "test", "test_split": "train"}
            config.data.options = ConfigDict(splits)
    return runs


CIRCLE = Study(
    name="circle",
    title="Embeddings on a circle: the cosine of an image and its augmented copy",
    reproduces=("Figure 6",),
    figure=figures.circle,
    runs=_circle,
    metrics=("cosine_variance", *METRICS),
    notes=(
        "Cosines that vary little show rotations only where embeddings are spread around the "
        "circle: read a run whose effective rank (of 2) is near SimCLR's, and whose mean of unit "
        "embeddings, in the title of its circle, is short.",
    ),
)
GAMMA = Study(
    name="gamma",
    title="Relative rotational equivariance γ and invariance over training",
    reproduces=("Figure 8",),
    figure=figures.over_training,
    runs=_over_training,
    metrics=METRICS,
    steps="all",
    notes=(_EQUIMOD,),
)
WAHBA = Study(
    name="wahba",
    title="Wahba's error of 20 augmentations",
    reproduces=("Figure 5",),
    figure=figures.wahba,
    runs=_over_training,
    metrics=("wahba", *METRICS),
    notes=(_EQUIMOD,),
)
RETRIEVAL = Study(
    name="retrieval",
    title="Nearest neighbours when the colour of the query changes",
    reproduces=("Figures 9, 21",),
    figure=figures.retrieval,
    runs=_flowers,
    metrics=(
        "neighbour_overlap", "neighbour_rank", "retrieved_hue_followed", "retrieved_hue_distance",
        "retrieved_hue_distance_before", *METRICS,
    ),
    notes=(_EQUIMOD,),
)  # fmt: skip


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
