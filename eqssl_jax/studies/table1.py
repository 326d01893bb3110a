"""Tables of methods × data sets, whose cells papers report."""

from collections.abc import Mapping

from eqssl_jax.reporting.published import published
from eqssl_jax.studies import scales
from eqssl_jax.studies.base import DataChoice, Runs, Study
from eqssl_jax.studies.methods import METHODS

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
    return row.lower().replace(" ", "-").replace("+", "")


def _runs(cells: Mapping[tuple[str, str], str], encoder: str, scale: str, data: DataChoice) -> Runs:
    return {
        run: scales.config(
            _DATASETS[column], METHODS[row.rstrip("+")], scale, data, encoder=encoder
        )
        for (row, column), run in cells.items()
    }


_TABLE_1 = _cells("care_table1")

CARE_TABLE1 = Study(
    name="care_table1",
    title="Linear probe of every base method, with and without CARE, and of EquiMod",
    reproduces=("Table 1",),
    runs=lambda scale, data: _runs(_TABLE_1, "resnet50", scale, data),
    metrics=_METRICS,
    published="care_table1",
    cells=_TABLE_1,
)
