"""Our numbers beside published ones: a block for each data set, a line for each method."""

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from eqssl_jax.tabular.lines import aligned_line, markdown_line
from eqssl_jax.tabular.metrics import MISSING, describe
from eqssl_jax.tabular.published import Entry, Published
from eqssl_jax.tabular.tables import Cell

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


def as_text(table: Beside, *, width: int = 99) -> str:
    """For a terminal."""
    stub = max(len(name) for line in table.lines for name in (line.row, line.column))
    texts = [_texts(line) for line in table.lines]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *texts, strict=True)]
    rule = "─" * (stub + sum(widths) + 2 * len(widths))
    parts = [_title(table)]
    for column, lines in _blocks(table).items():
        heading = aligned_line(column, stub, _HEADINGS, widths)
        body = [aligned_line(line.row, stub, _texts(line), widths) for line in lines]
        parts.append("\n".join([heading, rule, *body]))
    notes = [line for note in table.notes for line in textwrap.wrap(note, width)]
    return "\n\n".join([*parts, "\n".join(notes)]) + "\n"


def as_markdown(table: Beside) -> str:
    """For a page: one table, its first column the data set."""
    lines = [
        markdown_line("Data", "Method", *_HEADINGS),
        "|---|---|---:|---:|---:|",
        *(markdown_line(line.column, line.row, *_texts(line)) for line in table.lines),
    ]
    return "\n\n".join([_title(table), "\n".join(lines), *table.notes]) + "\n"


def as_csv(table: Beside) -> str:
    """For other programs: a line for each cell; shares as fractions, empty where missing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for line in table.lines:
        found = line.published
        theirs = (found.value, found.sd) if found else (None, None)
        words = (found.origin, found.reason) if found else ("", "not reported")
        writer.writerow(
            [line.column, line.row, table.metric, *line.ours, *theirs, line.difference(), *words]
        )
    return text.getvalue()


def _blocks(table: Beside) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in table.lines:
        found.setdefault(line.column, []).append(line)
    return found


def _texts(line: Line) -> tuple[str, str, str]:
    theirs = line.published
    mark = "*" if theirs and (theirs.origin or theirs.reason) else ""
    published = _percent(theirs.value, theirs.sd) if theirs else MISSING
    gap = line.difference()
    return (
        _percent(*line.ours),
        published + mark,
        MISSING if gap is None else f"{100 * gap:+.2f}".replace("-", "−"),
    )


def _percent(value: float | None, sd: float | None) -> str:
    """As papers print it, with two decimals.

    >>> _percent(0.9192, 0.0012)
    '91.92 ± 0.12'
    """
    if value is None:
        return MISSING
    return f"{100 * value:.2f}" + ("" if sd is None else f" ± {100 * sd:.2f}")


def _title(table: Beside) -> str:
    return f"{describe(table.metric).title}, %"


def _footnotes(lines: Sequence[Line]) -> list[str]:
    marked: dict[str, list[str]] = {}
    for line in lines:
        found = line.published
        if found and (found.origin or found.reason):
            why = f"the paper quotes {found.origin}" if found.origin else found.reason
            marked.setdefault(why, []).append(f"{line.row} on {line.column}")
    return [f"* {', '.join(cells)}: {why}." for why, cells in marked.items()]
