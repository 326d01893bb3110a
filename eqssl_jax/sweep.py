"""A config over values of its settings and over seeds: every run, a table and a figure.

    python -m eqssl_jax.sweep --config=configs/care.py:arrays --config.data.directory=cifar10.npz \\
        --over objectives.equivariance.weight=0.01,0.1,1 --over seed=0,1,2 --workdir=runs/sweep

Started again, it goes on. The value is chosen on validation, and test is looked at once. --plan
prints one command for each missing run; launch/table.sh runs them as jobs.
"""

import sys
from typing import Any

from absl import flags

from eqssl_jax import command, storage

OVER = flags.DEFINE_multi_string("over", [], "NAME=VALUE,VALUE,…; several times for several.")
BY = flags.DEFINE_string("by", "", "Choose by this number of metrics.jsonl, e.g. monitor_rankme.")
ONLY = flags.DEFINE_string("only", "", "Make this one run, and no table.")
PLAN = flags.DEFINE_bool("plan", False, "Print the command of every missing run; train nothing.")
command.planned()
flags.adopt_module_key_flags(command)  # --help shows them too


# Imported late: --help and a mistyped flag answer at once.
def run(config: Any, workdir: str) -> None:
    from eqssl_jax.studies import grid, sweep

    runs = grid.parse(config, OVER.value)
    if PLAN.value:
        words = [word for word in sys.argv[1:] if word.lstrip("-") != "plan"]
        sweep.show_plan(runs, storage.path(workdir), words)
        return
    for path in sweep.sweep(runs, storage.path(workdir), by=BY.value, only=ONLY.value):
        print(f"Written: {path}", flush=True)


def plan(config: Any) -> None:
    from eqssl_jax.experiment.run import show_plans
    from eqssl_jax.studies import grid

    show_plans(grid.parse(config, OVER.value).runs[0].run.config)


def main(argv: list[str]) -> None:
    command.run_config(argv, run, plan)


if __name__ == "__main__":
    command.start(main)
