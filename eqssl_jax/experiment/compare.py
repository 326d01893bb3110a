"""Several evaluated runs side by side: a table on the terminal and in files, and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax import figures, tabular
from eqssl_jax.config import plain
from eqssl_jax.experiment.assess import Assessment
from eqssl_jax.experiment.stored import Stored, read_arrays
from eqssl_jax.tabular.metrics import describe
from eqssl_jax.training.setup import Setup

# What the role of a part asks of the embedding of an image that goes along it.
ASKED = {
    "invariant": "invariant: {} should not show",
    "rotational": "rotational: all images move as one",
    "ordered": "ordered: more is further away",
    "predicted": "predicted: differences can be read off",
    "off": "off: never seen",
}
VERBS = {"rotate": "turning"}
SHOWN = 6  # numbers of the picture; all are in the table
FEW = 12  # metrics of a short table where none is a headline


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
    named = tabular.by_seed({run: configs[run] for run in results})
    groups = dict(sorted(named.items(), key=lambda item: _rank(configs[item[1][0]])))
    columns = {
        name: tabular.merged([results[run] for run in runs]) for name, runs in groups.items()
    }
    table = tabular.comparison_table(columns)
    roles = [configs[run].get("roles", {}) for run in results]
    metrics = [row.metric for row in table.rows]
    short = tabular.headlines(metrics, roles) or metrics[:FEW]  # only some cards were measured
    print("\n" + tabular.as_text(tabular.comparison_table(columns, metrics=short).sheet()))
    (workdir / "comparison.md").write_text(tabular.as_markdown(table.sheet()))
    (workdir / "comparison.csv").write_text(tabular.as_csv(table.sheet()))
    walked = {name: _arrays(workdir, runs[0], results) for name, runs in groups.items()}
    if all("walk_part" in arrays for arrays in walked.values()):
        _picture(columns, walked, {name: configs[runs[0]] for name, runs in groups.items()},
                 workdir / "comparison.png", short)  # fmt: skip
    else:
        figures.comparison(columns, workdir / "comparison.png", metrics=short)
    curves = {
        run: np.asarray(result["trajectories"]["trained"][0])
        for run, result in results.items()
        if "trajectories" in result
    }
    if curves:
        figures.trajectories(curves, workdir / "trajectories.png")
    print(f"\nAll of it: {workdir / 'comparison.md'}. The figure: {workdir / 'comparison.png'}")


def _rank(config: Mapping[str, Any]) -> int:
    """Columns go from runs that leave all parts invariant to those of the last role in `ASKED`.

    >>> _rank({"roles": {"crop": "invariant", "rotate": "ordered"}}), _rank({})
    (2, 0)
    """
    roles = [role for role in config.get("roles", {}).values() if role in ASKED]
    return max((list(ASKED).index(role) for role in roles), default=0)


def show_assessment(run: Setup, measured: Assessment) -> None:
    """Print the short table of one evaluated step beside its floors."""
    results = {"trained": measured.result}
    names = [row.metric for row in tabular.comparison_table(results).rows]
    short = tabular.headlines(names, [plain(run.config)["roles"]]) or None
    table = tabular.comparison_table(results, short)
    print(f"\n{tabular.as_text(table.sheet())}", flush=True)


def _picture(
    columns: Mapping[str, Any],
    walked: Mapping[str, Stored],
    configs: Mapping[str, Mapping[str, Any]],
    path: Path,
    metrics: list[str],
) -> None:
    """Where one image goes along a part, untrained and by run, above what the roles are judged by.

    Numbers of which neither more nor less is better have their place in the table.
    """
    first = next(iter(walked.values()))
    part = str(first["walk_part"])
    questions = {
        name: ASKED[config.get("roles", {}).get(part, "invariant")].format(VERBS.get(part, part))
        for name, config in configs.items()
    }
    walks = {"untrained": first["walk/random"]}
    walks |= {name: arrays["walk/trained"] for name, arrays in walked.items()}
    way = figures.Way(first["walk_images"], first["walk_value"], part)
    judged = [name for name in metrics if describe(name).better] or metrics
    figures.lead(
        columns, walks, way, path, metrics=judged[:SHOWN], notes={"untrained": " ", **questions}
    )


def _arrays(workdir: Path, run: str, results: Mapping[str, Any]) -> Stored:
    path = workdir / run / "eval" / f"{results[run].get('step')}_arrays.npz"
    return read_arrays(path) if path.is_file() else {}
