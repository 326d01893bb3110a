"""Studies that compare methods: published tables, each loss of CARE, its weight, and its views.

Every method is made from the config of SimCLR on the same data.
"""

from collections.abc import Mapping

from ml_collections import ConfigDict

from eqssl_jax import methods, presets
from eqssl_jax.studies import claims, figures, scales
from eqssl_jax.studies.base import DataChoice, Runs, Study
from eqssl_jax.studies.scales import Change
from eqssl_jax.tabular.published import published


def simclr(config: ConfigDict) -> ConfigDict:
    """As it is."""
    return config


def _based(name: str, values: str = "paper") -> Change:
    return lambda config: presets.with_base(config, name, values)


def _equimod(base: Change) -> Change:
    return lambda config: presets.with_equimod(base(config))


def _care(base: Change) -> Change:
    return lambda config: presets.with_care(base(config))


def _shared(care: Change) -> Change:
    return lambda config: presets.two_views(care(config))


# Names of rows, and of the base methods in `presets`.
BASES: Mapping[str, str] = {
    "SimCLR": "simclr",
    "MoCo-v2": "moco",
    "BYOL": "byol",
    "Barlow Twins": "barlow_twins",
    "VICReg": "vicreg",
}
_BASES: Mapping[str, Change] = {
    title: simclr if name == "simclr" else _based(name) for title, name in BASES.items()
}

# The same by solo-learn's own recipes, named as its tables do.
SOLO: Mapping[str, Change] = {
    "SimCLR": _based("simclr", "solo"),
    "MoCo-v2+": _based("moco", "solo"),
    "BYOL": _based("byol", "solo"),
    "Barlow Twins": _based("barlow_twins", "solo"),
    "VICReg": _based("vicreg", "solo"),
}

METHODS: Mapping[str, Change] = {
    **_BASES,
    "EquiMod-SimCLR": _equimod(_BASES["SimCLR"]),
    "EquiMod-BYOL": _equimod(_BASES["BYOL"]),
    **{f"CARE-{name}": _care(change) for name, change in _BASES.items()},
}


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
    elif scale in ("small", "reduced"):
        options = config.evaluation.options
        options.augmentations, options.pairs, options.queries = 6, 2, 0
        options.care_epochs = 0


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


_DATASETS = {
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "STL-10": "stl10",
    "ImageNet-100": "imagenet100",
}
_METRICS = ("care_probe_top1", "probe_top1")


def _cells(table: str) -> Mapping[tuple[str, str], str]:
    """A run for every cell of a published table: care-simclr@cifar10."""
    return {
        (row, column): f"{_slug(row)}@{_DATASETS[column]}"
        for row, column in published()[table].cells
    }


def _slug(row: str) -> str:
    return row.lower().replace(" ", "-")


def _runs(
    cells: Mapping[tuple[str, str], str],
    methods: Mapping[str, Change],
    encoder: str,
    scale: str,
    data: DataChoice,
) -> Runs:
    return {
        run: scales.config(_DATASETS[column], methods[row], scale, data, encoder=encoder)
        for (row, column), run in cells.items()
    }


# Gupta et al. 2024 (arXiv:2306.13924), appendix.
_IMAGENET_PROBE = (
    "ImageNet-100: the probe is the paper's, 60 epochs of SGD in batches of 128 at a rate of 30 "
    "(10 in the authors' README), times 0.1 after 30, 40 and 50 epochs. The paper does not say "
    "under which views: they are crop and flip, and momentum 0.9 without weight decay, as in "
    "MoCo's linear classification. Rotation measures are of CARE's equivariance recipe there for "
    "every method."
)


def _with_and_without(scale: str, data: DataChoice) -> Runs:
    """vicreg, vicreg_care, …: on CIFAR-10, or the data given."""
    runs = {}
    for title, name in BASES.items():
        runs[name] = scales.config("cifar10", METHODS[title], scale, data)
        runs[f"{name}_care"] = scales.config("cifar10", METHODS[f"CARE-{title}"], scale, data)
    return runs


def _supervised(config: ConfigDict) -> ConfigDict:
    """Training on labels: the ceiling of class accuracy."""
    del config.objectives["info_nce"]
    config.objectives.classify = ConfigDict(methods.entry("classify"))
    return config


def _reduced(scale: str, data: DataChoice) -> Runs:
    """Every row on CIFAR-10 or the data given; what the primary claims need comes first."""
    changes: dict[str, Change] = {}
    for title, name in BASES.items():
        changes[name] = METHODS[title]
        changes[f"{name}_care"] = care = METHODS[f"CARE-{title}"]
        changes[f"{name}_two_views"] = _shared(care)
        if title == "SimCLR":
            changes["supervised"] = _supervised
        if f"EquiMod-{title}" in METHODS:
            changes[f"{name}_equimod"] = METHODS[f"EquiMod-{title}"]
    return {name: scales.config("cifar10", change, scale, data) for name, change in changes.items()}


def _table_1(scale: str, data: DataChoice) -> Runs:
    if scale == "reduced":
        return _reduced(scale, data)
    return _runs(_TABLE_1, METHODS, "resnet50", scale, data)


_TABLE_1, _ALONE = _cells("care_table1"), _cells("solo_learn")

CARE_TABLE1 = Study(
    name="care_table1",
    title="Linear probe of every base method, with and without CARE, and of EquiMod",
    reproduces=("Table 1",),
    runs=_table_1,
    # At the scale "reduced" all of them; beside published numbers the first that all runs have.
    metrics=(*_METRICS, *METRICS[1:], "composition_held_out", "classifier_top1"),
    published="care_table1",
    cells=_TABLE_1,
    notes=(_IMAGENET_PROBE,),
    figure=claims.report,
)
BASE_METHODS_CARE = Study(
    name="base_methods_care",
    title="Every base method, with and without CARE, on one data set",
    reproduces=(),
    runs=_with_and_without,
    metrics=METRICS,
)
BASE_METHODS = Study(
    name="base_methods",
    title="Linear probe of the base methods alone, by solo-learn's recipes on a ResNet-18",
    reproduces=(),
    runs=lambda scale, data: _runs(_ALONE, SOLO, "resnet18", scale, data),
    metrics=("probe_top1",),
    published="solo_learn",
    cells=_ALONE,
)
