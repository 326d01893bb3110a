"""Several evaluated runs side by side: a table on the terminal and in files, and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax import figures, tabular


def compare(results: Mapping[str, Any], workdir: Path) -> None:
    """Print a short table; write the figure, and the whole table as Markdown and CSV."""
    measured = {metric for result in results.values() for metric in result["encoders"]["trained"]}
    short = [metric for metric in tabular.HEADLINES if metric in measured]
    table = tabular.comparison_table(results)
    print("\n" + tabular.as_text(tabular.comparison_table(results, metrics=short)))
    (workdir / "comparison.md").write_text(tabular.as_markdown(table))
    (workdir / "comparison.csv").write_text(tabular.as_csv(table))
    figures.comparison(results, workdir / "comparison.png", metrics=short)
    curves = {
        run: np.asarray(result["trajectories"]["trained"][0])
        for run, result in results.items()
        if "trajectories" in result
    }
    if curves:
        figures.trajectories(curves, workdir / "trajectories.png")
    print(f"\nAll of it: {workdir / 'comparison.md'}. The figure: {workdir / 'comparison.png'}")
