"""Train (and for several runs in one config, also evaluate and compare).

    python -m eqssl_jax.main --config=configs/care.py:cifar10 --workdir=runs/care

A setting of the config is changed by its name: --config.optimizer.learning_rate=0.001
"""

from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from eqssl_jax import command
from eqssl_jax.command import WORKDIR, run_command, start

CONFIG = config_flags.DEFINE_config_file("config", None, "The config file, e.g. configs/care.py.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the resolved plan and stop.")
flags.adopt_module_key_flags(command)  # --help shows them too


def main(argv: list[str]) -> None:
    # Imported late: --help and a mistyped flag answer at once.
    def run() -> None:
        from eqssl_jax.experiment import run as experiment

        if DRY_RUN.value:
            experiment.show_plans(CONFIG.value)
        else:
            experiment.run(CONFIG.value, Path(WORKDIR.value or ""))

    if CONFIG.value is None:
        raise app.UsageError("--config is needed, e.g. --config=configs/quickstart.py")
    if WORKDIR.value is None and not DRY_RUN.value:
        raise app.UsageError("--workdir is needed: the folder that will hold the run.")
    run_command(run, argv)


if __name__ == "__main__":
    start(main)
