"""Our numbers beside published ones: a block for each data set, a line for each method."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eqssl_jax.tabular.metrics import MISSING, describe
from eqssl_jax.tabular.published import Entry, Published
from eqssl_jax.tabular.tables import Cell
from eqssl_jax.tabular.writers import Sheet

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
        found = line.published
        if found and (found.origin or found.reason):
            why = f"the paper quotes {found.origin}" if found.origin else found.reason
            marked.setdefault(why, []).append(f"{line.row} on {line.column}")
    return [f"* {', '.join(cells)}: {why}." for why, cells in marked.items()]
