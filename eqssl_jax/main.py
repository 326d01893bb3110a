"""Train (and for several runs in one config, also evaluate and compare).

    python -m eqssl_jax.main --config=care:cifar10 --workdir=runs/care

--config is a config of the package, from any folder, or the path of a file of your own. A setting
is changed by its name: --config.optimizer.learning_rate=0.001

Started again, the command goes on from the last checkpoint. It may change the place of the data
(--config.data.directory), how they are read (data.workers, data.buffered), train.log_every,
train.keep, evaluation.*, and make the run longer (train.epochs or train.steps): a cosine then
goes on as that of the longer run. Other settings belong to another --workdir; so do other data,
unless --config.data.changed=accept. --config.train.init_from=WORKDIR[@best|@STEP] starts from the
encoder of another run.

On several hosts the same command is started once on each. The processes of a SLURM step and the
hosts of a Cloud TPU slice find each other; others are told: --coordinator=HOST:PORT --processes=N
--process=I. The exit status is 75 where training was asked to stop (SIGTERM, Ctrl-C, a closed
terminal) and has saved.
"""

from typing import Any

from absl import flags

from eqssl_jax import command, storage

COORDINATOR = flags.DEFINE_string("coordinator", "", "HOST:PORT of process 0 of several.")
PROCESSES = flags.DEFINE_integer("processes", 0, "How many processes the run has.")
PROCESS = flags.DEFINE_integer("process", -1, "Which of them this is, from 0.")
TIMEOUT = flags.DEFINE_integer("coordinator_timeout", 300, "Seconds to wait for the others.")
command.planned()
flags.adopt_module_key_flags(command)  # --help shows them too


# Imported late: --help and a mistyped flag answer at once.
def run(config: Any, workdir: str) -> None:
    from eqssl_jax.training import processes

    processes.join(
        processes.Cluster(COORDINATOR.value, PROCESSES.value, PROCESS.value, TIMEOUT.value)
    )
    from eqssl_jax.experiment import run as experiment

    with processes.leaving():
        experiment.run(config, storage.path(workdir), overridden=command.overridden())


def plan(config: Any) -> None:
    from eqssl_jax.experiment import run as experiment

    experiment.show_plans(config, overridden=command.overridden())


def main(argv: list[str]) -> None:
    command.run_config(argv, run, plan)


if __name__ == "__main__":
    command.start(main)
