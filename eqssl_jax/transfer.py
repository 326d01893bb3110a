"""What encoders are worth on other data: linear probe, neighbours, and a few images a class.

    python -m eqssl_jax.transfer --encoder=runs/simclr --encoder=runs/care \\
        --data=fruits360@DIR --data=FOLDER --out=transferred

An encoder is a workdir, a weights file, an exported program or module:attribute; data are a folder,
a .zip, an .npz, NAME@DIRECTORY, a name of TFDS or hf:NAME. Each run is measured before training,
too. The probe is fitted by L-BFGS with its weight chosen on validation. To fine-tune instead:
configs/finetune.py.
"""

from absl import app, flags

from eqssl_jax import command, storage

ENCODER = flags.DEFINE_multi_string("encoder", [], "What to measure; several times for several.")
DATA = flags.DEFINE_multi_string("data", [], "Where; several times for several.")
OUT = flags.DEFINE_string("out", None, "The folder to write the table to.")
DIRECTORY = flags.DEFINE_string("directory", "", "Where data sets that are named lie.")
SHOTS = flags.DEFINE_list("shots", ["1", "5", "10"], "Images a class of few-shot.")
DRAWS = flags.DEFINE_integer("draws", 5, "Of these images.")
WEIGHTS = flags.DEFINE_integer("weights", 45, "Weights of L2 tried, from 1e-6 to 1e5.")
IMAGES = flags.DEFINE_integer("images", None, "Training images at most; default: all.")
UNTRAINED = flags.DEFINE_bool("untrained", True, "Each run before training, too.")
SIZE = flags.DEFINE_integer("size", 0, "Bring images to size x size; 0: as the encoder needs.")
OPTIONS = flags.DEFINE_multi_string("encoder_option", [], "Of the encoders, e.g. heads=3.")
flags.adopt_module_key_flags(command)  # --help shows them too


def main(argv: list[str]) -> None:
    def run() -> None:
        from eqssl_jax.experiment.load import check_options
        from eqssl_jax.experiment.transfer import transfer
        from eqssl_jax.overrides import parse_options

        options = parse_options(OPTIONS.value, "--encoder_option")
        check_options(options, transfer, start="--encoder_option=")
        if wrong := [shot for shot in SHOTS.value if not shot.isdigit()]:
            raise ValueError(f"--shots takes whole numbers, found {wrong[0]!r}.")
        transfer(
            ENCODER.value,
            DATA.value,
            storage.path(OUT.value or ""),
            directory=DIRECTORY.value,
            shots=[int(shot) for shot in SHOTS.value],
            draws=DRAWS.value,
            weights=WEIGHTS.value,
            images=IMAGES.value,
            untrained=UNTRAINED.value,
            size=SIZE.value,
            **options,
        )

    if not (ENCODER.value and DATA.value and OUT.value):
        raise app.UsageError("--encoder, --data and --out are needed.")
    command.run_command(run, argv)


if __name__ == "__main__":
    command.start(main)
