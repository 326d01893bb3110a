"""Several evaluated runs and their floors as one table.

An evaluation result is what evaluation writes to `eval/<step>.json`:
`{"step", "dataset", "encoders": {encoder: {metric: {"value", "sd", "n"}}}, "chance", "skipped"}`.
Results of several trainings that `seeds.merged` put together also say "trainings" of each number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eqssl_jax.measures.classes.knn import NEIGHBOURS
from eqssl_jax.tabular.metrics import (
    FLOORS,
    TITLES,
    arrow,
    check_results,
    describe,
    in_order,
    measured,
    show,
)
from eqssl_jax.tabular.writers import Sheet

Results = Mapping[str, Mapping[str, Any]]


class Cell(NamedTuple):
    """One measurement.

    Attributes:
      value: None where there is none.
      sd: over trainings where there are several, else over probe seeds or augmentations of the one
        training; None where there is only one number.
      trainings: how many trainings `value` is a mean of.
    """

    value: float | None = None
    sd: float | None = None
    trainings: int = 1


class Row(NamedTuple):
    """One metric, with a cell for each column of the table."""

    metric: str
    cells: tuple[Cell, ...]


class Table(NamedTuple):
    """Metrics as rows; runs, floors and chance as columns; and what a reader must know."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def sheet(self) -> Sheet:
        """The numbers written out; in a CSV metric, better, and value and sd of every column."""
        pairs = [heading for name in self.columns for heading in (name, f"{name} sd")]
        records: list[list[Any]] = [["metric", "better", *pairs]]
        for row in self.rows:
            numbers = [number for cell in row.cells for number in (cell.value, cell.sd)]
            records.append([row.metric, describe(row.metric).better, *numbers])
        rows = [
            (title(row.metric), *(cell_text(row.metric, cell) for cell in row.cells))
            for row in self.rows
        ]
        return Sheet(("Metric",), self.columns, rows, self.notes, records)


def title(metric: str) -> str:
    """The title of a metric with the direction that is better."""
    return f"{describe(metric).title} {arrow(metric)}".rstrip()


def cell_text(metric: str, cell: Cell) -> str:
    """A number with "± sd" over trainings, or with "(sd)" where the spread is within one training.

    >>> cell_text("knn", Cell(0.712, 0.004, 3)), cell_text("knn", Cell(0.712, 0.004))
    ('71.2 ± 0.4%', '71.2 (0.4)%')
    """
    text = show(metric, cell.value, cell.sd)
    if cell.trainings > 1 or " ± " not in text:
        return text
    value, spread = text.split(" ± ")
    return f"{value} ({spread.removesuffix('%')}){'%' * spread.endswith('%')}"


def comparison_table(results: Results, metrics: Sequence[str] | None = None) -> Table:
    """Put evaluation results by run side by side, with the floors beside them.

    A floor has one column when all runs agree on it (same data, same architecture), otherwise one
    for each group of runs that do. Columns without any number are left out.

    Args:
      results: run name -> evaluation result, in the order of the columns.
      metrics: which rows, in this order; all that any run measured by default.

    Raises:
      ValueError: without results, for a result without metrics, or an unknown metric.
    """
    check_results(results, metrics)
    if metrics is None:
        metrics = in_order(name for result in results.values() for name in _names(result))
    columns = list(_cells(results, "trained", metrics).items())
    for encoder, heading in TITLES.items():
        columns += _shared(heading, _cells(results, encoder, metrics))
    names, cells = zip(*columns, strict=True)
    rows = tuple(Row(m, row) for m, row in zip(metrics, zip(*cells, strict=True), strict=True))
    return Table(names, rows, _notes(results, rows))


def _names(result: Mapping[str, Any]) -> list[str]:
    """The metrics a result has a number for, whichever encoder it is of."""
    return [
        name
        for encoder in ("trained", *FLOORS)
        for name, number in measured(result, encoder).items()
        if number.get("value") is not None
    ]


def cell_of(result: Mapping[str, Any], metric: str, encoder: str = "trained") -> Cell:
    """The cell of one metric of one encoder, or of "chance"."""
    if encoder == "chance":
        return Cell((result.get("chance") or {}).get(metric))
    number = measured(result, encoder).get(metric) or {}
    return Cell(number.get("value"), number.get("sd"), number.get("trainings", 1))


def _cells(results: Results, encoder: str, metrics: Sequence[str]) -> dict[str, list[Cell]]:
    """By run, the cells of one encoder or of chance."""
    return {
        run: [cell_of(result, metric, encoder) for metric in metrics]
        for run, result in results.items()
    }


def _shared(heading: str, cells: Mapping[str, list[Cell]]) -> list[tuple[str, list[Cell]]]:
    """One column if all runs that have the floor agree, else one for each group that does."""
    groups: dict[str, list[str]] = {}
    for run, column in cells.items():
        if any(cell.value is not None for cell in column):
            groups.setdefault(repr(column), []).append(run)  # repr: NaN equals NaN
    if len(groups) == 1:
        return [(heading, cells[runs[0]]) for runs in groups.values()]
    return [(f"{heading} ({', '.join(runs)})", cells[runs[0]]) for runs in groups.values()]


def _notes(results: Results, rows: Sequence[Row]) -> tuple[str, ...]:
    where = {run: _where(result) for run, result in results.items()}
    if len(set(where.values())) == 1:
        origin = next(iter(where.values()))
    else:
        origin = "; ".join(f"{run}: {place}" for run, place in where.items())
    legend = ", ".join(["↑ higher is better", "↓ lower is better", *_spreads(rows)])
    return (f"{origin}. {legend}.", *_neighbours(results, rows), *_skipped(results))


def _neighbours(results: Results, rows: Sequence[Row]) -> list[str]:
    """How many vote where these are not the usual 200: a small data set has fewer."""
    counts = {result.get("settings", {}).get("knn_neighbours") for result in results.values()}
    unusual = sorted(counts - {None, NEIGHBOURS})
    if not unusual or all(row.metric != "knn" for row in rows):
        return []
    return [f"kNN is by {' or '.join(map(str, unusual))} neighbours instead of {NEIGHBOURS}."]


def _spreads(rows: Sequence[Row]) -> list[str]:
    """What ± and brackets are, where they stand."""
    spread = [cell for row in rows for cell in row.cells if None not in (cell.value, cell.sd)]
    counts = sorted({cell.trainings for cell in spread if cell.trainings > 1})
    words = []
    if counts:
        many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        words.append(f"± one standard deviation over {many} trainings")
    if any(cell.trainings == 1 for cell in spread):
        words.append(
            "(in brackets) one standard deviation over probe seeds or augmentations of one training"
        )
    return words


def _where(result: Mapping[str, Any]) -> str:
    return f"{result.get('dataset', 'unnamed data')}, step {result.get('step', 'unknown')}"


def _skipped(results: Results) -> list[str]:
    """One line a reason: what was not measured, in which runs, and why."""
    reasons: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    metrics = in_order(name for result in results.values() for name in result.get("skipped", {}))
    for name in metrics:
        by_reason: dict[str, list[str]] = {}
        for run, result in results.items():
            if name in result.get("skipped", {}):
                by_reason.setdefault(str(result["skipped"][name]), []).append(run)
        for reason, runs in by_reason.items():
            reasons.setdefault((reason, tuple(runs)), []).append(describe(name).title)
    return [
        f"Not measured{'' if len(runs) == len(results) else ' in ' + ', '.join(runs)}: "
        f"{'; '.join(titles)} ({reason.strip().rstrip('.')})."
        for (reason, runs), titles in reasons.items()
    ]
