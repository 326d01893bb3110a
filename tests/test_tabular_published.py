"""Published numbers: complete, as printed, each with its place; and ours beside them."""

import csv
import io
import json
import re
from importlib import resources

import pytest

from eqssl_jax import tabular
from eqssl_jax.tabular import published
from eqssl_jax.tabular.tables import Cell

# Gupta et al. 2024, arXiv:2306.13924, Table 1, typed anew: (mean, ±), None where there is none.
TABLE_1 = {
    "SimCLR": [(90.98, 0.10), (66.77, 0.34), (84.19, 0.13), (72.79, 0.08)],
    "MoCo-v2": [(91.95, 0.05), (69.88, 0.23), (None, None), (73.50, 0.19)],
    "BYOL": [(90.44, None), (67.41, None)],
    "Barlow Twins": [(84.54, 0.02), (55.54, 0.05), (90.62, 0.02)],
    "EquiMod-SimCLR": [(91.28, None), (67.59, None), (83.67, None)],
    "EquiMod-BYOL": [(91.57, None)],
    "CARE-SimCLR": [(91.92, 0.12), (68.05, 0.28), (84.64, 0.29), (76.69, 0.08)],
    "CARE-MoCo-v2": [(92.19, 0.01), (70.56, 0.15), (88.97, 0.48), (74.30, 0.07)],
    "CARE-Barlow Twins": [(85.65, 0.05), (56.76, 0.02), (90.92, 0.01)],
}
COLUMNS = ("CIFAR-10", "CIFAR-100", "STL-10", "ImageNet-100")


def raw() -> dict:
    file = resources.files("eqssl_jax.tabular").joinpath("published.json")
    return json.loads(file.read_text(encoding="utf-8"))


def percent(number):
    return None if number is None else round(100 * number, 4)


def test_table_1_is_complete():
    table_1 = published.published()["care_table1"]
    expected = {
        (row, column): pair
        for row, pairs in TABLE_1.items()
        for column, pair in zip(COLUMNS, pairs, strict=False)
    }
    cells = {cell: (percent(e.value), percent(e.sd)) for cell, e in table_1.cells.items()}
    assert cells == expected
    assert all(entry.n == (3 if entry.sd else None) for entry in table_1.cells.values())
    assert "legible" in table_1.cells["MoCo-v2", "STL-10"].reason
    assert "EquiMod" in table_1.cells["BYOL", "CIFAR-10"].origin
    assert table_1.cells["BYOL", "CIFAR-100"].origin == "Zhuo et al."
    assert "2306.13924" in table_1.cite()
    assert "Table 1" in table_1.cite()


@pytest.mark.parametrize(
    ("table", "cell", "value"),
    [
        ("care_readme", ("MoCo-v2", "ImageNet-100"), 73.16),
        ("care_readme", ("CARE-MoCo-v2", "ImageNet-100"), 74.22),
        ("care_issue1", ("CARE-MoCo-v2", "ImageNet-100"), 73.3),
        ("solo_learn", ("VICReg", "CIFAR-100"), 68.54),
        ("solo_learn", ("MoCo-v2+", "CIFAR-10"), 92.94),
        ("solo_learn", ("Barlow Twins", "ImageNet-100"), 80.38),
        ("equimod", ("EquiMod-SimCLR", "CIFAR-10"), 92.79),
    ],
)
def test_other_tables(table, cell, value):
    assert percent(published.published()[table].cells[cell].value) == value


def test_an_online_accuracy_is_called_one_beside_our_probe():
    ours = {("BYOL", "CIFAR-10"): Cell(0.5, None)}
    table = published.beside("probe_top1", ours, published.published()["solo_learn"])
    note = "Published online linear accuracy, top-1 (ResNet-18; 1000 epochs"
    assert note in table.notes[0] and "not a probe of the finished one" in table.notes[0]


@pytest.mark.parametrize("name", raw())
def test_every_table_says_where_each_number_is_from(name):
    table = raw()[name]
    assert set(table) == {"metric", "unit", "setting", "spread", "source", "entries"}
    assert {"paper", "where"} <= set(table["source"]) <= {"paper", "where", "arxiv"}
    cells = [(entry["row"], entry["column"]) for entry in table["entries"]]
    assert len(set(cells)) == len(cells)  # no cell stands twice
    for entry in table["entries"]:
        value, sd, n = entry["value"], entry["sd"], entry["n"]
        assert set(entry) <= {"row", "column", "value", "sd", "n", "origin", "reason"}
        assert (value is None) == ("reason" in entry)  # a missing number says why
        assert (sd is None) == (n is None)
        assert sd is None or (value is not None and table["spread"])
        assert value is None or table["unit"] != "%" or 0 <= value <= 100


def table() -> published.Beside:
    ours = {
        ("SimCLR", "CIFAR-10"): Cell(0.4361, 0.001),
        ("CARE-SimCLR", "CIFAR-10"): Cell(0.93, None),
        ("BYOL", "CIFAR-10"): Cell(),
        ("MoCo-v2", "STL-10"): Cell(0.5, 0.01),
        ("VICReg", "STL-10"): Cell(0.6, None),
    }
    return published.beside(
        "probe_top1", ours, published.published()["care_table1"], notes=["Scale small."]
    )


def test_the_difference_is_ours_minus_published():
    differences = {(line.row, line.column): line.difference() for line in table().lines}
    assert differences["SimCLR", "CIFAR-10"] == pytest.approx(0.4361 - 0.9098)
    assert differences["CARE-SimCLR", "CIFAR-10"] == pytest.approx(0.93 - 0.9192)
    for cell in (("BYOL", "CIFAR-10"), ("MoCo-v2", "STL-10"), ("VICReg", "STL-10")):
        assert differences[cell] is None


def test_a_line_of_the_text_holds_both_numbers_and_the_difference():
    lines = tabular.as_text(table().sheet()).splitlines()
    [simclr] = [line.split() for line in lines if " SimCLR " in line]
    # In brackets: the spread within the one training; ±: as published.
    assert simclr[1:] == ["SimCLR", "43.61", "(0.10)", "90.98", "±", "0.10", "−47.37"]
    [care] = [line.split() for line in lines if " CARE-SimCLR " in line]
    assert care == ["CARE-SimCLR", "93.00", "91.92", "±", "0.12", "+1.08"]
    [byol] = [line.split() for line in lines if line.strip().startswith("BYOL ")]
    assert byol == ["BYOL", "–", "90.44*", "–"]
    text = " ".join(lines)
    assert "legible" in text
    assert "Scale small." in text
    assert "± over probe seeds" in text


def test_rows_keep_the_order_of_the_paper_and_columns_are_blocks():
    cells = [(line.column, line.row) for line in table().lines]
    assert cells == [
        ("CIFAR-10", "SimCLR"), ("CIFAR-10", "BYOL"), ("CIFAR-10", "CARE-SimCLR"),
        ("STL-10", "MoCo-v2"), ("STL-10", "VICReg"),
    ]  # fmt: skip


def test_csv_and_markdown_say_what_the_table_says():
    rows = list(csv.DictReader(io.StringIO(tabular.as_csv(table().sheet()))))
    markdown = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in tabular.as_markdown(table().sheet()).splitlines()
        if line.startswith("| ")
    ][1:]
    assert len(rows) == len(markdown) == len(table().lines)
    for line, row, cells in zip(table().lines, rows, markdown, strict=True):
        assert (row["column"], row["row"]) == (line.column, line.row) == tuple(cells[:2])
        for key, value in (
            ("ours", line.ours.value),
            ("ours sd", line.ours.sd),
            ("published", line.published and line.published.value),
            ("difference", line.difference()),
        ):
            assert (float(row[key]) if row[key] else None) == value
        if line.ours.value is not None:
            assert re.split(r" [±(]", cells[2])[0] == f"{100 * line.ours.value:.2f}"
    assert rows[-1]["reason"] == "not reported"


def test_nothing_wanted_is_refused():
    with pytest.raises(ValueError, match="nothing to put"):
        published.beside("probe_top1", {}, published.published()["care_table1"])
