"""Which role should each transformation have? Train small encoders, and compare.

    python -m eqssl_jax.advise --config=configs/advise.py:shapes --workdir=runs/advice

Budgets are settings: --config.advice.seeds=5 --config.train.steps=400. Started again, it goes on.
"""

from typing import Any

from absl import flags

from eqssl_jax import command, storage

command.planned()
flags.adopt_module_key_flags(command)  # --help shows them too


# Imported late: --help and a mistyped flag answer at once.
def run(config: Any, workdir: str) -> None:
    from eqssl_jax import advice

    advice.advise(config, storage.path(workdir))


def plan(config: Any) -> None:
    from eqssl_jax import advice

    advice.show_plan(config)


def main(argv: list[str]) -> None:
    command.run_config(argv, run, plan)


if __name__ == "__main__":
    command.start(main)
