"""A table on paper: for a terminal, a Markdown page, or another program."""

import csv
import io
import textwrap

from eqssl_jax.tabular import roles_text
from eqssl_jax.tabular.evidence import AdviceTable
from eqssl_jax.tabular.lines import aligned_line, markdown_line
from eqssl_jax.tabular.metrics import arrow, describe, show
from eqssl_jax.tabular.tables import Table


def as_text(table: Table | AdviceTable, *, width: int = 99) -> str:
    """For a terminal: at most `width` characters a line, many columns in several blocks."""
    if isinstance(table, AdviceTable):
        return roles_text.text(table, width)
    titles = [_title(row.metric) for row in table.rows]
    stub = min(max(map(len, titles), default=0), 40)
    columns = []
    for i, name in enumerate(table.columns):
        texts = [show(row.metric, *row.cells[i]) for row in table.rows]
        columns.append((textwrap.wrap(name, max(10, *map(len, texts), 1)) or [""], texts))
    blocks: list[list[tuple[list[str], list[str]]]] = []
    room = 0
    for heading, texts in columns:
        needed = 2 + max(map(len, heading + texts))
        if not blocks or room < needed:
            blocks.append([])
            room = width - stub
        blocks[-1].append((heading, texts))
        room -= needed
    parts = ["\n".join(_block(titles, stub, block)) for block in blocks]
    notes = [line for note in table.notes for line in textwrap.wrap(note, width)]
    return "\n\n".join([*parts, "\n".join(notes)]).rstrip() + "\n"


def as_markdown(table: Table | AdviceTable) -> str:
    """For a page: a Markdown table, then the notes, one paragraph each."""
    if isinstance(table, AdviceTable):
        return roles_text.markdown(table)
    lines = [
        markdown_line("Metric", *table.columns),
        "|---|" + "---:|" * len(table.columns),
        *(
            markdown_line(_title(row.metric), *(show(row.metric, *cell) for cell in row.cells))
            for row in table.rows
        ),
    ]
    return "\n\n".join(["\n".join(lines), *table.notes]) + "\n"


def as_csv(table: Table | AdviceTable) -> str:
    """For other programs: names as in the result files, full precision, empty where missing.

    Columns: metric, better, then the value and "… sd" of every column of the table. Of advice:
    transformation, role, advised, then the value, "… low", "… high" and "… n" of every metric.
    """
    if isinstance(table, AdviceTable):
        return roles_text.comma_separated(table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    pairs = [heading for name in table.columns for heading in (name, f"{name} sd")]
    writer.writerow(["metric", "better", *pairs])
    for row in table.rows:
        # csv writes floats by repr, None as nothing.
        numbers = [number for cell in row.cells for number in cell]
        writer.writerow([row.metric, describe(row.metric).better, *numbers])
    return text.getvalue()


def _title(name: str) -> str:
    return f"{describe(name).title} {arrow(name)}".rstrip()


def _block(titles: list[str], stub: int, columns: list[tuple[list[str], list[str]]]) -> list[str]:
    """Heading, rule and rows of columns that fit side by side."""
    widths = [max(map(len, heading + texts)) for heading, texts in columns]
    depth = max(len(heading) for heading, _ in columns)
    lines = []
    for i in range(depth):  # headings stand on the rule: padded above
        words = [([""] * (depth - len(heading)) + heading)[i] for heading, _ in columns]
        lines.append(aligned_line("", stub, words, widths))
    lines.append("─" * (stub + sum(widths) + 2 * len(widths)))
    for i, title in enumerate(titles):
        first, *rest = textwrap.wrap(title, stub)
        lines.append(aligned_line(first, stub, [texts[i] for _, texts in columns], widths))
        lines += ["  " + more for more in rest]
    return lines
