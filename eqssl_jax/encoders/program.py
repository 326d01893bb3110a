"""Encoders as programs of `jax.export`: one file that runs with JAX alone, weights inside."""

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export
from jax.tree_util import Partial
from jaxtyping import Array, Float

from eqssl_jax.encoders.frozen import Encoder

FILE = "encoder.jax"
DESCRIPTION = "config.json"  # beside it: name, mean, std, classes
PLATFORMS = ("cpu", "cuda", "tpu")


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
    if len(shapes) != 1 or len(exported.out_avals) != 2 or isinstance(shapes[0][0], int):
        raise ValueError(
            f"{file} takes arrays {shapes} and gives {len(exported.out_avals)}: an encoder takes "
            f"images [b, H, W, C] of any number b and gives features and embeddings."
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
