"""Which role should each transformation have? Train small encoders, and compare.

    python -m eqssl_jax.advise --config=configs/advise.py:shapes --workdir=runs/advice

Budgets are settings: --config.advice.seeds=5 --config.train.steps=400. Started again, it goes on.
"""

from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from eqssl_jax import command
from eqssl_jax.command import WORKDIR, run_command, start

CONFIG = config_flags.DEFINE_config_file("config", None, "The config, e.g. configs/advise.py.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print what would be compared and stop.")
flags.adopt_module_key_flags(command)  # --help shows them too


def main(argv: list[str]) -> None:
    # Imported late: --help and a mistyped flag answer at once.
    def run() -> None:
        from eqssl_jax import advice

        if DRY_RUN.value:
            advice.show_plan(CONFIG.value)
        else:
            advice.advise(CONFIG.value, Path(WORKDIR.value or ""))

    if CONFIG.value is None:
        raise app.UsageError("--config is needed, e.g. --config=configs/advise.py:shapes")
    if WORKDIR.value is None and not DRY_RUN.value:
        raise app.UsageError("--workdir is needed: the folder that will hold the advice.")
    run_command(run, argv)


if __name__ == "__main__":
    start(main)
