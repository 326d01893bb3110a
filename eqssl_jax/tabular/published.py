"""Numbers that papers report (`published.json`, each with its place), and ours beside them."""

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from eqssl_jax.tabular.metrics import MISSING, describe
from eqssl_jax.tabular.tables import Cell
from eqssl_jax.tabular.writers import Sheet

UNITS = {"%": 100.0, "": 1.0}  # how many of it make 1


class Entry(NamedTuple):
    """One cell of a published table.

    Attributes:
      value, sd: shares as fractions (0.9192, not 91.92); None where there is none.
      n: how many seeds `sd` is over; None where it is not said.
      origin: whose number it is, if the table quotes another paper; else "".
      reason: why `value` is None; else "".
    """

    row: str
    column: str
    value: float | None
    sd: float | None
    n: int | None
    origin: str = ""
    reason: str = ""


class Published(NamedTuple):
    """A published table: what was measured, how, where it is printed, and its cells."""

    metric: str
    setting: str
    spread: str  # what ± is over; "" where there is none
    source: Mapping[str, str]  # paper, arxiv (if any), where
    cells: Mapping[tuple[str, str], Entry]  # by (row, column)

    def cite(self) -> str:
        """Paper, arXiv number and place in one line."""
        arxiv = f", arXiv:{self.source['arxiv']}" if "arxiv" in self.source else ""
        return f"{self.source['paper']}{arxiv}, {self.source['where']}"


@functools.cache
def published() -> Mapping[str, Published]:
    """All tables of `published.json` by name.

    >>> published()["care_table1"].cells["CARE-SimCLR", "CIFAR-10"]
    Entry(row='CARE-SimCLR', column='CIFAR-10', value=0.9192, sd=0.0012, n=3, origin='', reason='')
    """
    file = resources.files("eqssl_jax.tabular").joinpath("published.json")
    tables = json.loads(file.read_text(encoding="utf-8"))
    return {name: _table(table) for name, table in tables.items()}


def _table(table: Mapping[str, Any]) -> Published:
    def fraction(number: float | None) -> float | None:
        # Rounded: 91.92 / 100 must be the 0.9192 that was printed.
        return None if number is None else round(number / UNITS[table["unit"]], 6)

    cells = {
        (entry["row"], entry["column"]): Entry(
            **{**entry, "value": fraction(entry["value"]), "sd": fraction(entry["sd"])}
        )
        for entry in table["entries"]
    }
    return Published(table["metric"], table["setting"], table["spread"], table["source"], cells)


_HEADINGS = ("ours", "published", "ours − published")
_COLUMNS = ("column", "row", "metric", "ours", "ours sd", "published", "published sd",
            "difference", "origin", "reason")  # fmt: skip


class Line(NamedTuple):
    """One method on one data set; shares as fractions."""

    column: str
    row: str
    ours: Cell
    published: Entry | None

    def difference(self) -> float | None:
        """Ours minus published; None where either is missing."""
        if self.ours.value is None or self.published is None or self.published.value is None:
            return None
        return self.ours.value - self.published.value


class Beside(NamedTuple):
    """A table like a published one, and what a reader must know."""

    metric: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    def sheet(self) -> Sheet:
        """The numbers written out, in percent; in a CSV shares are fractions."""
        rows = [(line.column, line.row, *_texts(line)) for line in self.lines]
        records = [_COLUMNS, *(_record(self.metric, line) for line in self.lines)]
        title = f"{describe(self.metric).title}, %"
        return Sheet(("Data", "Method"), _HEADINGS, rows, self.notes, records, title)


def beside(
    metric: str,
    ours: Mapping[tuple[str, str], Cell],
    table: Published,
    *,
    notes: Sequence[str] = (),
) -> Beside:
    """Put our numbers, by (row, column), beside those of a published table, in its order.

    Args:
      metric: what ours are, a name of `tabular.METRICS`.
      ours: the cells wanted; those without a value are printed as missing.
      table: the published numbers; a cell it does not have is printed as missing.
      notes: paragraphs below the table, before the sources.

    Raises:
      ValueError: without any cell.
    """
    if not ours:
        raise ValueError("There is nothing to put beside the published numbers: no cell is wanted.")
    columns = list(dict.fromkeys([c for _, c in table.cells] + [c for _, c in ours]))
    rows = list(dict.fromkeys([r for r, _ in table.cells] + [r for r, _ in ours]))
    lines = tuple(
        Line(column, row, ours[row, column], table.cells.get((row, column)))
        for column in columns
        for row in rows
        if (row, column) in ours
    )
    spread = f" ± over {table.spread}." if table.spread else ""
    source = f"Published {table.metric} ({table.setting}): {table.cite()}.{spread}"
    return Beside(metric, lines, (*notes, source, *_footnotes(lines)))


def _record(metric: str, line: Line) -> list[Any]:
    published = line.published
    theirs = (published.value, published.sd) if published else (None, None)
    words = (published.origin, published.reason) if published else ("", "not reported")
    ours = (line.ours.value, line.ours.sd)
    return [line.column, line.row, metric, *ours, *theirs, line.difference(), *words]


def _texts(line: Line) -> tuple[str, str, str]:
    theirs = line.published
    mark = "*" if theirs and (theirs.origin or theirs.reason) else ""
    published = _percent(theirs.value, theirs.sd) if theirs else MISSING
    gap = line.difference()
    return (
        _percent(line.ours.value, line.ours.sd, within=line.ours.trainings == 1),
        published + mark,
        MISSING if gap is None else f"{100 * gap:+.2f}".replace("-", "−"),
    )


def _percent(value: float | None, sd: float | None, *, within: bool = False) -> str:
    """As papers print it, with two decimals; in brackets a spread within one training.

    >>> _percent(0.9192, 0.0012), _percent(0.9192, 0.0012, within=True)
    ('91.92 ± 0.12', '91.92 (0.12)')
    """
    if value is None:
        return MISSING
    if sd is None:
        return f"{100 * value:.2f}"
    return f"{100 * value:.2f} " + (f"({100 * sd:.2f})" if within else f"± {100 * sd:.2f}")


def _footnotes(lines: Sequence[Line]) -> list[str]:
    marked: dict[str, list[str]] = {}
    for line in lines:
        entry = line.published
        if entry and (entry.origin or entry.reason):
            why = f"the paper quotes {entry.origin}" if entry.origin else entry.reason
            marked.setdefault(why, []).append(f"{line.row} on {line.column}")
    return [f"* {', '.join(cells)}: {why}." for why, cells in marked.items()]
