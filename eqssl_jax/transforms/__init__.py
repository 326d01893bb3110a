"""What can happen to an input: transformations whose randomness is data, and lists of them."""

from eqssl_jax.rotations import (
    matrix_from_quaternion,
    quaternion_from_euler,
    quaternion_product,
    relative_quaternion,
)
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
    quarter_turn,
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
    "matrix_from_quaternion",
    "maybe",
    "normalize",
    "quarter_turn",
    "quaternion_from_euler",
    "quaternion_product",
    "random_resized_crop",
    "recipes",
    "relative_quaternion",
    "rotate",
    "rotate3d",
    "rotate_cloud",
    "saturation",
    "solarize",
]
