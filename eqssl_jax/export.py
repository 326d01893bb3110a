"""Write the encoder of a run for people without this package: PyTorch, JAX, ONNX, the Hub.

    python -m eqssl_jax.export --workdir=runs/care --out=exported/care
    python -m eqssl_jax.export --workdir=runs/care --out=exported/care --onnx --push=USER/care

The folder holds `.safetensors` under torchvision's or timm's names, a program of `jax.export` for
cpu, cuda and tpu, and a model card. Nothing that exists is replaced.
"""

from absl import app, flags

from eqssl_jax import command, storage
from eqssl_jax.command import WORKDIR, run_command, start

STEP = flags.DEFINE_string("step", "latest", "latest, best, or the number of a step.")
OUT = flags.DEFINE_string("out", None, "The new folder.")
NAME = flags.DEFINE_string("name", "", "Of the model; default: the name of the workdir.")
LICENCE = flags.DEFINE_string("licence", "", "Of the weights, e.g. apache-2.0, for the card.")
ONNX = flags.DEFINE_bool("onnx", False, "Also write encoder.onnx (extra: onnx).")
PUSH = flags.DEFINE_string("push", "", "Upload to this repository of the Hugging Face Hub.")
PRIVATE = flags.DEFINE_bool("private", False, "A repository that --push makes is private.")
flags.adopt_module_key_flags(command)  # --help shows them too


def main(argv: list[str]) -> None:
    # Imported late: --help and a mistyped flag answer at once.
    def run() -> None:
        from eqssl_jax.experiment.export import check_repository, export, push

        if PUSH.value:
            check_repository(PUSH.value)
        out = storage.path(OUT.value or "")
        files = export(
            storage.path(command.workdir()),
            out,
            step=STEP.value,
            name=NAME.value,
            licence=LICENCE.value,
            onnx=ONNX.value,
        )
        print(f"Exported to {out}: {', '.join(path.name for path in files)}", flush=True)
        if PUSH.value:
            print(f"Pushed: {push(out, PUSH.value, private=PRIVATE.value)}", flush=True)

    if WORKDIR.value is None or not OUT.value:
        raise app.UsageError("--workdir, the folder of a run, and --out, a new folder, are needed.")
    run_command(run, argv)


if __name__ == "__main__":
    start(main)
