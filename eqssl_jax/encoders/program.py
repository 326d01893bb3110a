"""Encoders as programs in one file, weights inside: of `jax.export`, and of ONNX."""

import contextlib
import io
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.tree_util import Partial
from jaxtyping import Array, Float

from eqssl_jax.encoders.frozen import Encoder

FILE = "encoder.jax"
DESCRIPTION = "config.json"  # beside it: name, mean, std, classes
PLATFORMS = ("cpu", "cuda", "tpu")
TOLERANCE = 1e-3  # of ONNX, in root mean squares: converters compute other sums in other orders


def program(
    encode: Callable[[Float[Array, "b h w c"]], tuple[Array, Array]], shape: tuple[int, ...]
) -> bytes:
    """The program of `encode`, images [b, *shape] float32 in [0, 1] to (features, embeddings).

    b is a symbol: the program takes any number of images. It holds its weights and the code for
    cpu, cuda and tpu, and runs without this package:

        program = jax.export.deserialize(pathlib.Path("encoder.jax").read_bytes())
        features, embeddings = program.call(images)

    JAX reads programs of earlier versions for at least six months (its compatibility guarantee).
    """
    (batch,) = export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
    return bytes(export.export(jax.jit(encode), platforms=PLATFORMS)(images).serialize())


def read_program(path: Path) -> Encoder:
    """The encoder of a program file, or of a folder that holds encoder.jax.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is damaged, no program, or not one of images to features and embeddings.
    """
    file = path / FILE if path.is_dir() else path
    if not file.exists():
        raise FileNotFoundError(f"There is no exported program {file}.")
    try:
        exported = export.deserialize(bytearray(file.read_bytes()))
    except Exception as error:  # flatbuffers, MLIR and JAX have no common class
        raise ValueError(
            f"{file} cannot be read as a program of jax.export ({_first_line(error)}): it is cut "
            f"short, damaged, or of a version of JAX too far from {jax.__version__}. Export the "
            f"run again: python -m eqssl_jax.export."
        ) from None
    shape = _image_shape(exported, file)
    here = jax.default_backend()
    platform = "cuda" if here == "gpu" else here
    if platform not in exported.platforms:
        raise ValueError(
            f"{file} was exported for {', '.join(exported.platforms)}, but JAX computes on {here} "
            f"here: set JAX_PLATFORMS, or export it again for {here}."
        )
    described = _description(file.parent / DESCRIPTION)
    return Encoder(
        name=str(described.get("name", file.parent.name or file.stem)),
        origin=f"the program {file}",
        forward=Partial(_layers(exported.call)),
        image_shape=shape,
        mean=tuple(described.get("mean", ())),
        std=tuple(described.get("std", ())),
        classes=tuple(described.get("classes", ())),
    )


def _layers(call: Callable[..., Any]) -> Callable[..., dict[str, Array]]:
    def layers(images: Float[Array, "b h w c"]) -> dict[str, Array]:
        return OrderedDict(zip(("features", "embedding"), call(images), strict=True))

    return layers


def _image_shape(exported: export.Exported, file: Path) -> tuple[int, ...]:
    shapes = [aval.shape for aval in exported.in_avals]
    given = [(aval.shape, aval.dtype) for aval in exported.out_avals]
    count = shapes[0][0] if len(shapes) == 1 and len(shapes[0]) in (3, 4) else 0
    rows = [
        len(shape) == 2 and shape[0] == count and jnp.issubdtype(dtype, jnp.floating)
        for shape, dtype in given
    ]
    if isinstance(count, int) or rows != [True, True]:
        text = ", ".join(f"{dtype} {list(shape)}" for shape, dtype in given)
        raise ValueError(
            f"{file} takes arrays {shapes} and gives {text}: an encoder takes images [b, H, W, C] "
            f"of any number b and gives features [b, F] and embeddings [b, D] in floating point."
        )
    return tuple(int(side) for side in shapes[0][1:])


def _description(path: Path) -> dict[str, Any]:
    """What lies beside a program; {} where nothing does."""
    if not path.exists():
        return {}
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(described, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): restore or remove it; the program beside it works "
            f"without, but then its mean, std and classes are unknown."
        ) from None
    return described


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0][:200]}"


def write_onnx(
    path: Path,
    encode: Callable[[Float[Array, "b h w c"]], tuple[Array, Array]],
    shape: tuple[int, ...],
) -> None:
    """Write `encode`, images [b, *shape] float32 in [0, 1] to (features, embeddings), as ONNX.

    Normalisation and weights are inside; b is free. Where onnxruntime is installed, what the file
    gives is compared with what `encode` gives.

    Raises:
      ValueError: if jax2onnx is not installed, does not know an operation of the encoder, or
        writes a file that computes something else.
    """
    for name in ("onnx_ir", "jax2onnx"):  # of values left out, and plugins that nobody asked for
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        import jax2onnx
    except ImportError as error:
        raise ValueError(
            f"--onnx needs jax2onnx, which cannot be imported ({error}): pip install "
            f"eqssl_jax[onnx], or leave --onnx out; the other files need nothing."
        ) from None
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
            jax2onnx.to_onnx(
                encode, inputs=[("b", *shape)], return_mode="file", output_path=str(path)
            )
    except Exception as error:  # of the converter: whatever it does not know
        raise ValueError(
            f"jax2onnx {_version(jax2onnx)} cannot write this encoder as ONNX "
            f"({type(error).__name__}: {' '.join(str(error).split())[:300]}): leave --onnx out, or "
            f"try another version of it. The other files of the export do not depend on it."
        ) from error
    _compare_onnx(path, encode, shape)


def _compare_onnx(
    path: Path, encode: Callable[[Array], tuple[Array, Array]], shape: tuple[int, ...]
) -> None:
    try:
        import onnxruntime
    except ImportError:
        return
    images = np.random.default_rng(0).random((3, *shape), np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: images})
    for written, expected in zip(outputs, jax.jit(encode)(images), strict=True):
        size = float(np.sqrt(np.mean(np.square(expected))))
        error = float(np.abs(written - np.asarray(expected)).max())
        if not error <= TOLERANCE * size:
            raise ValueError(
                f"The ONNX program gives other numbers than the encoder, different by {error:.2g} "
                f"where the root mean square is {size:.2g}. It is not kept; leave --onnx out."
            )


def _version(module: object) -> str:
    return str(getattr(module, "__version__", "")).strip()
