"""What each loss does, how much of CARE is best, and CARE without extra views."""

from ml_collections import ConfigDict

from eqssl_jax import methods, presets
from eqssl_jax.studies import figures, scales
from eqssl_jax.studies.base import DataChoice, Runs, Study
from eqssl_jax.studies.methods import simclr

METRICS = (
    "probe_top1", "knn", "positive_cosine", "invariance_error", "gram_error", "gamma",
    "rotation_residual", "wahba_per_root_n", "effective_rank", "r2_hue",
)  # fmt: skip

_PARTS = {"inv": "alignment", "unif": "uniformity", "equi": "equivariance"}
COMBINATIONS = ("inv", "unif", "equi", "inv_unif", "inv_equi", "unif_equi", "inv_unif_equi")
WEIGHTS = (0.0, 0.001, 0.01, 0.03, 0.1, 0.4)


def _ablation(scale: str, data: DataChoice) -> Runs:
    runs = {}
    for name in COMBINATIONS:
        config = scales.config("cifar10", presets.with_care, scale, data)
        del config.objectives["info_nce"]
        chosen = name.split("_")
        for part in ("inv", "unif"):
            if part in chosen:
                config.objectives[_PARTS[part]] = ConfigDict(methods.entry(_PARTS[part]))
        if "equi" not in chosen:
            config.objectives.equivariance.weight = 0.0
        _every_step(config, scale)
        runs[name] = config
    return runs


def _every_step(config: ConfigDict, scale: str) -> None:
    """Several checkpoints are evaluated, for the course of the cosines: each at less cost."""
    if scale == "paper":
        scales.keep_course(config)
    elif scale == "small":
        options = config.evaluation.options
        options.augmentations, options.pairs, options.queries = 6, 2, 0


def _sweep(scale: str, data: DataChoice) -> Runs:
    runs = {}
    for weight in WEIGHTS:
        # λ = 0 is SimCLR's own config, so that other studies share the run.
        config = scales.config("cifar10", presets.with_care if weight else simclr, scale, data)
        if weight:
            config.objectives.equivariance.weight = weight
        runs[f"lambda_{weight:g}"] = config
    return runs


def _two_views(scale: str, data: DataChoice) -> Runs:
    methods = {
        "simclr": simclr,
        "care": presets.with_care,
        "care_two_views": lambda config: presets.two_views(presets.with_care(config)),
    }
    return {name: scales.config("cifar10", method, scale, data) for name, method in methods.items()}


LOSS_ABLATION = Study(
    name="loss_ablation",
    title="Every combination of L_inv, L_unif and L_equi",
    reproduces=("Figures 10-16",),
    figure=figures.ablation,
    runs=_ablation,
    metrics=METRICS,
    steps="all",
)
LAMBDA_SWEEP = Study(
    name="lambda_sweep",
    title="Linear probe against the weight λ of CARE; 0 is SimCLR",
    reproduces=("Figure 7",),
    figure=figures.sweep,
    runs=_sweep,
    metrics=METRICS,
)
TWO_VIEWS = Study(
    name="two_views",
    title="CARE on the two views that InfoNCE compares, beside CARE on two views of its own",
    reproduces=(),
    runs=_two_views,
    metrics=METRICS,
)
