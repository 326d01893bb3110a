"""Lines of tables, for a terminal and for Markdown."""

from collections.abc import Sequence


def markdown_line(*cells: str) -> str:
    r"""A row of a Markdown table.

    >>> markdown_line("a|b", "1")
    '| a\\|b | 1 |'
    """
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def aligned_line(first: str, stub: int, texts: Sequence[str], widths: Sequence[int]) -> str:
    """A row for a terminal: the first cell to the left in `stub` columns, the others right.

    >>> aligned_line("knn", 5, ["1", "22"], [3, 2])
    'knn      1  22'
    """
    cells = (text.rjust(width) for text, width in zip(texts, widths, strict=True))
    return "  ".join([first.ljust(stub), *cells]).rstrip()
