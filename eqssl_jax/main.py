"""Train (and for several runs in one config, also evaluate and compare).

    python -m eqssl_jax.main --config=configs/care.py:cifar10 --workdir=runs/care

A setting of the config is changed by its name: --config.optimizer.learning_rate=0.001
"""

from pathlib import Path
from typing import Any

from absl import flags

from eqssl_jax import command

command.planned()
flags.adopt_module_key_flags(command)  # --help shows them too


# Imported late: --help and a mistyped flag answer at once.
def run(config: Any, workdir: str) -> None:
    from eqssl_jax.experiment import run as experiment

    experiment.run(config, Path(workdir))


def plan(config: Any) -> None:
    from eqssl_jax.experiment import run as experiment

    experiment.show_plans(config)


def main(argv: list[str]) -> None:
    command.run_config(argv, run, plan)


if __name__ == "__main__":
    command.start(main)
