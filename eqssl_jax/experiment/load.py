"""Any encoder by what names it: a run, a weights file, an exported program, a function."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import jax
import numpy as np
from jax.tree_util import Partial

from eqssl_jax import names, storage
from eqssl_jax.encoders import from_weights, frozen, host, program, weight_files
from eqssl_jax.encoders.frozen import Encoder, compiled_encoder
from eqssl_jax.training.stored import open_run

WEIGHTS = "weights:"
FORMS = (
    "the workdir of a run (runs/care, or runs/care@200 and runs/care@best for a step), a weights "
    "file (.safetensors, .pth), an exported program (encoder.jax, or its folder), or your own "
    "function as module:attribute"
)


def load(
    source: str | Path | Callable[[np.ndarray], Any],
    step: int | str = "latest",
    *,
    name: str | None = None,
    batch: int = frozen.BATCH,
    **options: Any,
) -> Encoder:
    """An encoder from whatever holds one, without any data.

    | source                                 | options                                           |
    |----------------------------------------|---------------------------------------------------|
    | the workdir of a run                   | none; `step` or "@step" chooses the checkpoint    |
    | a weights file, or "weights:FILE"      | of `encoders.from_weights`: mean, std (needed);   |
    |                                        | heads, pool, image_size, position, part           |
    | "encoder.jax" or the folder of it      | none                                              |
    | "module:attribute", or the function    | `image_shape`, if it takes one size; and, if the  |
    |                                        | attribute has to be called first, its arguments   |

    A function takes NumPy images, float32 [n, H, W, C] in [0, 1], and gives features [n, F] (see
    `encoders.host`). An attribute that can be called without arguments is called first, and gives
    the function: a factory that loads a model, or a class.

    Args:
      source: see the table.
      step: of a run: "latest", "best" (on validation), or the number of a kept step.
      name: what tables and figures call it; None: after its source.
      batch: most images that are encoded at a time.
      **options: of the source.

    Raises:
      FileNotFoundError: if there is no such file or folder.
      ValueError: for a source that is none of these, options that it does not take, and as each.
      OSError: for a checkpoint that is damaged.
    """
    if batch < 1:
        raise ValueError(f"An encoder needs batches of at least 1 image, found batch={batch}.")
    encoder = _open(source, step, batch, options)
    return dataclasses.replace(encoder, name=name or encoder.name, batch=batch)


def _open(source: Any, step: int | str, batch: int, options: dict[str, Any]) -> Encoder:
    if isinstance(source, Encoder) or callable(source):
        return _of_function(source, getattr(source, "__name__", type(source).__name__), options)
    if not isinstance(source, str | PurePath) or not str(source):
        raise ValueError(f"An encoder is named by {FORMS}; found {source!r}.")
    path = storage.path(str(source).removeprefix(WEIGHTS))
    if _is_weights(source):
        return _of_weights(storage.fetched(path), options)
    if not path.exists() and names.is_outside(str(source)):
        return _of_name(str(source), options)
    if (path / program.FILE).exists() or path.suffix == Path(program.FILE).suffix:
        _no_options(options, f"the program {path}")
        return _of_program(storage.fetched(path))
    folder, step = run_folder(source, step)
    if not folder.exists():
        raise FileNotFoundError(f"There is no {source}: an encoder is named by {FORMS}.")
    if not folder.is_dir():
        raise ValueError(f"{path} is no encoder: expected {FORMS}.")
    _no_options(options, f"the run {folder}")
    return _of_run(folder, step)


def check_options(options: Mapping[str, Any], *functions: Callable[..., Any], start: str) -> None:
    """Refuse options of an encoder that `load`, or `functions` that hand them on, take otherwise.

    Raises:
      ValueError: as `names.check_free`.
    """
    of_weights = [name for name in inspect.signature(from_weights).parameters if name != "path"]
    advice = (
        f"encoders take {', '.join(of_weights)}, image_shape and the arguments of your own "
        f"function; the encoder itself and all else are flags, such as --encoder and --data"
    )
    names.check_free(options, *functions, load, start=start, advice=advice)


def given_to(source: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Of options that several encoders share those of this one.

    Weights take those of `encoders.from_weights`, functions all others; runs and programs none.
    """
    of_weights = inspect.signature(from_weights).parameters
    if _is_weights(source):
        return {name: value for name, value in options.items() if name in of_weights}
    named = isinstance(source, str) and names.is_outside(source) and not Path(source).exists()
    if named or not isinstance(source, str | PurePath):
        return {name: value for name, value in options.items() if name not in of_weights}
    return {}


def _is_weights(source: Any) -> bool:
    suffixes = (".safetensors", *weight_files.PICKLES)
    return str(source).startswith(WEIGHTS) or Path(str(source)).suffix in suffixes


def run_folder(source: str | PurePath, step: int | str = "latest") -> tuple[Path, int | str]:
    """The workdir and the step that "runs/care@200" stands for, or "runs/care" with `step`."""
    path = storage.path(source)
    if path.exists() or "@" not in path.name:
        return path, step
    name, _, after = path.name.rpartition("@")
    return path.with_name(name), int(after) if after.isdigit() else after


def _of_run(workdir: Path, step: int | str) -> Encoder:
    run = open_run(workdir, step)
    about = run.trained_on
    return Encoder(
        name=workdir.resolve().name,
        origin=f"step {int(run.state.step)} of the run {workdir}",
        forward=run.layers(),
        image_shape=about.input_shape,
        mean=about.mean,
        std=about.std,
        classes=about.classes,
        untrained=run.untrained,
    )


def _of_program(path: Path) -> Encoder:
    """Whoever wrote it: features of an image must not depend on the batch."""
    encoder = program.read_program(path)
    noise = np.random.default_rng(0).random((host.PROBED, *(encoder.image_shape or ())), np.float32)
    host.prove(encoder.layers, noise, encoder.name)
    return encoder


def _of_weights(path: Path, options: dict[str, Any]) -> Encoder:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights {path}.")
    lacking = [key for key in ("mean", "std") if key not in options]
    if lacking:
        raise ValueError(
            f"{path} does not say how its images were normalised: give {' and '.join(lacking)}, "
            f"one number a channel, of values in [0, 1]. ImageNet's are (0.485, 0.456, 0.406) and "
            f"(0.229, 0.224, 0.225); with (0, 0, 0) and (1, 1, 1) it takes normalised images."
        )
    names.check_call(from_weights, str(path), "given its own options", path, **options)
    network, variables, about = from_weights(path, **options)

    def untrained() -> Partial:
        start = network.init(jax.random.key(0), about.image_shape)
        return Partial(network.layers, start["params"], start["batch_stats"])

    return compiled_encoder(
        network.layers,
        variables["params"],
        variables["batch_stats"],
        name=path.stem,
        origin=" ".join((f"the weights {path} ({about.family}).", *about.notes)),
        image_shape=about.image_shape,
        mean=about.mean,
        std=about.std,
        untrained=untrained,
    )


def _of_name(source: str, options: dict[str, Any]) -> Encoder:
    value = names.resolve(source, "encoder", {}, setting="the encoder")
    name = source.rpartition(":")[2]
    if not _is_factory(value):
        return _of_function(value, name, options, origin=source)
    shape = {key: options[key] for key in ("image_shape",) if key in options}
    given = {key: value for key, value in options.items() if key not in shape}
    names.check_call(value, source, "called without arguments but its options", **given)
    try:
        made = value(**given)
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())[:300] or "no message"
        raise ValueError(f"{source}() failed with {type(error).__name__}: {text}.") from error
    return _of_function(made, name, shape, origin=f"{source}()")


def _is_factory(value: Any) -> bool:
    """Whether it has to be called to get the encoder: it takes no images by position."""
    if isinstance(value, Encoder) or not callable(value):
        return False
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):  # functions of C: they take images
        return False
    return all(
        p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD)
        or (p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty)
        for p in parameters
    )


def _of_function(
    function: Any, name: str, options: dict[str, Any], origin: str = "a function"
) -> Encoder:
    shape = options.get("image_shape")
    sides = shape if isinstance(shape, tuple | list) else ()
    if shape is not None and not (len(sides) in (2, 3) and all(type(s) is int for s in sides)):
        raise ValueError(f"image_shape is {shape!r}; it must be (height, width, channels).")
    _no_options({k: v for k, v in options.items() if k != "image_shape"}, f"{origin} ({name})")
    if isinstance(function, Encoder):
        return function
    return host.host_encoder(
        function, name=name, origin=origin, image_shape=None if shape is None else tuple(sides)
    )


def _no_options(options: dict[str, Any], source: str) -> None:
    if options:
        raise ValueError(f"{source} takes no options {sorted(options)}: leave them out.")
