"""Several evaluated runs side by side: a table on the terminal and in files, and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax import figures, tabular
from eqssl_jax.config import plain
from eqssl_jax.experiment.assess import Assessment
from eqssl_jax.training.setup import Setup


def compare(
    results: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]], workdir: Path
) -> None:
    """Print a short table; write the figure, and the whole table as Markdown and CSV.

    Runs that differ only in their seed are one column, with ± over trainings.

    Args:
      results: run -> evaluation result.
      configs: run -> its resolved config, as plain values.
      workdir: where comparison.md, .csv, .png go.
    """
    groups = tabular.by_seed({run: configs[run] for run in results})
    columns = {
        name: tabular.merged([results[run] for run in runs]) for name, runs in groups.items()
    }
    table = tabular.comparison_table(columns)
    roles = [configs[run].get("roles", {}) for run in results]
    short = tabular.headlines([row.metric for row in table.rows], roles)
    print("\n" + tabular.as_text(tabular.comparison_table(columns, metrics=short).sheet()))
    (workdir / "comparison.md").write_text(tabular.as_markdown(table.sheet()))
    (workdir / "comparison.csv").write_text(tabular.as_csv(table.sheet()))
    figures.comparison(columns, workdir / "comparison.png", metrics=short)
    curves = {
        run: np.asarray(result["trajectories"]["trained"][0])
        for run, result in results.items()
        if "trajectories" in result
    }
    if curves:
        figures.trajectories(curves, workdir / "trajectories.png")
    print(f"\nAll of it: {workdir / 'comparison.md'}. The figure: {workdir / 'comparison.png'}")


def show_assessment(run: Setup, measured: Assessment) -> None:
    """Print the short table of one evaluated step beside its floors."""
    results = {"trained": measured.result}
    names = [row.metric for row in tabular.comparison_table(results).rows]
    short = tabular.headlines(names, [plain(run.config)["roles"]]) or None
    table = tabular.comparison_table(results, short)
    print(f"\n{tabular.as_text(table.sheet())}", flush=True)
