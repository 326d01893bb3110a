"""One table object and its three forms: text for a terminal, Markdown, and CSV."""

import csv
import io
import itertools
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

STUB = 40  # characters that the names of a row may take in text; longer ones are wrapped


class Sheet(NamedTuple):
    """A table whose numbers are written out.

    Attributes:
      stubs: headings of the columns that name a row.
      columns: headings of the other columns.
      rows: the names and then the cells of each row, as many as there are headings.
      notes: paragraphs below the table.
      records: what a CSV holds, headings first: full precision, None where a number is missing.
      title: a line above the table; "" for none.
    """

    stubs: tuple[str, ...]
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: Sequence[str] = ()
    records: Sequence[Sequence[Any]] = ()
    title: str = ""


def as_text(sheet: Sheet, *, width: int = 80) -> str:
    """For a terminal: at most `width` characters a line; columns that do not fit follow below.

    Of several names of a row, those that the row above has too are left out.
    """
    names = _stub_lines(sheet)
    stub = max((len(line) for lines in names for line in lines), default=0)
    columns = []
    for i, heading in enumerate(sheet.columns, len(sheet.stubs)):
        texts = [row[i] for row in sheet.rows]
        lines = textwrap.wrap(heading, max(10, *map(len, texts), 1)) or [""]
        columns.append((lines, texts))
    blocks: list[list[tuple[list[str], list[str]]]] = []
    room = 0
    for lines, texts in columns:
        needed = 2 + max(map(len, lines + texts))
        if not blocks or room < needed:
            blocks.append([])
            room = width - stub
        blocks[-1].append((lines, texts))
        room -= needed
    parts = [sheet.title] if sheet.title else []
    parts += ["\n".join(_block(names, stub, block)) for block in blocks]
    parts.append("\n".join(line for note in sheet.notes for line in textwrap.wrap(note, width)))
    return "\n\n".join(part for part in parts if part) + "\n"


def as_markdown(sheet: Sheet) -> str:
    """For a page: the title, a Markdown table, then the notes, one paragraph each."""
    lines = [
        markdown_line(*sheet.stubs, *sheet.columns),
        "|" + "---|" * len(sheet.stubs) + "---:|" * len(sheet.columns),
        *(markdown_line(*row) for row in sheet.rows),
    ]
    parts = [sheet.title, "\n".join(lines), *sheet.notes]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_csv(sheet: Sheet) -> str:
    """For other programs: names as in the result files, full precision, empty where missing."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sheet.records)  # floats are written by repr
    return text.getvalue()


def markdown_line(*cells: str) -> str:
    r"""A row of a Markdown table.

    >>> markdown_line("a|b", "1")
    '| a\\|b | 1 |'
    """
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _stub_lines(sheet: Sheet) -> list[list[str]]:
    """The names of each row side by side, wrapped."""
    count = len(sheet.stubs)
    widths = [max((len(row[i]) for row in sheet.rows), default=0) for i in range(count)]
    previous: tuple[str, ...] = ()
    stubs = []
    for row in sheet.rows:
        words = [
            "" if i < count - 1 and row[: i + 1] == previous[: i + 1] else name
            for i, name in enumerate(row[:count])
        ]
        line = "  ".join(word.ljust(w) for word, w in zip(words, widths, strict=True)).rstrip()
        # The names of rows are short but for titles of metrics, which stand alone.
        stubs.append(textwrap.wrap(line, STUB, subsequent_indent="  ") if count == 1 else [line])
        previous = row[:count]
    return stubs


def _block(
    names: Sequence[Sequence[str]], stub: int, columns: Sequence[tuple[list[str], list[str]]]
) -> Iterator[str]:
    """Headings that stand on a rule, and the rows of columns that fit side by side."""
    widths = [max(map(len, lines + texts)) for lines, texts in columns]
    depth = max(len(lines) for lines, _ in columns)
    for i in range(depth):
        words = [([""] * (depth - len(lines)) + lines)[i] for lines, _ in columns]
        yield _line("", stub, words, widths)
    yield "─" * (stub + sum(widths) + 2 * len(widths))
    for i, lines in enumerate(names):
        first, *below = lines or [""]
        cells = [texts[i] for _, texts in columns]
        yield from itertools.chain([_line(first, stub, cells, widths)], below)


def _line(first: str, stub: int, texts: Sequence[str], widths: Sequence[int]) -> str:
    """The name at the left, everything else to the right of its column."""
    cells = (text.rjust(width) for text, width in zip(texts, widths, strict=True))
    return "  ".join([first.ljust(stub), *cells]).rstrip()
