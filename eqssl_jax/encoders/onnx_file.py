"""Encoders as ONNX, for ONNX Runtime and what else reads it."""

import logging
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Float

TOLERANCE = 1e-3  # of the root mean square; converters compute other sums in other orders


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
    try:
        import jax2onnx
    except ImportError as error:
        raise ValueError(
            f"--onnx needs jax2onnx, which cannot be imported ({error}): pip install "
            f"eqssl_jax[onnx], or leave --onnx out; the other files need nothing."
        ) from None
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it warns of values that it leaves out
    try:
        jax2onnx.to_onnx(encode, inputs=[("b", *shape)], return_mode="file", output_path=str(path))
    except Exception as error:  # of the converter: whatever it does not know
        raise ValueError(
            f"jax2onnx {_version(jax2onnx)} cannot write this encoder as ONNX "
            f"({type(error).__name__}: {' '.join(str(error).split())[:300]}): leave --onnx out, or "
            f"try another version of it. The other files of the export do not depend on it."
        ) from error
    _compare(path, encode, shape)


def _compare(
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
