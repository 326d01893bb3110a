"""Published lists of transformations, by name; every strength can be set from a config.

No recipe normalises: the network does, so that training and evaluation cannot differ in it.
"""

from collections.abc import Callable, Mapping, Sequence
from math import pi

from eqssl_jax.settings import Setting, accept, also, flag
from eqssl_jax.transforms import checks, color, filter
from eqssl_jax.transforms.base import Transform, chain, maybe
from eqssl_jax.transforms.color import color_jitter, grayscale
from eqssl_jax.transforms.filter import gaussian_blur
from eqssl_jax.transforms.geometry import (
    center_crop,
    horizontal_flip,
    random_resized_crop,
    rotate,
)
from eqssl_jax.transforms.rotation3d import rotate_cloud
from eqssl_jax.transforms.scenes import solids, stored_views

STRENGTHS = (0.4, 0.4, 0.4, 0.1)  # brightness, contrast, saturation, hue
RATIO = (3 / 4, 4 / 3)

# What the options of recipes may be; an option means the same in every recipe.
OPTIONS: Mapping[str, Setting] = {
    "size": checks.SIDE,
    "max_angle": checks.ANGLE,
    "fill": checks.FILL,
    "scale": checks.SCALE,
    "ratio": checks.RATIO,
    "flip": checks.PROBABILITY,
    "jitter": checks.JITTER,
    "jitter_probability": checks.PROBABILITY,
    "brightness": checks.STRENGTH,
    "contrast": checks.STRENGTH,
    "saturation": checks.STRENGTH,
    "hue": checks.HUE,
    "full": flag(False, "uniform on SO(3) instead of three angles within max_angle"),
    "floor": checks.HUE,
    "light": checks.HUE,
    "translation": flag(False, "a fourth part, shift, of 3DIEBench-T"),
    "gray": checks.PROBABILITY,
    "blur_kernel": checks.KERNEL,
    "blur_sigma": also(checks.SIGMA, (), "no blur, where a recipe can do without"),
    "blur_probability": checks.PROBABILITY,
    "solarize": also(checks.THRESHOLDS, (), "no inversion"),
}


def simclr_cifar(
    size: int = 32,
    *,
    scale: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = RATIO,
    flip: float = 0.5,
    jitter: Sequence[float] = STRENGTHS,
    jitter_probability: float = 0.8,
    gray: float = 0.2,
    blur_kernel: int = 3,
    blur_sigma: Sequence[float] = (0.1, 2.0),
    blur_probability: float = 0.5,
) -> Transform:
    """The views of SimCLR and CARE on CIFAR and STL-10: crop, flip, jitter, gray, blur.

    Source: Gupta et al. 2024, arXiv:2306.13924, after Chen et al. 2020, arXiv:2002.05709.

    Raises:
      ValueError: as its parts do, for values out of their ranges.
    """
    return chain(
        crop=random_resized_crop(size, scale=scale, ratio=ratio),
        flip=horizontal_flip(flip),
        jitter=maybe(jitter_probability, _jitter(jitter)),
        gray=grayscale(gray),
        blur=maybe(blur_probability, gaussian_blur(blur_kernel, sigma=blur_sigma)),
    )


def moco_imagenet(
    size: int = 224,
    *,
    scale: Sequence[float] = (0.2, 1.0),
    ratio: Sequence[float] = RATIO,
    jitter: Sequence[float] = STRENGTHS,
    jitter_probability: float = 0.8,
    gray: float = 0.2,
    blur_kernel: int = 5,
    blur_sigma: Sequence[float] = (0.1, 2.0),
    blur_probability: float = 0.5,
    flip: float = 0.5,
) -> Transform:
    """The views of MoCo-v2 and CARE on ImageNet: crop, jitter, gray, blur, flip.

    Source: Gupta et al. 2024, arXiv:2306.13924, after Chen et al. 2020, arXiv:2003.04297, with a
    blur of 5 pixels.

    Raises:
      ValueError: as its parts do, for values out of their ranges.
    """
    return chain(
        crop=random_resized_crop(size, scale=scale, ratio=ratio),
        jitter=maybe(jitter_probability, _jitter(jitter)),
        gray=grayscale(gray),
        blur=maybe(blur_probability, gaussian_blur(blur_kernel, sigma=blur_sigma)),
        flip=horizontal_flip(flip),
    )


def crop_flip(
    size: int = 224,
    *,
    scale: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = RATIO,
    flip: float = 0.5,
) -> Transform:
    """What linear classifiers on ImageNet are trained under: crop and flip.

    Source: He et al. 2020, arXiv:1911.05722, section 4.1.

    Raises:
      ValueError: as its parts do, for values out of their ranges.
    """
    return chain(
        crop=random_resized_crop(size, scale=scale, ratio=ratio),
        flip=horizontal_flip(flip),
    )


def care_imagenet_equivariant(
    size: int = 224,
    *,
    jitter: Sequence[float] = STRENGTHS,
    jitter_probability: float = 0.8,
    gray: float = 0.2,
    blur_kernel: int = 5,
    blur_sigma: Sequence[float] = (0.1, 2.0),
    blur_probability: float = 0.5,
    flip: float = 0.5,
) -> Transform:
    """CARE's equivariant branch on ImageNet: as `moco_imagenet`, but the crop is the centre.

    Give it images whose shorter side is 256 for a size of 224 (the authors' resize).
    Source: Gupta et al. 2024, arXiv:2306.13924, the authors' code.

    Raises:
      ValueError: as its parts do, for values out of their ranges.
    """
    return chain(
        crop=center_crop(size),
        jitter=maybe(jitter_probability, _jitter(jitter)),
        gray=grayscale(gray),
        blur=maybe(blur_probability, gaussian_blur(blur_kernel, sigma=blur_sigma)),
        flip=horizontal_flip(flip),
    )


def shapes(
    size: int = 32,
    *,
    max_angle: float = pi / 6,
    scale: Sequence[float] = (0.3, 1.0),
    ratio: Sequence[float] = RATIO,
    jitter: Sequence[float] = STRENGTHS,
    jitter_probability: float = 0.8,
) -> Transform:
    """Views for rendered shapes, whose angle, hue, size and place are known: rotate, crop, jitter.

    No flip and no gray, which would make two angles or two hues the same image. The rotation is
    first, so that the crop can remove its empty corners. Ours, not from a paper.

    Raises:
      ValueError: as its parts do, for values out of their ranges.
    """
    return chain(
        rotate=rotate(max_angle),
        crop=random_resized_crop(size, scale=scale, ratio=ratio),
        jitter=maybe(jitter_probability, _jitter(jitter)),
    )


def factors(
    size: int = 32,
    *,
    max_angle: float = pi,
    fill: float | str = "reflect",
    scale: Sequence[float] = (0.3, 1.0),
    ratio: Sequence[float] = RATIO,
    flip: float = 0.0,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.5,
    gray: float = 0.0,
    blur_kernel: int = 5,
    blur_sigma: Sequence[float] = (),
    solarize: Sequence[float] = (),
) -> Transform:
    """Every factor a part of its own, so that each can have its own role. Ours, not from a paper.

    rotate, crop, flip, brightness, contrast, saturation, hue, gray, blur, solarize, in this order
    and always drawn: a colour jitter, by contrast, is one part with one role. A part whose strength
    is 0 (or an empty range) is left out of the recipe; the crop stays, since it sets the size.

    Raises:
      ValueError: as its parts do, for values out of their ranges.
    """
    strengths = {
        "rotate": max_angle, "crop": 1, "flip": flip, "brightness": brightness,
        "contrast": contrast, "saturation": saturation, "hue": hue, "gray": gray,
        "blur": len(blur_sigma), "solarize": len(solarize),
    }  # fmt: skip
    build: Mapping[str, Callable[[], Transform]] = {
        "rotate": lambda: rotate(max_angle, fill=fill),
        "crop": lambda: random_resized_crop(size, scale=scale, ratio=ratio),
        "flip": lambda: horizontal_flip(flip),
        "brightness": lambda: color.brightness(brightness),
        "contrast": lambda: color.contrast(contrast),
        "saturation": lambda: color.saturation(saturation),
        "hue": lambda: color.hue(hue),
        "gray": lambda: grayscale(gray),
        "blur": lambda: gaussian_blur(blur_kernel, sigma=blur_sigma),
        "solarize": lambda: filter.solarize(solarize),
    }
    return chain(**{name: part() for name, part in build.items() if strengths[name]})


def rotation3d(*, max_angle: float = pi) -> Transform:
    """Rotations of a point cloud [P, 4] about the origin: `rotation3d.rotate_cloud`.

    Source: Gupta et al. 2024, arXiv:2306.13924, section 5.1.

    Raises:
      ValueError: as its part does, for an angle out of range.
    """
    return chain(rotate=rotate_cloud(max_angle))


RECIPES: Mapping[str, Callable[..., Transform]] = {
    "simclr_cifar": simclr_cifar,
    "moco_imagenet": moco_imagenet,
    "crop_flip": crop_flip,
    "care_imagenet_equivariant": care_imagenet_equivariant,
    "shapes": shapes,
    "factors": factors,
    "rotation3d": rotation3d,
    "solids": solids,
    "stored_views": stored_views,
}


def _jitter(strengths: Sequence[float]) -> Transform:
    return color_jitter(*accept("The jitter", strengths, checks.JITTER))
