"""Files of weights: names to arrays, from `.safetensors` and, with torch, from `.pth` and `.pt`."""

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from eqssl_jax import storage

PICKLES = (".pth", ".pt", ".bin", ".ckpt")
# Half precisions are widened; all else that a file of weights can hold is float32 or a counter.
FLOATS = ("F64", "F32", "F16", "BF16")


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Every array of a file by name, floating point ones as float32, others as they are.

    Pickles are read as PyTorch reads them with `weights_only=True`: tensors, never code. Groups
    inside them are joined to names by dots ("state_dict.conv1.weight"), and what is no tensor
    (epochs, settings) is left out.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: for another kind of file, one that is damaged, holds code or no arrays, and for
        values that are not finite, naming the array.
    """
    path = storage.fetched(storage.path(path))
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {fault}: give the file of weights itself.")
    if path.suffix == ".safetensors":
        arrays = _safetensors(path)
    elif path.suffix in PICKLES:
        arrays = _pickled(path)
    else:
        raise ValueError(
            f"{path} is not read: weights come from .safetensors, or from {', '.join(PICKLES)} "
            f"where torch is installed."
        )
    if not arrays:
        raise ValueError(f"{path} holds no arrays: it is no file of weights.")
    for name, value in arrays.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            count = int((~np.isfinite(value)).sum())
            raise ValueError(
                f"{path}: {count} of {value.size} numbers of {name} are not finite; such weights "
                f"encode nothing. Take an earlier checkpoint."
            )
    return arrays


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            for name, kind in kinds.items():
                if kind not in FLOATS and not kind.startswith("I"):
                    raise ValueError(
                        f"{path}: {name} is stored as {kind}; weights are read from "
                        f"{', '.join(FLOATS)}, so save it as one of them."
                    )
            return {name: _widened(file.get_tensor(name)) for name in kinds}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} ({path.stat().st_size:,} bytes) cannot be read as .safetensors "
            f"({_line(error)}): it is damaged, cut short or of another kind. Copy it again."
        ) from error


def _pickled(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{path} is a pickle of PyTorch, which is read with torch, and torch is not installed: "
            f"pip install torch, or convert the file with safetensors.torch.save_file."
        ) from error
    try:
        with warnings.catch_warnings(action="ignore"):  # of unusual pickles: refused, or read
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: loading it would run code that it contains, or it is no pickle "
            f"of PyTorch ({_line(error)}). Only tensors are loaded: save the state_dict, best as "
            f".safetensors."
        ) from error
    except Exception as error:  # a damaged archive raises whatever its broken part leads to
        raise ValueError(
            f"{path} ({path.stat().st_size:,} bytes) cannot be read by torch.load "
            f"({_line(error)}): it is damaged or cut short. Copy it again."
        ) from error
    if not isinstance(loaded, Mapping):
        raise ValueError(
            f"{path} holds a {type(loaded).__name__}, not a table of names and tensors: save "
            f"model.state_dict()."
        )
    return _flat(loaded, torch.is_tensor, path)


def _flat(
    tree: Mapping[Any, Any], is_tensor: Callable[[Any], bool], path: Path, prefix: str = ""
) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            arrays |= _flat(value, is_tensor, path, f"{prefix}{key}.")
        elif is_tensor(value):
            arrays[f"{prefix}{key}"] = _plain(value, f"{path}: {prefix}{key}")
    return arrays


def _plain(tensor: Any, where: str) -> np.ndarray:
    try:
        return (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
    except Exception as error:  # sparse, quantised, without values, nested, …
        kind = " ".join(map(str, (tensor.dtype, tensor.layout, "on", tensor.device)))
        raise ValueError(
            f"{where} is a tensor without plain values ({kind}; {_line(error)}): save dense "
            f"tensors in floating point, .to_dense() of sparse and .dequantize() of quantised ones."
        ) from error


def _widened(value: np.ndarray) -> np.ndarray:
    """Floating point, whatever its width (NumPy's kind of bfloat16 is "V"), as float32."""
    return value if value.dtype.kind == "i" else value.astype(np.float32)


def _line(error: BaseException) -> str:
    plain = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # without the colours of a terminal
    text = " ".join(plain.split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:159]}…"
