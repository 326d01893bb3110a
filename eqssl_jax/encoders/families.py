"""Which architecture a file of weights is of, told from the names and shapes of its arrays."""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from eqssl_jax.encoders.vit import ViTSettings

Arrays = dict[str, np.ndarray]
# An array that every network of a kind has; what stands before it is the prefix of all its names.
RESNET, VIT = "layer1.0.conv1.weight", "patch_embed.proj.weight"
RESNETS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
}
COUNTER = "num_batches_tracked"  # of BatchNorm: the whole numbers that a network has
HEADS = {"resnet": "fc", "vit": "head"}
HEAD_WIDTH = 64  # channels of a head where nothing says how many heads there are


class Family(NamedTuple):
    """What a file is of.

    Attributes:
      kind: "resnet" or "vit".
      name: of the architecture, for people.
      arguments: of `resnet.ResNet` (bottleneck, blocks, widths, stem) or of `vit.ViT`, without
        settings that no file holds.
      arrays: those of the encoder, under the names and conventions of torchvision and timm.
      head: {"weight": [classes, F], "bias": [classes]} of a linear classifier, or empty.
      left_out: names of arrays that belong to no encoder (classifier, decoder, a second network).
      channels: of the images.
      grid: rows and columns of patches that position embeddings are for; (0, 0) for ResNets.
      position: the rule by which the authors' code resizes position embeddings.
    """

    kind: str
    name: str
    arguments: dict[str, Any]
    arrays: Arrays
    head: Arrays
    left_out: tuple[str, ...]
    channels: int
    grid: tuple[int, int] = (0, 0)
    position: str = "timm"


def detect(arrays: Mapping[str, np.ndarray], where: str, *, part: str = "") -> Family:
    """The family of arrays by name: torchvision's ResNets; ViTs of timm, DeiT, DINOv2 and MAE.

    Names may have a prefix ("module.", "model.", "state_dict.backbone.", "teacher."): what stands
    under it is taken and the rest left out. `part` chooses between several, as "teacher".

    Raises:
      ValueError: for arrays of no known family or of several networks, and for what does not fit
        the family that the names are of.
    """
    unwrapped, kind, left_out = _unwrapped(arrays, where, part)
    for name, value in unwrapped.items():
        if value.dtype.kind != "f" and not name.endswith(COUNTER):
            raise ValueError(
                f"{where}: {name} is of dtype {value.dtype}, and weights are floating point: whole "
                f"numbers of a quantised network mean nothing without their scales. Save the "
                f"network before it was quantised."
            )
    if "dist_token" in unwrapped:
        raise ValueError(
            f"{where} has dist_token: it is a distilled DeiT, whose blocks attend to a second "
            f"token, which is not supported here. Take the DeiT of the same size that was not "
            f"distilled."
        )
    family = _resnet(unwrapped, where) if kind == "resnet" else _vit(unwrapped, where)
    return family._replace(left_out=(*family.left_out, *left_out))


def _unwrapped(
    arrays: Mapping[str, np.ndarray], where: str, part: str
) -> tuple[Arrays, str, tuple[str, ...]]:
    """The arrays of one network under their own names, its kind, and the names of all others."""
    kinds = {
        name.removesuffix(anchor): kind
        for kind, anchor in (("resnet", RESNET), ("vit", VIT))
        for name in arrays
        if name == anchor or name.endswith("." + anchor)
    }
    chosen = {
        prefix: kind for prefix, kind in kinds.items() if not part or part in prefix.split(".")
    }
    if not chosen:
        several = f" under {sorted(kinds)}; part is {part!r}" if kinds else ""
        shown = ", ".join(f"{n} {list(a.shape)}" for n, a in list(arrays.items())[:4])
        raise ValueError(
            f"{where} holds no encoder that is known here{several}: torchvision's ResNets have "
            f"{RESNET}, and vision transformers of timm, DeiT, DINOv2 and MAE have {VIT}; this one "
            f"has {len(arrays)} arrays, the first of them {shown}."
        )
    if len(chosen) > 1:
        prefixes = sorted(prefix.rstrip(".") or "(no prefix)" for prefix in chosen)
        raise ValueError(
            f"{where} holds several encoders, under {', '.join(prefixes)}: say which by part, e.g. "
            f"part={prefixes[-1].split('.')[0]!r}."
        )
    prefix, kind = next(iter(chosen.items()))
    unwrapped = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return unwrapped, kind, tuple(name for name in arrays if not name.startswith(prefix))


def _resnet(arrays: Arrays, where: str) -> Family:
    stages = [_count(arrays, rf"layer{stage}\.(\d+)\.") for stage in range(1, 5)]
    bottleneck = "layer1.0.conv3.weight" in arrays
    arrays, head, left_out = _headless(arrays, "resnet")
    firsts = [f"layer{stage}.0.conv1.weight" for stage in range(1, 5)]
    for name in ("conv1.weight", *firsts):
        if name not in arrays or arrays[name].ndim != 4:
            raise ValueError(
                f"{where} has names of a ResNet of torchvision, but {name}, a convolution "
                f"[out, in, height, width], {_state(arrays, name)}: it is another architecture."
            )
    stem = arrays["conv1.weight"].shape
    if stem[2:] not in ((7, 7), (3, 3)):
        raise ValueError(
            f"{where}: conv1.weight has shape {list(stem)}; the stems known here are 7 × 7 "
            f"(ImageNet) and 3 × 3 (CIFAR)."
        )
    blocks = tuple(stages)
    depth = RESNETS.get((bottleneck, blocks), f"ResNet with blocks {blocks}")
    return Family(
        kind="resnet",
        name=depth + ("" if stem[2:] == (7, 7) else ", CIFAR stem"),
        arguments=dict(
            bottleneck=bottleneck,
            blocks=blocks,
            widths=tuple(arrays[name].shape[0] for name in firsts),
            stem="imagenet" if stem[2:] == (7, 7) else "cifar",
        ),
        arrays=arrays,
        head=head,
        left_out=left_out,
        channels=stem[1],
    )


def _vit(arrays: Arrays, where: str) -> Family:
    class_position = "register_tokens" in arrays  # the names of DINOv2's authors
    arrays, head, left_out = _headless(_timm_names(arrays), "vit")
    for name, rank in {
        VIT: 4,
        "cls_token": 3,
        "pos_embed": 3,
        "blocks.0.mlp.fc1.weight": 2,
    }.items():
        if name not in arrays or arrays[name].ndim != rank:
            raise ValueError(
                f"{where} has names of a vision transformer of timm, but {name}, of rank {rank}, "
                f"{_state(arrays, name)}: it is another architecture."
            )
    width, channels, patch, patch_width = arrays[VIT].shape
    if patch != patch_width or arrays["pos_embed"].shape[-1] != width:
        raise ValueError(
            f"{where}: {VIT} has shape {list(arrays[VIT].shape)} and pos_embed "
            f"{list(arrays['pos_embed'].shape)}; patches must be square, and both of one width."
        )
    authors = "mask_token" in left_out and "blocks.0.ls1.gamma" in arrays  # DINOv2's own names
    registers = arrays["reg_token"].shape[1] if "reg_token" in arrays else 0
    arrays, grid = _patches_only(arrays, registers, where, class_position=class_position)
    hidden = arrays["blocks.0.mlp.fc1.weight"].shape[0]
    gated = hidden == 2 * arrays.get("blocks.0.mlp.fc2.weight", np.zeros((0, 0))).shape[1]
    norm_last = "fc_norm.weight" in arrays and "norm.weight" not in arrays
    depth = _count(arrays, r"blocks\.(\d+)\.")
    kind = "DINOv2 ViT" if authors else "MAE ViT" if _decoder(left_out) else "ViT"
    return Family(
        kind="vit",
        name=f"{kind} of width {width}, {depth} blocks, patches of {patch} px"
        + (f", {registers} registers" if registers else ""),
        arguments=dict(
            width=width,
            depth=depth,
            hidden=hidden // 2 if gated else hidden,
            gated=gated,
            norm_last=norm_last,
            settings=ViTSettings(
                patch=patch,
                pool="mean" if norm_last else "cls",
                registers=registers,
                layer_scale=1.0 if "blocks.0.ls1.gamma" in arrays else 0.0,
            ),
        ),
        arrays=arrays,
        head=head,
        left_out=left_out,
        channels=channels,
        grid=grid,
        position="dinov2" if authors and not registers else "timm",
    )


def _timm_names(arrays: Arrays) -> Arrays:
    """DINOv2's names as timm has them: registers, SwiGLU, and blocks that were saved in chunks."""
    chunked = all(re.match(r"blocks\.\d+\.\d+\.", n) for n in arrays if n.startswith("blocks."))
    renamed: Arrays = {}
    for name, value in arrays.items():
        if chunked:
            name = re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name)
        if name == "register_tokens":
            name = "reg_token"
        name = re.sub(r"\.mlp\.w12\.", ".mlp.fc1.", re.sub(r"\.mlp\.w3\.", ".mlp.fc2.", name))
        renamed[name] = value
    return renamed


def _patches_only(
    arrays: Arrays, registers: int, where: str, *, class_position: bool
) -> tuple[Arrays, tuple[int, int]]:
    """Position embeddings of patches alone, those of other tokens added to the tokens; their grid.

    Before the patches stand the class token (timm, DINOv2), nothing (timm's `no_embed_class`), or
    class token and registers; `class_position` says that it is the class token.
    """
    arrays = dict(arrays)
    positions = arrays["pos_embed"][0]  # [prefix + patches, D]
    order = [1] if class_position else [0, 1 + registers] if registers else [1, 0]
    for prefix in order:
        side = math.isqrt(max(len(positions) - prefix, 0))
        if side and side**2 == len(positions) - prefix:
            break
    else:
        raise ValueError(
            f"{where}: pos_embed has {len(positions)} entries, which are no square of patches with "
            f"{' or '.join(map(str, order))} tokens before it; grids that are not square are "
            f"unknown here."
        )
    tokens = {"cls_token": slice(0, min(prefix, 1)), "reg_token": slice(1, prefix)}
    for name, rows in tokens.items():
        if len(positions[:prefix][rows]):
            arrays[name] = arrays[name] + positions[:prefix][rows][None]
    patches = positions[prefix:]
    if not registers:  # timm's convention, with an entry of the class token
        patches = np.pad(patches, ((1, 0), (0, 0)))
    arrays["pos_embed"] = patches[None]
    return arrays, (side, side)


def _headless(arrays: Arrays, kind: str) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """The encoder's arrays, its linear classifier's, and the names of what is left out."""
    title = HEADS[kind] + "."
    outside = (title, "decoder_", "mask_token", "head_drop", "pre_logits.")
    kept = {name: a for name, a in arrays.items() if not name.startswith(outside)}
    left_out = tuple(name for name in arrays if name.startswith(outside))
    head = {
        name.removeprefix(title): arrays[name]
        for name in left_out
        if name in (f"{title}weight", f"{title}bias")
    }
    linear = len(head) == 2 and head["weight"].ndim == 2
    return kept, head if linear else {}, left_out


def _count(arrays: Mapping[str, np.ndarray], pattern: str) -> int:
    """One more than the largest number that the pattern finds in a name."""
    numbers = [int(match.group(1)) for name in arrays if (match := re.match(pattern, name))]
    return max(numbers, default=-1) + 1


def _decoder(names: tuple[str, ...]) -> bool:
    return any(name.startswith("decoder_") for name in names)


def _state(arrays: Mapping[str, np.ndarray], name: str) -> str:
    return f"has shape {list(arrays[name].shape)}" if name in arrays else "is missing"
