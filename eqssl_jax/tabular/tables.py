"""Several evaluated runs and their floors as one table.

An evaluation result is what evaluation writes to `eval/<step>.json`:
`{"step", "dataset", "encoders": {encoder: {metric: {"value", "sd", "n"}}}, "chance", "skipped"}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eqssl_jax.tabular.metrics import FLOORS, TITLES, check_results, describe, in_order, measured

Results = Mapping[str, Mapping[str, Any]]


class Cell(NamedTuple):
    """One measurement; `sd` is None where there is only one number, `value` where there is none."""

    value: float | None = None
    sd: float | None = None


class Row(NamedTuple):
    """One metric, with a cell for each column of the table."""

    metric: str
    cells: tuple[Cell, ...]


class Table(NamedTuple):
    """Metrics as rows; runs, floors and chance as columns; and what a reader must know."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def comparison_table(results: Results, metrics: Sequence[str] | None = None) -> Table:
    """Put evaluation results by run side by side, with the floors beside them.

    A floor has one column when all runs agree on it (same data, same architecture), otherwise one
    for each run that measured it. Columns without any number are left out.

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
    for encoder, title in TITLES.items():
        columns += _shared(title, _cells(results, encoder, metrics))
    names, cells = zip(*columns, strict=True)
    rows = tuple(Row(m, row) for m, row in zip(metrics, zip(*cells, strict=True), strict=True))
    return Table(names, rows, _notes(results, rows))


def _names(result: Mapping[str, Any]) -> list[str]:
    """The metrics a result has a number for, whichever encoder it is of."""
    encoders = ("trained", *FLOORS)
    return [
        name
        for encoder in encoders
        for name, found in measured(result, encoder).items()
        if found.get("value") is not None
    ]


def _cells(results: Results, encoder: str, metrics: Sequence[str]) -> dict[str, list[Cell]]:
    """By run, the cells of one encoder or of chance."""
    if encoder == "chance":
        chances = {run: result.get("chance", {}) for run, result in results.items()}
        return {run: [Cell(chance.get(m)) for m in metrics] for run, chance in chances.items()}
    cells = {}
    for run, result in results.items():
        found = [measured(result, encoder).get(m) or {} for m in metrics]
        cells[run] = [Cell(one.get("value"), one.get("sd")) for one in found]
    return cells


def _shared(title: str, cells: Mapping[str, list[Cell]]) -> list[tuple[str, list[Cell]]]:
    """One column if all runs that have the floor agree, else one for each of them."""
    known = {
        run: column for run, column in cells.items() if any(c.value is not None for c in column)
    }
    distinct = {repr(column): column for column in known.values()}  # repr: NaN equals NaN
    if len(distinct) == 1:
        return [(title, next(iter(distinct.values())))]
    return [(f"{title} ({run})", column) for run, column in known.items()]


def _notes(results: Results, rows: Sequence[Row]) -> tuple[str, ...]:
    legend = ["↑ higher is better", "↓ lower is better"]
    if any(cell.value is not None and cell.sd is not None for row in rows for cell in row.cells):
        legend.append("± one standard deviation over seeds or augmentations")
    where = {run: _where(result) for run, result in results.items()}
    if len(set(where.values())) == 1:
        origin = next(iter(where.values()))
    else:
        origin = "; ".join(f"{run}: {place}" for run, place in where.items())
    return (f"{origin}. {', '.join(legend)}.", *_skipped(results))


def _where(result: Mapping[str, Any]) -> str:
    return f"{result.get('dataset', 'unnamed data')}, step {result.get('step', 'unknown')}"


def _skipped(results: Results) -> list[str]:
    """One line a reason: what was not measured, in which runs, and why."""
    reasons: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    every = in_order(name for result in results.values() for name in result.get("skipped", {}))
    for name in every:
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
