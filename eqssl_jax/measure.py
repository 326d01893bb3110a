r"""What any encoder is equivariant to: the whole evaluation, without training here.

    python -m eqssl_jax.measure --encoder=my_parts:model --data=images --out=measured
    python -m eqssl_jax.measure --encoder=runs/care --encoder=vit.pth --data=shapes --out=both \
        "--encoder_option=mean=(0.5, 0.5, 0.5)" "--encoder_option=std=(0.5, 0.5, 0.5)"

An encoder is a function of NumPy images [n, H, W, C] in [0, 1] (module:attribute), a workdir, a
weights file or an exported program. In Python: `from eqssl_jax.measure import measure`.
"""

import functools
from typing import Any

from absl import app, flags

from eqssl_jax import command, names


@functools.cache
def keywords() -> dict[str, Any]:
    """The flags by keyword of `measure`: importing it must not claim names like --data."""
    flags.DEFINE_multi_string("encoder", [], "What to measure; may be given several times.")
    flags.DEFINE_multi_string("option", [], "A budget, e.g. --option=augmentations=5.")
    flags.DEFINE_multi_string("encoder_option", [], "Of the encoders that take it, e.g. heads=3.")
    images = command.image_flags()
    flags.adopt_module_key_flags(command)  # --help shows them too
    return {
        **images,
        "recipe": flags.DEFINE_string("recipe", "factors", "By name, or module:attribute."),
        "out": flags.DEFINE_string("out", None, "The folder for numbers, figures and the page."),
        "preset": flags.DEFINE_enum("preset", "quick", ["quick", "full"], "The budgets."),
        "own": flags.DEFINE_multi_string("measure", [], "Your own measure, module:attribute."),
        "only": flags.DEFINE_multi_string("only", [], "One measure by name, and no other."),
    }


def measure(encoders: Any, data: Any, **options: Any) -> dict[str, dict[str, Any]]:
    """As `experiment.any_encoder.measure`, which says what may be given; results by name."""
    from eqssl_jax.experiment import any_encoder

    return any_encoder.measure(encoders, data, **options)


def run() -> None:
    from eqssl_jax.experiment import any_encoder
    from eqssl_jax.overrides import parse_options

    given = {name: flag.value for name, flag in keywords().items()}
    options = parse_options(flags.FLAGS.option)
    given["preset"] = options.pop("preset", given["preset"])  # as eval takes it
    advice = "budgets of the evaluation are options, and this is a flag, if it is anything"
    names.check_free(options, any_encoder.measure, start="--option=", advice=advice)
    measure(
        list(flags.FLAGS.encoder),
        **given,
        encoder_options=parse_options(flags.FLAGS.encoder_option, "--encoder_option"),
        **options,
    )


def main(argv: list[str]) -> None:
    given = keywords()
    if not (flags.FLAGS.encoder and given["data"].value and given["out"].value):
        raise app.UsageError("--encoder, --data and --out are needed.")
    command.run_command(run, argv)


if __name__ == "__main__":
    keywords()
    command.start(main)
