"""What any encoder is equivariant to: the whole evaluation, without training here.

    python -m eqssl_jax.measure --encoder=my_parts:model --data=images --out=measured
    python -m eqssl_jax.measure --encoder=runs/care --encoder=vit.safetensors --data=shapes --out=m

An encoder is a function of NumPy images [n, H, W, C] in [0, 1] (module:attribute), a workdir, a
weights file or an exported program. In Python: `from eqssl_jax.measure import measure`.
"""

import functools
from types import SimpleNamespace
from typing import Any

from absl import app, flags

from eqssl_jax.command import run_command, start


@functools.cache
def flag_values() -> SimpleNamespace:
    """The flags of the command: importing `measure` must not claim names like --data."""
    return SimpleNamespace(
        encoder=flags.DEFINE_multi_string(
            "encoder", [], "What to measure; may be given several times."
        ),
        data=flags.DEFINE_string(
            "data", "", "A folder, .zip or .npz of images, or a data set's name."
        ),
        directory=flags.DEFINE_string("directory", "", "Where a data set that is named lies."),
        recipe=flags.DEFINE_string(
            "recipe", "factors", "Whose effect is measured; or module:attribute."
        ),
        out=flags.DEFINE_string(
            "out", None, "The folder to write numbers, figures and the page to."
        ),
        size=flags.DEFINE_integer(
            "size", 0, "Bring images to size x size; 0: as the encoder needs."
        ),
        preset=flags.DEFINE_enum(
            "preset", "quick", ["quick", "full"], "Budgets of the evaluation."
        ),
        own=flags.DEFINE_multi_string("measure", [], "A measure of your own, module:attribute."),
        options=flags.DEFINE_multi_string("option", [], "A budget, e.g. --option=augmentations=5."),
        loading=flags.DEFINE_multi_string("encoder_option", [], "Of the encoders, e.g. heads=3."),
    )


def measure(encoders: Any, data: Any, **options: Any) -> dict[str, dict[str, Any]]:
    """As `experiment.any_encoder.measure`, which says what may be given; results by name."""
    from eqssl_jax.experiment import any_encoder

    return any_encoder.measure(encoders, data, **options)


def main(argv: list[str]) -> None:
    flag = flag_values()

    def run() -> None:
        from eqssl_jax.experiment.assess import parse_options

        measure(
            list(flag.encoder.value),
            flag.data.value,
            recipe=flag.recipe.value,
            out=flag.out.value,
            directory=flag.directory.value,
            size=flag.size.value,
            preset=flag.preset.value,
            own=flag.own.value,
            encoder_options=parse_options(flag.loading.value),
            **parse_options(flag.options.value),
        )

    if not (flag.encoder.value and flag.data.value and flag.out.value):
        raise app.UsageError("--encoder, --data and --out are needed.")
    run_command(run, argv)


if __name__ == "__main__":
    flag_values()
    start(main)
