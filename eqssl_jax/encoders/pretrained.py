"""Encoders from files of weights, to measure them or to start training from them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from eqssl_jax.encoders import positions, resnet, vit
from eqssl_jax.encoders.conv import Conv
from eqssl_jax.encoders.families import HEAD_WIDTH, Family, detect
from eqssl_jax.encoders.naming import from_torch_names
from eqssl_jax.encoders.network import ENCODERS, NAMES, Network, assemble
from eqssl_jax.encoders.norm import BatchNorm
from eqssl_jax.encoders.weight_files import read_weights

SOURCE = "source"  # config.model.encoder: the encoder that config.train.init_from is of


class Info(NamedTuple):
    """What is known of an encoder that was read from a file.

    Attributes:
      family: of the architecture, for people: "resnet18", "DINOv2 ViT of width 384, …".
      image_shape: height, width and channels of its images.
      mean, std: which it subtracts and divides by itself.
      head: {"kernel": [F, classes], "bias": [classes]} of the file's linear classifier, or empty.
      left_out: names of arrays in the file that are no part of the encoder.
      notes: full sentences on what the file does not say and was assumed.
    """

    family: str
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    head: dict[str, np.ndarray]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def from_weights(
    path: str | Path,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    heads: int | None = None,
    pool: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    position: str | None = None,
    part: str = "",
) -> tuple[Network, PyTree, Info]:
    """A network without projector, its variables, and what is known of it, from a file of weights.

    The file is torchvision's of a ResNet, or a vision transformer of timm, DeiT, DINOv2 or MAE:
    `.safetensors`, or `.pth` and the like where torch is installed. The network takes images
    [M, H, W, C] in [0, 1] and computes in float32, with full products on every device.

    Args:
      path: the file.
      mean, std: of each channel, which training subtracted and divided by; no file holds them
        (ImageNet's: 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225).
      heads: of attention, which no file holds; None: the width over 64, as all models of these
        authors have it.
      pool: features of a vision transformer: "cls", or "mean" of the patches after normalisation;
        None: "cls", or what the file was fine-tuned for.
      image_size: side, or (height, width), of the images; None: what the position embeddings of the
        file are for, 224 for ResNets.
      position: "timm" or "dinov2", the rule by which position embeddings are resized; None: that of
        the authors, see `positions.resize`.
      part: which of several networks in the file, e.g. "teacher".

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: for a file that cannot be read or is of another architecture, naming arrays that
        are missing, left over or of another shape; and for settings that do not fit it.
    """
    where = str(path)
    _check_options(mean, std, heads, image_size, part)
    family = detect(read_weights(path), where, part=part)
    if family.kind == "vit":
        module, notes = _vit_module(family, where, heads, pool, position)
    else:
        module, notes = _resnet_module(family, where, heads, pool), ()
    shape = _image_shape(family, image_size, where)
    network = _full_products(assemble(module, mean=mean, std=std))
    template = _template(network, family)
    encoder = from_torch_names(family.arrays, _of_encoder(template), f"{where} ({family.name})")
    variables = {
        "params": {"encoder": encoder["params"], "projector": {}},
        "batch_stats": {"encoder": encoder["batch_stats"]} if encoder["batch_stats"] else {},
    }
    head = {"kernel": family.head["weight"].T, "bias": family.head["bias"]} if family.head else {}
    m, s = (tuple(float(value) for value in values) for values in (mean, std))
    info = Info(family.name, shape, m, s, head, family.left_out, notes)
    return network, variables, info


def start_from(
    path: str | Path,
    variables: PyTree,
    *,
    setting: str = "config.model.init_from",
) -> PyTree:
    """The variables of a network, its encoder's replaced by those of a file of weights.

    Training starts from them. Position embeddings of a vision transformer are resized to the grid
    of the network.

    Args:
      path: the file.
      variables: {"params": {"encoder", "projector"}, "batch_stats"} of the network at its start.
      setting: which named the file, for messages.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: naming the arrays that do not fit config.model.
    """
    where = str(path)
    family = detect(read_weights(path), where)
    like = _of_encoder(variables)
    arrays = dict(family.arrays)
    grid = np.shape(like["params"].get("positions", ()))[:2]
    if family.kind == "vit" and grid:
        arrays["pos_embed"] = _regridded(family, grid)
    encoder = from_torch_names(
        arrays, like, f"{setting} = {where} ({family.name}), as config.model has it,"
    )
    stats = dict(variables["batch_stats"])
    if encoder["batch_stats"]:
        stats["encoder"] = encoder["batch_stats"]
    return {**variables, "params": {**variables["params"], "encoder": encoder["params"]}} | {
        "batch_stats": stats
    }


def _check_options(mean: Any, std: Any, heads: Any, image_size: Any, part: Any) -> None:
    """What the command line may hold; `assemble` checks the rest of mean and std."""
    for name, values in dict(mean=mean, std=std).items():
        array = np.asarray(values)
        if array.dtype.kind in "iuf" and array.size and np.abs(array).max() > 1:
            raise ValueError(
                f"{name} is {values!r}, but images have values in [0, 1]: divide by 255 what is of "
                f"values up to 255."
            )
    if not (heads is None or isinstance(heads, int | np.integer)):
        raise ValueError(f"heads is {heads!r}; it must be a whole number.")
    sides = image_size if isinstance(image_size, tuple | list) else (image_size,) * 2
    if image_size is not None and [isinstance(s, int | np.integer) for s in sides] != [True] * 2:
        raise ValueError(f"image_size is {image_size!r}; it must be a side, or height and width.")
    if not isinstance(part, str):
        raise ValueError(f"part is {part!r}; it must be text, e.g. 'teacher'.")


def settings_of(path: str | Path) -> tuple[dict[str, Any], int]:
    """What config.model would have of the encoder in a file of weights, and the side of its images.

    The side is 0 where the file does not say (ResNets).

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: for an encoder that no name of config.model.encoder is of.
    """
    family = detect(read_weights(path), str(path))
    size = {key: family.arguments.get(key) for key in ("width", "depth")}
    for name, named in vit.SIZES.items():
        if family.kind == "vit" and size == {"width": named.width, "depth": named.depth}:
            settings = family.arguments["settings"]._asdict()
            return {"encoder": name, "vit": settings}, family.grid[0] * settings["patch"]
    name = family.name.partition(",")[0]
    if name in ENCODERS and family.arguments["widths"] == (64, 128, 256, 512):
        return {"encoder": name, "stem": family.arguments["stem"]}, 0
    raise ValueError(
        f"it holds a {family.name}, and config.model.encoder has no name for that (it has "
        f"{', '.join(NAMES)})."
    )


def _of_encoder(variables: PyTree) -> PyTree:
    return {
        "params": variables["params"]["encoder"],
        "batch_stats": variables["batch_stats"].get("encoder", {}),
    }


def _template(network: Network, family: Family) -> PyTree:
    """Shapes of the network's variables, for images of the size that the file is for."""
    if family.kind == "vit":
        patch = family.arguments["settings"].patch
        shape = (family.grid[0] * patch, family.grid[1] * patch, family.channels)
    else:
        shape = (64, 64, family.channels)
    return jax.eval_shape(lambda key: network.init(key, shape), jax.random.key(0))


def _resnet_module(family: Family, where: str, heads: int | None, pool: str | None) -> nn.Module:
    if heads is not None or pool not in (None, "mean"):
        raise ValueError(
            f"{where} is a ResNet ({family.name}), which has no heads and whose features are the "
            f"mean over positions; found heads = {heads!r} and pool = {pool!r}: leave them out."
        )
    arguments = dict(family.arguments)
    block = resnet.Bottleneck if arguments.pop("bottleneck") else resnet.BasicBlock
    return resnet.ResNet(block, conv=Conv, norm=BatchNorm, **arguments)


def _vit_module(
    family: Family, where: str, heads: int | None, pool: str | None, position: str | None
) -> tuple[nn.Module, tuple[str, ...]]:
    arguments, settings = dict(family.arguments), family.arguments["settings"]
    width, notes = arguments["width"], tuple[str, ...]()
    if heads is None:
        heads = width // HEAD_WIDTH
        notes = (
            f"A file of weights does not say how many heads attention has: {heads} were taken, the "
            f"width {width} over {HEAD_WIDTH}; set heads if that is not so.",
        )
        if width % HEAD_WIDTH:
            raise ValueError(
                f"{where} ({family.name}) does not say how many heads attention has, and its width "
                f"is no multiple of {HEAD_WIDTH}, the usual width of a head: set heads, e.g. "
                f"heads=3."
            )
    if heads < 1 or width % heads:
        raise ValueError(f"heads is {heads}, which does not divide the width {width} of {where}.")
    if arguments["norm_last"] and pool == "cls":
        raise ValueError(
            f"{where} was fine-tuned on the mean of its patches (it has fc_norm and no norm), so "
            f"its class token means nothing: leave pool out, or set pool='mean'."
        )
    settings = settings._replace(pool=pool or settings.pool)
    vit.check(settings, width, heads)
    rule = position or family.position
    if rule not in positions.RULES:
        raise ValueError(f"position is {position!r}; choose from {positions.RULES}.")
    module = vit.ViT(heads=heads, position=rule, **{**arguments, "settings": settings})
    return module, notes


def _image_shape(
    family: Family, image_size: int | tuple[int, int] | None, where: str
) -> tuple[int, int, int]:
    patch = family.arguments["settings"].patch if family.kind == "vit" else 1
    native = (family.grid[0] * patch, family.grid[1] * patch) if patch > 1 else (224, 224)
    sides = native if image_size is None else np.broadcast_to(image_size, 2).tolist()
    if any(int(side) != side or side < patch or side % patch for side in sides):
        raise ValueError(
            f"image_size is {image_size!r}, but {where} ({family.name}) cuts images into patches "
            f"of {patch} px: use multiples of {patch}, e.g. {native[0]}."
        )
    return int(sides[0]), int(sides[1]), family.channels


def _regridded(family: Family, grid: tuple[int, int]) -> np.ndarray:
    """The position embeddings of a file in the file's own form, for another grid of patches."""
    entries = family.arrays["pos_embed"][0]
    before = len(entries) - family.grid[0] * family.grid[1]
    patches = jnp.asarray(entries[before:].reshape(*family.grid, -1))
    resized = np.asarray(positions.resize(patches, grid, family.position))
    return np.concatenate([entries[:before], resized.reshape(-1, resized.shape[-1])])[None]


def _full_products(network: Network) -> Network:
    """The same network with float32 products on accelerators too, which round them by default."""

    def exactly(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **keywords: Any) -> Any:
            with jax.default_matmul_precision("highest"):
                return function(*arguments, **keywords)

        return called

    inner = network.inner
    return network._replace(apply=exactly(network.apply), inner=inner and exactly(inner))
