"""What can happen to an input: transformations whose randomness is data, and lists of them."""

from eqssl_jax.transforms import recipes
from eqssl_jax.transforms.base import Params, Transform, chain, maybe
from eqssl_jax.transforms.color import (
    brightness,
    color_jitter,
    contrast,
    grayscale,
    hue,
    saturation,
)
from eqssl_jax.transforms.filter import gaussian_blur, normalize, solarize
from eqssl_jax.transforms.geometry import (
    center_crop,
    horizontal_flip,
    random_resized_crop,
    rotate,
)
from eqssl_jax.transforms.rotation3d import rotate3d, rotate_cloud

__all__ = [
    "Params",
    "Transform",
    "brightness",
    "center_crop",
    "chain",
    "color_jitter",
    "contrast",
    "gaussian_blur",
    "grayscale",
    "horizontal_flip",
    "hue",
    "maybe",
    "normalize",
    "random_resized_crop",
    "recipes",
    "rotate",
    "rotate3d",
    "rotate_cloud",
    "saturation",
    "solarize",
]
