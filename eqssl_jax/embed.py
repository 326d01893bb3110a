r"""Features and embeddings of a data set, by any encoder, into a file.

    python -m eqssl_jax.embed --workdir=runs/care --out=features.npz          # the run's own data
    python -m eqssl_jax.embed --workdir=runs/care --data=my_images --out=features.parquet
    python -m eqssl_jax.embed --encoder=vit.safetensors --data=set.npz --out=f.npz \
        --option=heads=3 "--option=mean=(0.5, 0.5, 0.5)" "--option=std=(0.5, 0.5, 0.5)"

Rows are in order, with the file, label and split of each image. Images are read and features
written as they come, so the data may be larger than memory; the file appears when it is complete.
"""

from absl import app, flags

from eqssl_jax import command, storage

ENCODER = flags.DEFINE_string(
    "encoder", None, "Instead of --workdir: a weights file, exported program or module:attribute."
)
STEP = flags.DEFINE_string("step", "latest", "Of the run: latest, best, or the number of a step.")
OUT = flags.DEFINE_string("out", None, "The .npz or .parquet file to write.")
KEYWORDS = {
    **command.image_flags(),
    "batch": flags.DEFINE_integer("batch", 256, "Images that are encoded at a time."),
    "corrupt": flags.DEFINE_enum(
        "corrupt", "error", ["error", "skip"], "Images that cannot be decoded."
    ),
}
OPTIONS = flags.DEFINE_multi_string("option", [], "Of the encoder, e.g. --option=heads=3.")
flags.adopt_module_key_flags(command)  # --help shows them too


def run() -> None:
    # Imported late: --help and a mistyped flag answer at once.
    from eqssl_jax.experiment.embed import embed
    from eqssl_jax.experiment.load import check_options
    from eqssl_jax.overrides import parse_options

    options = parse_options(OPTIONS.value)
    check_options(options, embed, start="--option=")
    count = embed(
        ENCODER.value or command.workdir(),
        storage.path(OUT.value or ""),
        step=STEP.value,
        **{name: flag.value for name, flag in KEYWORDS.items()},
        **options,
    )
    print(f"Features of {count} images: {OUT.value}", flush=True)


def main(argv: list[str]) -> None:
    if (command.WORKDIR.value is None) == (not ENCODER.value):
        raise app.UsageError("Give --workdir, the folder of a run, or --encoder, and not both.")
    if not OUT.value:
        raise app.UsageError("--out is needed: the .npz or .parquet file to write.")
    command.run_command(run, argv)


if __name__ == "__main__":
    command.start(main)
