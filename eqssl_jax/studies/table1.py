"""Tables of methods × data sets, whose cells papers report."""

from collections.abc import Mapping

from eqssl_jax.studies import scales
from eqssl_jax.studies.ablations import METRICS
from eqssl_jax.studies.base import DataChoice, Runs, Study
from eqssl_jax.studies.methods import BASES, METHODS, SOLO
from eqssl_jax.studies.scales import Change
from eqssl_jax.tabular.published import published

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


_TABLE_1, _BASES = _cells("care_table1"), _cells("solo_learn")

CARE_TABLE1 = Study(
    name="care_table1",
    title="Linear probe of every base method, with and without CARE, and of EquiMod",
    reproduces=("Table 1",),
    runs=lambda scale, data: _runs(_TABLE_1, METHODS, "resnet50", scale, data),
    metrics=_METRICS,
    published="care_table1",
    cells=_TABLE_1,
    notes=(_IMAGENET_PROBE,),
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
    runs=lambda scale, data: _runs(_BASES, SOLO, "resnet18", scale, data),
    metrics=("probe_top1",),
    published="solo_learn",
    cells=_BASES,
)
