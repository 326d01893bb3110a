"""The numbers of several runs as a table of a page, the best marked where it clearly is."""

import math
from collections.abc import Collection, Mapping, Sequence
from xml.etree.ElementTree import Element

from eqssl_jax.page.markup import html_table, tag
from eqssl_jax.tabular.metrics import FAMILIES, HIGHER, describe, headlines, measured, member
from eqssl_jax.tabular.tables import (
    Cell,
    Results,
    Row,
    Table,
    cell_text,
    comparison_table,
    title,
)

GROUPS = {
    "Classes": ("knn", "probe_", "care_probe_"),
    "Invariance and rotation": ("invariance_", "gram_", "wahba", "rotation_", "gamma", "compos"),
    "The embedding": ("info_nce", "natural", "effective_rank"),
    "Known factors": ("r2_",),
}
FEW = 12  # measurements; more are folded under the headlines
LEAST = 3  # trainings of every run: of fewer none is called the best
MARK = (
    f"Bold: ahead of every other column by more than two standard deviations of the difference, "
    f"counting the spread over trainings and, for accuracies, the sampling of the test images. "
    f"Nothing is bold where a run has fewer than {LEAST} trainings."
)


def number_tables(results: Results, roles: Sequence[Mapping[str, str]] = ()) -> list[Element]:
    """The headlines of evaluated runs beside their floors, then everything in a fold.

    Args:
      results: run name -> evaluation result with at least one number of its trained encoder.
      roles: of each run the role of every part.
    """
    table = comparison_table(results)
    names = [row.metric for row in table.rows]
    short = headlines(names, roles) or names
    notes = [tag("p", note, class_="note") for note in table.notes]
    if len(results) > 1:
        notes.insert(0, tag("p", MARK, class_="note"))
    if len(names) <= FEW:
        return [_table("What was measured", table, results), *notes]
    shortened = _table("In short", comparison_table(results, short), results)
    whole = tag(
        "details",
        tag("summary", f"All {len(names)} measurements"),
        _table("All measurements", table, results, grouped=True),
    )
    return [shortened, whole, *notes]


def clearly_best(
    metric: str,
    cells: Sequence[Cell],
    *,
    runs: int,
    images: int | None = None,
    exact: Collection[int] = (),
) -> int | None:
    """Which of the first `runs` cells is better than every other by two sd of the difference.

    None where there is no such cell, no other run, no direction, a run of fewer than LEAST
    trainings, or a spread that is not known.

    Args:
      metric: its name says which way is better.
      cells: of runs, then of floors.
      runs: how many of the cells are runs.
      images: behind an accuracy, whose sampling error √(p(1 − p)/images) then counts too.
      exact: cells without a spread because they are computed, as chance is.
    """
    better = describe(metric).better
    finite = {i: cell for i, cell in enumerate(cells) if _finite(cell.value)}
    trained = [cell for i, cell in finite.items() if i < runs]
    if better is None or len(trained) < 2 or any(cell.trainings < LEAST for cell in trained):
        return None
    sign = 1 if better == HIGHER else -1
    best = max((i for i in finite if i < runs), key=lambda i: sign * (finite[i].value or 0.0))
    spreads = {i: 0.0 if i in exact else _variance(metric, c, images) for i, c in finite.items()}
    for i, cell in finite.items():
        ahead = sign * ((finite[best].value or 0.0) - (cell.value or 0.0))
        if i != best and not ahead > 2 * math.sqrt(spreads[best] + spreads[i]):
            return None
    return best


def _variance(metric: str, cell: Cell, images: int | None) -> float:
    """Of the number in a cell; infinite where nothing is known of it."""
    value, accuracy = cell.value or 0.0, metric == "knn" or metric.endswith(("_top1", "_top5"))
    sampling = value * (1 - value) / images if accuracy and images else 0.0
    if cell.sd is None or not math.isfinite(cell.sd):
        return sampling or math.inf
    return cell.sd**2 + sampling or math.inf


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _table(caption: str, table: Table, results: Results, *, grouped: bool = False) -> Element:
    runs = len(results)
    images = next((n for r in results.values() if (n := _images(r))), None)
    # The title of chance, or "chance (run)" where runs differ.
    exact = [i for i, name in enumerate(table.columns) if i >= runs and name.startswith("chance")]
    body: dict[str, list[tuple[str, list[Element]]]] = {}
    for row in table.rows:
        heading = title(row.metric)
        best = clearly_best(row.metric, row.cells, runs=runs, images=images, exact=exact)
        cells = _cells(row, best)
        body.setdefault(_group(row.metric) if grouped else "", []).append((heading, cells))
    floors = len(table.columns) - runs
    groups = [("Trained", runs), *([("To be beaten", floors)] if floors else [])]
    return html_table(caption, table.columns, body, stub="Metric", groups=groups, class_="numbers")


def _images(result: Mapping[str, object]) -> int | None:
    return measured(result, "trained").get("knn", {}).get("n")


def _cells(row: Row, best: int | None) -> list[Element]:
    return [
        tag("td", tag("strong", cell_text(row.metric, cell)), title="clearly the best")
        if i == best
        else tag("td", cell_text(row.metric, cell), title=_exact(cell))
        for i, cell in enumerate(row.cells)
    ]


def _exact(cell: Cell) -> str | None:
    """All digits, on hover."""
    return None if cell.value is None else repr(cell.value)


def _group(metric: str) -> str:
    if family := member(metric):
        return FAMILIES[family.family].title
    return next((g for g, starts in GROUPS.items() if metric.startswith(starts)), "Other")
