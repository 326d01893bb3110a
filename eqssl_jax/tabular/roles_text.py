"""Advice on paper: each role tried with its evidence, a ✓ at the advised one, and the reasons."""

import csv
import io
import textwrap
from collections.abc import Sequence

from eqssl_jax.tabular.evidence import UNDECIDED, AdviceTable, Evidence, Verdict
from eqssl_jax.tabular.lines import aligned_line, markdown_line
from eqssl_jax.tabular.metrics import MISSING, arrow, describe, show

MARK = "✓"


def text(table: AdviceTable, width: int) -> str:
    """For a terminal; metrics that do not fit side by side follow in further blocks."""
    part_width = max(len(row.part) for row in table.rows)
    stubs, last = [], None
    for row in table.rows:
        name = row.part if row.part != last else ""
        stubs.append(f"{name.ljust(part_width)}  {MARK if row.advised else ' '} {row.role}")
        last = row.part
    stub = max(map(len, stubs))
    blocks: list[list[tuple[list[str], list[str]]]] = []
    room = 0
    for i, metric in enumerate(table.metrics):
        texts = [interval(metric, row.cells[i]) for row in table.rows]
        title = f"{describe(metric).title} {arrow(metric)}".rstrip()
        heading = textwrap.wrap(title, max(12, *map(len, texts)))
        needed = 2 + max(map(len, heading + texts))
        if not blocks or room < needed:
            blocks.append([])
            room = width - stub
        blocks[-1].append((heading, texts))
        room -= needed
    parts = ["\n".join(_block(stubs, stub, block)) for block in blocks]
    said = [_said(verdict) for verdict in table.verdicts]
    lines = [line for one in said for line in textwrap.wrap(one, width, subsequent_indent="  ")]
    notes = [line for note in _notes(table) for line in textwrap.wrap(note, width)]
    return "\n\n".join([*parts, "\n".join(lines), "\n".join(notes)]) + "\n"


def markdown(table: AdviceTable) -> str:
    """For a page: the table, a list of the reasons, then the notes."""
    titles = [f"{describe(m).title} {arrow(m)}".rstrip() for m in table.metrics]
    lines = [
        markdown_line("Transformation", "Role", *titles),
        "|---|---|" + "---:|" * len(titles),
    ]
    for row in table.rows:
        role = f"**{row.role} {MARK}**" if row.advised else row.role
        texts = [interval(m, cell) for m, cell in zip(table.metrics, row.cells, strict=True)]
        lines.append(markdown_line(row.part, role, *texts))
    said = "\n".join(f"- {_said(verdict)}" for verdict in table.verdicts)
    return "\n\n".join(["\n".join(lines), said, *_notes(table)]) + "\n"


def comma_separated(table: AdviceTable) -> str:
    """For other programs: full precision, empty where missing."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    numbers = [f"{m}{end}" for m in table.metrics for end in ("", " low", " high", " n")]
    writer.writerow(["transformation", "role", "advised", *numbers])
    for row in table.rows:
        cells = [number for cell in row.cells for number in cell]
        writer.writerow([row.part, row.role, "yes" if row.advised else "no", *cells])
    return written.getvalue()


def interval(metric: str, cell: Evidence) -> str:
    """A value with its interval, as the metric's format says.

    >>> interval("knn", Evidence(0.612, 0.589, 0.634, 3)), interval("knn", Evidence())
    ('61.2% [58.9, 63.4]', '–')
    """
    if cell.value is None:
        return MISSING
    if cell.low is None or cell.high is None:
        return show(metric, cell.value)
    low, high = (show(metric, bound).removesuffix("%") for bound in (cell.low, cell.high))
    return f"{show(metric, cell.value)} [{low}, {high}]"


def _said(verdict: Verdict) -> str:
    reason = f" – {verdict.reason}" if verdict.reason else ""
    return f"{verdict.part}: {verdict.role or UNDECIDED}{reason}"


def _notes(table: AdviceTable) -> list[str]:
    notes = [
        f"{MARK} advised role, [low, high] its interval, ↑ higher is better, ↓ lower is better."
    ]
    if table.floor:
        floors = [f"{describe(m).title} {show(m, value)}" for m, value in table.floor.items()]
        notes.append(f"Floor: {'; '.join(floors)}.")
    return notes


def _block(
    stubs: Sequence[str], stub: int, columns: Sequence[tuple[list[str], list[str]]]
) -> list[str]:
    """Heading, rule and rows of metrics that fit side by side."""
    widths = [max(map(len, heading + texts)) for heading, texts in columns]
    depth = max(len(heading) for heading, _ in columns)
    above = [[""] * (depth - len(heading)) + heading for heading, _ in columns]
    lines = [aligned_line("", stub, [words[i] for words in above], widths) for i in range(depth)]
    lines.append("─" * (stub + sum(widths) + 2 * len(widths)))
    return lines + [
        aligned_line(first, stub, [texts[i] for _, texts in columns], widths)
        for i, first in enumerate(stubs)
    ]
