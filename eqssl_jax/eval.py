"""Evaluate checkpoints of a run, reading nothing but its workdir and its data.

python -m eqssl_jax.eval --workdir=runs/care                # the latest checkpoint
python -m eqssl_jax.eval --workdir=runs/care --step=best    # the best on validation
python -m eqssl_jax.eval --workdir=runs/care --watch        # every new one as it appears
python -m eqssl_jax.eval --workdir=runs/care --config.data.directory=PLACE    # the data moved there
"""

from absl import app, flags

from eqssl_jax import command, storage

STEP = flags.DEFINE_string("step", "latest", "latest, best, all, or the number of a step.")
WATCH = flags.DEFINE_bool("watch", False, "Evaluate new checkpoints until training has ended.")
OPTIONS = flags.DEFINE_multi_string(
    "option",
    [],
    "A budget of the evaluation, e.g. --option=preset=quick or --option=augmentations=5; may be "
    "given several times.",
)
# Settings of the run that an evaluation may change; all others are those of its config.json.
OVERRIDES = {
    "data.directory": flags.DEFINE_string(
        "config.data.directory", None, "Where the data of the run lie now."
    ),
    "data.changed": flags.DEFINE_enum(
        "config.data.changed",
        None,
        ["refuse", "accept"],
        "Whether data that are not those of training are taken as they are.",
    ),
}
flags.adopt_module_key_flags(command)  # --help shows them too


def main(argv: list[str]) -> None:
    if command.WORKDIR.value is None:
        raise app.UsageError("--workdir is needed: the folder that training was started with.")
    command.run_command(run, argv)


def run() -> None:
    # Imported late: --help and a mistyped flag answer at once.
    from eqssl_jax.experiment import assess, watch
    from eqssl_jax.experiment.compare import show_assessment
    from eqssl_jax.overrides import parse_options

    workdir, options = storage.path(command.workdir()), parse_options(OPTIONS.value)
    overrides = {name: flag.value for name, flag in OVERRIDES.items() if flag.value is not None}
    if WATCH.value:
        watch.watch(workdir, options=options, overrides=overrides, show=show_assessment)
        return
    hint = "" if OPTIONS.value else "; --option=preset=quick for a first look"
    print(f"Evaluating (minutes{hint}) ...", flush=True)
    written = assess.assess(
        workdir, STEP.value, options=options, overrides=overrides, show=show_assessment
    )
    for path in written:
        print(f"Evaluated: {path}, its figures beside it", flush=True)


if __name__ == "__main__":
    command.start(main)
