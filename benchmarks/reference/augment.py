"""The views of the CARE paper on CIFAR-10 in PyTorch: crop, flip, jitter, grayscale, blur.

A draw is a dict of tensors [N], one number for each image; images are [N, 3, H, W] in [0, 1]. The
laws and the definitions are torchvision's, with one difference, which the package has too: the box
of a crop is not rounded to whole pixels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Draw = dict[str, Tensor]
LOW, HIGH = math.log(3 / 4), math.log(4 / 3)
TRIES = 10
GRAY = (0.2989, 0.587, 0.114)


def draw(count: int, generator: torch.Generator) -> Draw:
    """One draw for each of `count` images."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((count, *shape), generator=generator)

    area, ratio = uniform(0.08, 1.0, TRIES), torch.exp(uniform(LOW, HIGH, TRIES))
    height, width = torch.sqrt(area / ratio), torch.sqrt(area * ratio)
    fits = (height <= 1) & (width <= 1)
    first = fits.int().argmax(dim=1, keepdim=True)
    # None of ten boxes fits with a probability below 1e-4: the whole image then.
    height, width = (
        torch.where(fits.any(dim=1), side.gather(1, first)[:, 0], 1.0) for side in (height, width)
    )
    jittered, blurred = uniform(0, 1) < 0.8, uniform(0, 1) < 0.5
    still = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    moved = {name: uniform(0.6, 1.4) for name in ("brightness", "contrast", "saturation")}
    moved["hue"] = uniform(-0.1, 0.1)
    return {
        "top": uniform(0, 1) * (1 - height),
        "left": uniform(0, 1) * (1 - width),
        "height": height,
        "width": width,
        "flip": uniform(0, 1) < 0.5,
        **{name: torch.where(jittered, moved[name], still[name]) for name in still},
        "order": uniform(0, 1, 4).argsort(dim=1),
        "gray": uniform(0, 1) < 0.2,
        "sigma": torch.where(blurred, uniform(0.1, 2.0), 0.0),
    }


def shared(count: int, groups: int, generator: torch.Generator) -> Draw:
    """One draw for each group of neighbouring images."""
    drawn = draw(groups, generator)
    return {name: x.repeat_interleave(count // groups, dim=0) for name, x in drawn.items()}


def apply(drawn: Draw, x: Tensor, size: int) -> Tensor:
    """The views of these draws, size × size."""
    box = (drawn[side] for side in ("top", "left", "height", "width"))
    x = resized_crop(x, *box, size)
    x = torch.where(_by_image(drawn["flip"]), x.flip(-1), x)
    x = jitter(drawn, x)
    x = torch.where(_by_image(drawn["gray"]), grayscale(x), x)
    return blur(x, drawn["sigma"])


def resized_crop(
    x: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, size: int
) -> Tensor:
    """The boxes (fractions of the image) as size × size pixels, bilinear with antialiasing."""
    rows, columns = _weights(top, height, x.shape[2], size), _weights(left, width, x.shape[3], size)
    return (rows[:, None] @ x @ columns.mT[:, None]).clamp(max=1)


def _weights(start: Tensor, length: Tensor, pixels: int, size: int) -> Tensor:
    """[N, out, in]: what each output pixel takes of each input pixel, along one side.

    A triangle over input pixels, one output pixel of the box wide (at least one input pixel), cut
    where the box ends.
    """
    begin, extent = (start * pixels)[:, None, None], (length * pixels)[:, None, None]
    step = extent / size
    centre = begin + (torch.arange(size, device=start.device)[None, :, None] + 0.5) * step
    pixel = torch.arange(pixels, device=start.device)[None, None, :]
    near = (1 - (pixel + 0.5 - centre).abs() / step.clamp(min=1)).clamp(min=0)
    inside = torch.minimum(pixel + 1, begin + extent) - torch.maximum(pixel, begin)
    weights = near * inside.clamp(0, 1)
    return weights / weights.sum(dim=2, keepdim=True)


def jitter(drawn: Draw, x: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue (0, 1, 2, 3), in the drawn order of each image."""
    changes = (
        lambda x, f: _blend(x, torch.zeros_like(x[:1]), f),
        lambda x, f: _blend(x, grayscale(x).mean(dim=(1, 2, 3), keepdim=True), f),
        lambda x, f: _blend(x, grayscale(x), f),
        shift_hue,
    )
    names = ("brightness", "contrast", "saturation", "hue")
    x = x.clone()
    for place in range(4):
        for kind, (name, change) in enumerate(zip(names, changes, strict=True)):
            chosen = drawn["order"][:, place] == kind
            chosen &= drawn[name] != (0 if name == "hue" else 1)
            if chosen.any():
                x[chosen] = change(x[chosen], drawn[name][chosen])
    return x


def _blend(x: Tensor, base: Tensor, factor: Tensor) -> Tensor:
    return (_by_image(factor) * x + (1 - _by_image(factor)) * base).clamp(0, 1)


def grayscale(x: Tensor) -> Tensor:
    """0.2989 R + 0.587 G + 0.114 B, [N, 1, H, W]."""
    return (x * x.new_tensor(GRAY).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """The hue moved by `turns`; value and chroma stay.

    With value v, chroma c and hue h in [0, 6), channel n ∈ (5, 3, 1) for (R, G, B) is
    v − c · clamp(min(k, 4 − k), 0, 1), k = (n + h) mod 6.
    """
    value, chroma = x.amax(dim=1), x.amax(dim=1) - x.amin(dim=1)
    red, green, blue = x.unbind(dim=1)
    safe = torch.where(chroma > 0, chroma, 1.0)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue + 6 * turns.view(-1, 1, 1)
    k = (x.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1) + hue[:, None]) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """A Gaussian of 3 × 3 pixels, the image reflected at its border; σ = 0 leaves it alone."""
    side = torch.where(sigma > 0, torch.exp(-0.5 / sigma.clamp(min=0.05) ** 2), 0.0)
    outer, middle = (_by_image(w / (1 + 2 * side)) for w in (side, torch.ones_like(side)))
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    x = middle * padded[:, :, 1:-1] + outer * (padded[:, :, :-2] + padded[:, :, 2:])
    return (middle * x[..., 1:-1] + outer * (x[..., :-2] + x[..., 2:])).clamp(max=1)


def _by_image(x: Tensor) -> Tensor:
    return x.view(-1, 1, 1, 1)
