"""Evaluate checkpoints of a run, reading nothing but its workdir.

python -m eqssl_jax.eval --workdir=runs/care                # the latest checkpoint
python -m eqssl_jax.eval --workdir=runs/care --step=best    # the best on validation
python -m eqssl_jax.eval --workdir=runs/care --watch        # every new one as it appears
"""

from pathlib import Path

from absl import app, flags

from eqssl_jax import command
from eqssl_jax.command import WORKDIR, run_command, start

STEP = flags.DEFINE_string("step", "latest", "latest, best, all, or the number of a step.")
WATCH = flags.DEFINE_bool("watch", False, "Evaluate new checkpoints until training is done.")
OPTIONS = flags.DEFINE_multi_string(
    "option",
    [],
    "A budget of the evaluation, e.g. --option=preset=quick or --option=augmentations=5; may be "
    "given several times.",
)
flags.adopt_module_key_flags(command)  # --help shows them too


def main(argv: list[str]) -> None:
    # Imported late: --help and a mistyped flag answer at once.
    def run() -> None:
        from eqssl_jax.experiment import assess

        workdir = Path(WORKDIR.value or "")
        options = assess.parse_options(OPTIONS.value)
        if WATCH.value:
            assess.watch(workdir, options=options)
        else:
            hint = "" if OPTIONS.value else "; --option=preset=quick for a first look"
            print(f"Evaluating (minutes{hint}) ...", flush=True)
            for path in assess.assess(workdir, STEP.value, options=options):
                print(f"Evaluated: {path}, its figures beside it", flush=True)

    if WORKDIR.value is None:
        raise app.UsageError("--workdir is needed: the folder that training was started with.")
    run_command(run, argv)


if __name__ == "__main__":
    start(main)
