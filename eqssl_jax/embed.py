"""Features and embeddings of a data set, by any encoder, into a file.

    python -m eqssl_jax.embed --workdir=runs/care --out=features.npz          # the run's own data
    python -m eqssl_jax.embed --workdir=runs/care --data=my_images --out=features.parquet
    python -m eqssl_jax.embed --encoder=vit.safetensors --option=heads=3 --data=set.npz --out=f.npz

Rows are in order, with the file, label and split of each image. Images are read and features
written as they come, so the data may be larger than memory; the file appears when it is complete.
"""

from absl import app, flags

from eqssl_jax import command
from eqssl_jax.command import WORKDIR, run_command, start
from eqssl_jax.names import user_path

ENCODER = flags.DEFINE_string(
    "encoder", None, "Instead of --workdir: a weights file, exported program or module:attribute."
)
STEP = flags.DEFINE_string("step", "latest", "Of the run: latest, best, or the number of a step.")
DATA = flags.DEFINE_string(
    "data", "", "A folder or .zip of images, an .npz, or a data set's name; default: the run's own."
)
DIRECTORY = flags.DEFINE_string("directory", "", "Where a data set that is named lies.")
OUT = flags.DEFINE_string("out", None, "The .npz or .parquet file to write.")
SIZE = flags.DEFINE_integer("size", 0, "Bring images to size x size; 0: as the encoder needs.")
BATCH = flags.DEFINE_integer("batch", 256, "Images that are encoded at a time.")
CORRUPT = flags.DEFINE_enum("corrupt", "error", ["error", "skip"], "Images that cannot be decoded.")
OPTIONS = flags.DEFINE_multi_string("option", [], "Of the encoder, e.g. --option=heads=3.")
flags.adopt_module_key_flags(command)  # --help shows them too


def main(argv: list[str]) -> None:
    # Imported late: --help and a mistyped flag answer at once.
    def run() -> None:
        from eqssl_jax.experiment.assess import parse_options
        from eqssl_jax.experiment.embed import embed

        count = embed(
            ENCODER.value or WORKDIR.value or "",
            user_path(OUT.value or ""),
            step=int(STEP.value) if STEP.value.isdigit() else STEP.value,
            images=DATA.value,
            directory=DIRECTORY.value,
            size=SIZE.value,
            batch=BATCH.value,
            corrupt=CORRUPT.value,
            **parse_options(OPTIONS.value),
        )
        print(f"Features of {count} images: {OUT.value}", flush=True)

    if bool(WORKDIR.value) == bool(ENCODER.value):
        raise app.UsageError("Give --workdir, the folder of a run, or --encoder, and not both.")
    if not OUT.value:
        raise app.UsageError("--out is needed: the .npz or .parquet file to write.")
    run_command(run, argv)


if __name__ == "__main__":
    start(main)
