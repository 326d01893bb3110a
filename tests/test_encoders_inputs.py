"""What an encoder is not made for is refused before anything is compiled, with the fix."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import encoders
from eqssl_jax.encoders.inputs import check_images

SHAPE = (8, 6, 3)
GOOD = np.full((2, *SHAPE), 0.5, np.float32)


def altered(value):
    images = GOOD.copy()
    images[1, 2, 3, 1] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (GOOD.tolist(), "found list"),
        (None, "found NoneType"),
        (np.float32(1), "found numpy.float32"),
        ((GOOD * 255).astype(np.uint8), "astype('float32') / 255"),
        (GOOD > 0.2, "found bool"),
        (GOOD.astype(complex), "found complex128"),
        (GOOD.astype(object), "found object"),
        (GOOD[0], "images[None]"),
        (GOOD[None], "found an array of shape"),
        (GOOD[:0], "nothing to encode"),
        (GOOD[:, :0], "without pixels"),
        (GOOD.transpose(0, 3, 1, 2), "transpose(0, 2, 3, 1)"),
        (GOOD[..., :1], "np.repeat"),
        (np.concatenate([GOOD, GOOD[..., :1]], -1), "[..., :3]"),
        (GOOD[..., :2], "normalises 3 channels"),
        (GOOD[:, :7], "resize them"),
        (altered(np.nan), "hold NaN"),
        (altered(np.inf), "infinite values"),
        (GOOD * 255, "divide them by 255"),
        ((GOOD - 0.9) / 0.2, "before any normalisation"),
        (jnp.asarray(altered(-2)), "before any normalisation"),
    ],
)
def test_bad_images_are_refused_with_the_fix(images, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_images(images, SHAPE)


def test_good_images_pass():
    for dtype in (np.float16, np.float32, np.float64, jnp.bfloat16):
        check_images(GOOD.astype(dtype), SHAPE)
    check_images(altered(1.2), SHAPE)  # bicubic interpolation overshoots
    check_images(GOOD)
    check_images(altered(-3), SHAPE, unit_range=False)
    check_images(np.full((3, 5, 4), -40, np.float32), (5, 4))  # clouds are in ångström


def test_shapes_are_checked_while_tracing():
    with pytest.raises(ValueError, match="resize them"):
        jax.jit(lambda x: check_images(x, (9, 6, 3)))(GOOD)
    with pytest.raises(ValueError, match="found int32"):
        jax.eval_shape(lambda x: check_images(x), jnp.ones((1, 2, 2, 3), jnp.int32))
    jax.jit(lambda x: check_images(x, SHAPE))(altered(np.nan))  # values are not known here


def test_a_network_refuses_bytes_and_other_channels():
    built = encoders.build(encoder="conv_tiny", projector=(), mean=(0.5,) * 3, std=(0.2,) * 3)
    with pytest.raises(ValueError, match="found uint8"):
        built.encode({}, {}, np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="normalises 3 channels"):
        jax.eval_shape(lambda x: built.encode({}, {}, x), jnp.zeros((1, 8, 8, 1)))
