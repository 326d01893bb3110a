"""How PyTorch loads the weights that `naming.to_torch_names` gives: lines for people to copy."""

from collections.abc import Sequence

from eqssl_jax.encoders.vit import SIZES, ViTSettings

RESNETS = ("resnet18", "resnet34", "resnet50")


def torch_code(
    encoder: str,
    stem: str,
    vit: ViTSettings,
    *,
    shape: tuple[int, ...],
    mean: Sequence[float],
    std: Sequence[float],
    file: str = "encoder.safetensors",
) -> str:
    """Python that loads a file into torchvision's or timm's module with strict=True, and runs it.

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
            f'model.load_state_dict(load_file("{file}"), strict=True)',
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
