"""Reproduce a table or figure of the CARE paper: train what is missing, and compare.

    python -m eqssl_jax.tables                               # what there is
    python -m eqssl_jax.tables --table=lambda_sweep --scale=small --runs=runs/studies \\
        --data=cifar10.npz
    python -m eqssl_jax.tables --table=care_table1 --scale=paper --runs=runs/studies --plan

Started again, it goes on where it was; runs are shared by all studies in one --runs.
"""

import os
from pathlib import Path

from absl import app, flags

from eqssl_jax import command

TABLE = flags.DEFINE_string("table", None, "Name of a study; without it, all are listed.")
SCALE = flags.DEFINE_string(
    "scale",
    "small",
    "paper (or full), reduced (hours of two cores), small (an hour, two cores) or smoke.",
)
RUNS = flags.DEFINE_string("runs", None, "Folder that holds the runs of studies.")
DATA = flags.DEFINE_string("data", "", "An .npz, a folder or .zip, a TFDS name, shapes or digits.")
SEEDS = flags.DEFINE_integer("seeds", 1, "Trainings of each run.")
ONLY = flags.DEFINE_list(
    "only",
    [],
    "Columns, rows or names of runs; the others are left. Of runs sie@solids also sie or @solids. "
    "In the benchmark module:attribute is a method of your own, a row beside the built-in ones.",
)
SETTINGS = flags.DEFINE_string(
    "settings",
    "",
    'A JSON file with settings of single runs, {"RUN": {"PATH": VALUE}}, such as the λ that '
    "--table=lambda_choice has written.",
)
PLAN = flags.DEFINE_bool("plan", False, "Print commands and costs of missing runs; train nothing.")
flags.adopt_module_key_flags(command)  # --help shows them too


def main(argv: list[str]) -> None:
    if TABLE.value is not None and RUNS.value is None:
        raise app.UsageError("--runs is needed: the folder that holds the runs of studies.")
    command.run_command(run, argv)


def run() -> None:
    if SCALE.value == "smoke":  # nearly all of it is compiling: quickly rather than well
        quick = "--xla_backend_optimization_level=0"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {quick}".strip()
    # Imported late: --help and a mistyped flag answer at once.
    from eqssl_jax import studies
    from eqssl_jax.studies import folders, given, overview, produce

    if TABLE.value is None:
        overview.show_studies(studies.STUDIES)
        return
    scale = "paper" if SCALE.value == "full" else SCALE.value
    study = studies.find(TABLE.value)
    directory = Path() if RUNS.value is None else command.folder("--runs", RUNS.value, bucket=True)
    data = studies.parse_data(DATA.value)
    seeds, settings = SEEDS.value, given.read(SETTINGS.value) if SETTINGS.value else {}
    if settings:
        note = f"Set by {SETTINGS.value}: {given.words(settings)}."
        study = study._replace(notes=(*study.notes, note))
    choice = folders.choose(study, scale, data, seeds=seeds, only=ONLY.value, settings=settings)
    if PLAN.value:
        overview.show_plan(
            study, scale, DATA.value, choice, directory, seeds=seeds, settings=SETTINGS.value
        )
        return
    for path in produce.produce(study, scale, choice, directory):
        print(f"Written: {path}", flush=True)


if __name__ == "__main__":
    command.start(main)
