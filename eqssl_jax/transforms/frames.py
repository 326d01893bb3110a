"""Crops of a picture of any aspect that lies in a frame [S, L, 4]: see `eqssl_jax.frame`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from eqssl_jax import frame
from eqssl_jax.transforms.base import Params


class Picture(NamedTuple):
    """What lies in a frame.

    Attributes:
      pixels: [S, L, 3]; the picture is the first `length` columns.
      length: of its long side in pixels, S … L.
      standing: whether it lies transposed there, being higher than wide.
    """

    pixels: Float[Array, "s l 3"]
    length: Float[Array, ""]
    standing: Bool[Array, ""]


def picture(x: Float[Array, "s l 4"]) -> Picture:
    """The picture in a frame, its values in [0, 1]."""
    marks = jnp.round(x[0, :, 3] * 255)  # [L]
    length = jnp.sum((marks != frame.NOTHING).astype(jnp.float32))
    return Picture(x[..., :3], length, marks[0] == frame.STANDING)


def fitted(box: Params, aspect: Float[Array, ""]) -> Params:
    """A box drawn for a square, as the box of a picture of aspect A = width / height.

    With h, w, t, l the drawn height, width, top and left in fractions of the square,

        h' = h √A / m,  w' = w / (√A m),  m = max(1, h √A, w / √A),
        t' = t / (1 − h) · (1 − h'),  l' = l / (1 − w) · (1 − w')   (½ (1 − h') where h = 1).

    The width / height in pixels is w / h as drawn, always. The area is h w of the picture as drawn
    where the box fits (m = 1); a box that would reach beyond the picture is scaled down, by m. The
    place is as drawn, in fractions of the room that there is; the whole square, the identity, is
    the largest square in the centre. A square picture (A = 1) has its boxes as drawn.

    torchvision draws anew where a box does not fit, which we cannot: a draw knows no image. Of
    areas from 0.2 to 1 and shapes from 3 : 4 to 4 : 3, 21 % of the boxes are scaled down for
    pictures of 4 : 3 and 30 % for 3 : 2; the mean area is then 0.517 and 0.497, and torchvision's
    0.495 and 0.452 (200,000 draws). torchvision also prefers the shape of the picture a little:
    the geometric mean of its width / height is 1.04 there, and ours 1.
    """
    root = jnp.sqrt(aspect)
    height, width = box["height"] * root, box["width"] / root
    beyond = jnp.maximum(1.0, jnp.maximum(height, width))
    height, width = height / beyond, width / beyond
    top = _place(box["top"], box["height"]) * (1 - height)
    left = _place(box["left"], box["width"]) * (1 - width)
    return {"top": top, "left": left, "height": height, "width": width}


def _place(start: Array, length: Array) -> Array:
    """Where in the room that a box has it begins, from 0 to 1; ½ where it has none."""
    room = 1 - length
    some = room > 1e-6
    return jnp.where(some, jnp.clip(start / jnp.where(some, room, 1.0), 0.0, 1.0), 0.5)


def upright(seen: Picture, cut: Float[Array, "s s 3"]) -> Float[Array, "s s 3"]:
    """A square cut of a frame as it looks in the picture."""
    return jnp.where(seen.standing, jnp.swapaxes(cut, 0, 1), cut)


def central(seen: Picture, size: int) -> Float[Array, "s s 3"]:
    """The central `size` × `size` pixels of the picture in a frame."""
    start = (seen.pixels.shape[0] - size) // 2
    along = jnp.floor((seen.length - size) / 2).astype(jnp.int32)
    cut = jax.lax.dynamic_slice(
        seen.pixels, (jnp.int32(start), along, jnp.int32(0)), (size, size, 3)
    )
    return upright(seen, cut)
