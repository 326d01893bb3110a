"""Parameters under the names that torchvision and timm give them, and back; code to load them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from eqssl_jax.encoders.vit import SIZES, ViTSettings

Arrays = dict[str, np.ndarray]
# Parts of our paths, and what they are called there.
PARTS = (
    (r"^layer(\d+)_(\d+)$", r"layer\1.\2"),
    (r"^blocks_(\d+)$", r"blocks.\1"),
    (r"^downsample_conv$", "downsample.0"),
    (r"^downsample_bn$", "downsample.1"),
    (r"^patch_embed$", "patch_embed.proj"),
)
LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
    "cls": "cls_token",
    "registers": "reg_token",
    "positions": "pos_embed",
}
RESNETS = ("resnet18", "resnet34", "resnet50")


def to_torch_names(variables: PyTree, *, steps: int = 0) -> Arrays:
    """Arrays of an encoder under torchvision's names (ResNets) or timm's (vision transformers).

    `variables` is {"params": …, "batch_stats": …} of an encoder, that is the part "encoder" of
    those of a network. Kernels come as [out, in, height, width] and [out, in]; BatchNorm brings
    `num_batches_tracked`, which is `steps`. There is no classifier: `fc` or `head` of the module
    that loads them must be an identity (timm: num_classes=0). A ResNet with the CIFAR stem differs
    in the shape of `conv1.weight` alone, [64, 3, 3, 3]; its module needs such a convolution of
    stride 1, and no max-pool.

    Of a vision transformer, `pos_embed` also holds an entry of the class token, 0 (ours is part of
    the token), unless there are registers: then timm's `no_embed_class` is the convention.

    >>> variables = {"params": {"layer1_0": {"conv1": {"kernel": np.zeros((3, 3, 16, 8))}}}}
    >>> {name: array.shape for name, array in to_torch_names(variables).items()}
    {'layer1.0.conv1.weight': (8, 16, 3, 3)}
    """
    arrays: Arrays = {}
    registers = _has_registers(variables)
    for path, leaf in _leaves(variables):
        value = np.asarray(leaf)
        arrays[torch_name(path)] = np.ascontiguousarray(_outward(path[-1], value, registers))
        if path[-1] == "var":
            arrays[f"{_module(path)}num_batches_tracked"] = np.asarray(steps, np.int64)
    return arrays


def from_torch_names(arrays: Mapping[str, np.ndarray], like: PyTree, where: str) -> PyTree:
    """The inverse of `to_torch_names`: arrays as the variables `like` (arrays or their shapes).

    Args:
      arrays: by name; all of them must be used, except `num_batches_tracked`.
      like: {"params": …, "batch_stats": …}, whose shapes are met or refused.
      where: the file, for errors.

    Raises:
      ValueError: naming the arrays that are missing, left over or of another shape.
    """
    registers, used, wrong = _has_registers(like), set(), []

    def inward(path: tuple[Any, ...], leaf: Any) -> np.ndarray:
        keys = tuple(str(part.key) for part in path[1:])
        name = torch_name(keys)
        used.add(name)
        expected = _outward(keys[-1], np.broadcast_to(np.float32(0), leaf.shape), registers).shape
        if name not in arrays:
            wrong.append(f"{name} {list(expected)} is missing")
        elif arrays[name].shape != expected:
            shape = list(arrays[name].shape)
            wrong.append(f"{name} has shape {shape}, and {list(expected)} was expected")
        else:
            return _inward(keys[-1], arrays[name], leaf.shape)
        return np.zeros(leaf.shape, np.float32)

    variables = jax.tree_util.tree_map_with_path(inward, like)
    extra = [name for name in arrays if name not in used and not _counter(name)]
    wrong += [f"{name} {list(arrays[name].shape)} has no place in it" for name in extra]
    if wrong:
        more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(f"{where} does not fit the network: {'; '.join(wrong[:5])}{more}.")
    return variables


def torch_name(path: tuple[str, ...]) -> str:
    """The name of a parameter there.

    >>> torch_name(("blocks_3", "attn", "qkv", "kernel"))
    'blocks.3.attn.qkv.weight'
    """
    return _module(path) + LEAVES.get(path[-1], path[-1])


def _module(path: tuple[str, ...]) -> str:
    parts = []
    for part in path[:-1]:
        for pattern, name in PARTS:
            part = re.sub(pattern, name, part)
        parts.append(part + ".")
    return "".join(parts)


def _counter(name: str) -> bool:
    return name.rsplit(".", 1)[-1] == "num_batches_tracked"


def _leaves(variables: PyTree) -> list[tuple[tuple[str, ...], Any]]:
    """Paths below the collections, and what is there; statistics follow their parameters."""
    flat = jax.tree_util.tree_flatten_with_path(variables)[0]
    return [(tuple(str(part.key) for part in path[1:]), leaf) for path, leaf in flat]


def _has_registers(variables: PyTree) -> bool:
    return any(path[-1] == "registers" for path, _ in _leaves(variables))


def _outward(leaf: str, value: np.ndarray, registers: bool) -> np.ndarray:
    if leaf == "kernel":
        return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
    if leaf in ("cls", "registers"):
        return value[None]
    if leaf == "positions":
        flat = value.reshape(-1, value.shape[-1])
        return (flat if registers else np.pad(flat, ((1, 0), (0, 0))))[None]
    return value


def _inward(leaf: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if leaf == "kernel":
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
    if leaf == "positions":
        value = value[0, -shape[0] * shape[1] :]
    return np.ascontiguousarray(value, np.float32).reshape(shape)


def torch_code(
    encoder: str,
    stem: str,
    vit: ViTSettings,
    *,
    shape: tuple[int, ...],
    mean: Sequence[float],
    std: Sequence[float],
) -> str:
    """Python that loads encoder.safetensors into torchvision's or timm's module, and runs it.

    "" for an encoder that neither of them has. `shape` is (height, width, channels) of the images.
    """
    if encoder in RESNETS:
        module = _resnet(encoder, stem, shape[2])
    elif encoder in SIZES:
        module = _vit(encoder, vit, shape)
    else:
        return ""
    m, s = (", ".join(f"{value:.8g}" for value in values) for values in (mean, std))
    return "\n".join(
        (
            *module,
            'model.load_state_dict(load_file("encoder.safetensors"), strict=True)',
            f"mean, std = torch.tensor([{m}]), torch.tensor([{s}])",
            f"images = torch.rand(5, {shape[2]}, {shape[0]}, {shape[1]})  # in [0, 1]",
            "normalised = (images - mean[:, None, None]) / std[:, None, None]",
            "features = model.eval()(normalised)",
        )
    )


def _resnet(encoder: str, stem: str, channels: int) -> list[str]:
    lines = [
        "import torch, torchvision",
        "from safetensors.torch import load_file",
        f"model = torchvision.models.{encoder}()",
        "model.fc = torch.nn.Identity()",
    ]
    if stem == "cifar" or channels != 3:
        size = "3, stride=1, padding=1" if stem == "cifar" else "7, stride=2, padding=3"
        lines.append(f"model.conv1 = torch.nn.Conv2d({channels}, 64, {size}, bias=False)")
    if stem == "cifar":
        lines.append("model.maxpool = torch.nn.Identity()")
    return lines


def _vit(encoder: str, vit: ViTSettings, shape: tuple[int, ...]) -> list[str]:
    size = SIZES[encoder]
    arguments = {
        "img_size": tuple(shape[:2]),
        "patch_size": vit.patch,
        "in_chans": shape[2],
        "embed_dim": size.width,
        "depth": size.depth,
        "num_heads": vit.heads or size.heads,
        "num_classes": 0,
        "global_pool": "token" if vit.pool == "cls" else "avg",
        "fc_norm": False,
        "reg_tokens": vit.registers,
        "no_embed_class": vit.registers > 0,
        "init_values": vit.layer_scale or None,
    }
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return [
        "import torch, timm",
        "from safetensors.torch import load_file",
        f"model = timm.models.VisionTransformer({text})",
    ]
