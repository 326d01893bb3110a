"""Several evaluated runs side by side: a table on the terminal and in files, and a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eqssl_jax import reporting


def compare(results: Mapping[str, Any], workdir: Path) -> None:
    """Print the table; write comparison.md, comparison.csv and comparison.png to `workdir`."""
    table = reporting.comparison_table(results)
    print("\n" + reporting.as_text(table))
    (workdir / "comparison.md").write_text(reporting.as_markdown(table))
    (workdir / "comparison.csv").write_text(reporting.as_csv(table))
    reporting.comparison(results, workdir / "comparison.png")
    print(f"\nThe table and a figure: {workdir / 'comparison.md'}, {workdir / 'comparison.png'}")
