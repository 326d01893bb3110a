"""What moves pixels: crops, flips, and rotations of images [H, W, C]."""

from collections.abc import Sequence
from math import log, pi

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eqssl_jax import scene
from eqssl_jax.frame import is_frame
from eqssl_jax.settings import accept, number
from eqssl_jax.transforms import checks, frames
from eqssl_jax.transforms.base import FromUniform, Params, Transform

_TRIES = 10  # torchvision's number of boxes tried before the fallback
_ASPECT = number(1.0, "width / height of images", low=0.01, high=100)


def random_resized_crop(
    size: int,
    *,
    scale: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
    aspect: float = 1.0,
) -> Transform:
    """Cut a random box and resize it to `size` × `size`, bilinear with antialiasing.

    A draw is the box `top left height width` in fractions of the image; the identity is the whole
    image, which is exact where the input already is `size` × `size`. The sampling law is
    torchvision's: the area is uniform in `scale`, the logarithm of width / height uniform in the
    logarithm of `ratio`, the place uniform; after ten boxes that do not fit, a central one.

    torchvision then rounds the box to whole pixels. Ours stays as drawn, so that a draw means the
    same at every resolution and that ladders and gradients are smooth; pixels at its rim count by
    the part of them inside it. Boxes of whole pixels give torchvision's values.

    Of a frame [S, L, 4] (`eqssl_jax.frame`) the box is that of the picture in it, whatever its
    aspect: `frames.fitted` has the equation; the identity is the largest square in its centre.

    Args:
      size: side of the output in pixels.
      scale: range of the box's area as a fraction of the image's.
      ratio: range of the box's width / height, in pixels.
      aspect: width / height of the images it will be given.

    Raises:
      ValueError: for a size below 1, scale outside (0, 1], a ratio or aspect that is not positive.
    """
    size = accept("The crop's size", size, checks.SIDE)
    scale = accept("The crop's scale", scale, checks.SCALE)
    ratio = accept("The crop's ratio", ratio, checks.RATIO)
    aspect = accept("The aspect of the images", aspect, _ASPECT)
    # The largest box of an allowed shape: used, in the centre, when no try fits.
    spare_height, spare_width = min(1.0, aspect / ratio[0]), min(1.0, ratio[1] / aspect)

    def read(u: Float[Array, " n"]) -> Params:
        # All tries at once: a loop over them would under vmap run as long as its slowest image.
        area = scale[0] + (scale[1] - scale[0]) * u[:_TRIES]
        # width / height, in fractions of the image
        shape = ratio[0] / aspect * jnp.exp(log(ratio[1] / ratio[0]) * u[_TRIES:-2])
        heights, widths = jnp.sqrt(area / shape), jnp.sqrt(area * shape)
        fits = (heights <= 1) & (widths <= 1)
        any_fits = jnp.any(fits)
        first = jnp.arange(_TRIES) == jnp.argmax(fits)  # a sum in place of a gather
        height = jnp.where(any_fits, jnp.sum(jnp.where(first, heights, 0.0)), spare_height)
        width = jnp.where(any_fits, jnp.sum(jnp.where(first, widths, 0.0)), spare_width)
        place = jnp.where(any_fits, u[-2:], 0.5)
        top, left = place[0] * (1 - height), place[1] * (1 - width)
        return {"top": top, "left": left, "height": height, "width": width}

    sample = FromUniform(2 * _TRIES + 2, read)

    def apply(params: Params, x: Float[Array, "h w c"]) -> Float[Array, "s s c"]:
        checks.image("random_resized_crop()", x)
        if is_frame(x.shape):
            return _resized_from_frame(params, x, size)
        down, along = (params["top"], params["height"]), (params["left"], params["width"])
        return _resized(x, down, along, size)

    zero, one = np.float32(0), np.float32(1)
    return Transform(sample, apply, {"top": zero, "left": zero, "height": one, "width": one})


def center_crop(size: int) -> Transform:
    """Cut the central `size` × `size` pixels; nothing is drawn, so a draw is an empty dict.

    An image of that size is returned as it is, which is the identity law of resized crops as well.
    The cut belongs to every view, untransformed references included: it is no augmentation.
    Of a frame [S, L, 4] (`eqssl_jax.frame`) it is the centre of the picture in it.

    Raises:
      ValueError: for a size below 1, or (when applied) an image smaller than `size`.
    """
    size = accept("The crop's size", size, checks.SIDE)

    def apply(params: Params, x: Float[Array, "h w c"]) -> Float[Array, "s s c"]:
        del params
        checks.image("center_crop()", x)
        if min(x.shape[:2]) < size:
            raise ValueError(
                f"center_crop({size}) found a smaller image of {x.shape[0]} × {x.shape[1]} pixels: "
                f"load the images larger, or crop to at most {min(x.shape[:2])}."
            )
        if is_frame(x.shape):
            return frames.central(frames.picture(x), size)
        top, left = (x.shape[0] - size) // 2, (x.shape[1] - size) // 2
        return x[top : top + size, left : left + size]

    return Transform(FromUniform(0, lambda u: {}), apply, {})


def horizontal_flip(probability: float = 0.5) -> Transform:
    """Mirror left and right with a probability; a draw is `flip` (bool).

    Raises:
      ValueError: if `probability` is not in [0, 1].
    """
    probability = accept("The flip's probability", probability, checks.PROBABILITY)

    sample = FromUniform(1, lambda u: {"flip": u[0] < probability})

    def apply(params: Params, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        checks.image("horizontal_flip()", x)
        return jnp.where(params["flip"], x[:, ::-1], x)

    return Transform(sample, apply, {"flip": np.bool_(False)})


def rotate(max_angle: float = pi, *, fill: float | str = 0.0) -> Transform:
    """Turn by a random angle about the centre, bilinear.

    A draw is `angle` in radians, counter-clockwise, uniform in [−max_angle, max_angle].

    Args:
      max_angle: radians.
      fill: the value in [0, 1] where nothing was, or "reflect": the image mirrored at its border.
        A constant shows the angle in the corners, whatever the image: where a representation shall
        learn about angles, that is a shortcut.

    Raises:
      ValueError: if `max_angle` is not in [0, π] (radians, not degrees), or for another fill.
    """
    max_angle = accept("The max_angle (radians) of rotate()", max_angle, checks.ANGLE)
    fill = accept("The fill of rotate()", fill, checks.FILL)
    outside = 0.0 if isinstance(fill, str) else float(fill)

    sample = FromUniform(1, lambda u: {"angle": max_angle * (2 * u[0] - 1)})

    def apply(params: Params, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        checks.image("rotate()", x)
        cos, sin = jnp.cos(params["angle"]), jnp.sin(params["angle"])
        middle = (x.shape[0] - 1) / 2, (x.shape[1] - 1) / 2
        down = (jnp.arange(x.shape[0], dtype=x.dtype) - middle[0])[:, None]  # [H, 1]
        right = (jnp.arange(x.shape[1], dtype=x.dtype) - middle[1])[None, :]  # [1, W]
        # Where each output pixel comes from: the turn undone. Rows count downward.
        row = sin * right + cos * down + middle[0]  # [H, W]
        column = cos * right - sin * down + middle[1]
        if fill == "reflect":
            row, column = _mirrored(row, x.shape[0]), _mirrored(column, x.shape[1])
        return jnp.minimum(_bilinear(x, row, column, outside), 1.0)

    return Transform(sample, apply, {"angle": np.float32(0)})


def _resized_from_frame(params: Params, x: Float[Array, "s l 4"], size: int) -> Array:
    """The drawn box of the picture in a frame, resized to `size` × `size`."""
    seen = frames.picture(x)
    short, long = x.shape[:2]
    lying = seen.length / short
    box = frames.fitted(params, jnp.where(seen.standing, 1 / lying, lying))
    part = seen.length / long  # of the columns, that the picture takes
    top, left, height, width = (box[name] for name in ("top", "left", "height", "width"))
    rows = (jnp.where(seen.standing, left, top), jnp.where(seen.standing, width, height))
    columns = (jnp.where(seen.standing, top, left), jnp.where(seen.standing, height, width))
    columns = (columns[0] * part, columns[1] * part)
    return frames.upright(seen, _resized(seen.pixels, rows, columns, size))


def _resized(
    x: Float[Array, "h w c"], rows: tuple[Array, Array], columns: tuple[Array, Array], size: int
) -> Float[Array, "s s c"]:
    """The box of (start, length) in fractions along both sides, as `size` × `size` pixels."""
    down, across = _resampling(*rows, x.shape[0], size), _resampling(*columns, x.shape[1], size)
    # Two small matrix products: no gather, and full float32 also on accelerators. On a TPU these
    # are six products of bfloat16 parts. With three (HIGH) values would be up to 1.1e-5 from
    # torchvision's, and the identity not exact; HIGH on a GPU is TF32, up to 7e-4 from them
    # (emulated in NumPy: tests/test_transforms_geometry.py).
    full = jax.lax.Precision.HIGHEST
    cropped = jnp.einsum("ij,jkc,lk->ilc", down, x, across, precision=full)
    return jnp.minimum(cropped, 1.0)  # weights that sum to 1 + one rounding error


def _resampling(
    start: Float[Array, ""], length: Float[Array, ""], pixels: int, size: int
) -> Float[Array, "size pixels"]:
    """Weights of `pixels` pixels for each of `size` even samples of [start, start + length].

    Sample i at c_i = start + (i + ½) length / size takes pixel j by a triangle around c_i, as wide
    as the step but at least a pixel, times the part of the pixel that is inside; rows sum to 1.
    """
    first, extent = start * pixels, length * pixels
    step = extent / size
    centre = first + (jnp.arange(size, dtype=jnp.float32) + 0.5) * step
    edge = jnp.arange(pixels, dtype=jnp.float32)[None, :]  # [1, P]
    distance = jnp.abs(edge + 0.5 - centre[:, None])  # [S, P]
    near = jnp.maximum(0.0, 1 - distance / jnp.maximum(step, 1.0))
    # The filter ends with the box: neighbours outside it must not leak in at its rim.
    inside = jnp.clip(jnp.minimum(edge + 1, first + extent) - jnp.maximum(edge, first), 0.0, 1.0)
    weights = near * inside
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def _mirrored(place: Float[Array, "a b"], pixels: int) -> Float[Array, "a b"]:
    """Coordinates folded into [0, pixels − 1] at its ends, without repeating the border pixel."""
    period = 2.0 * max(pixels - 1, 1)
    return (pixels - 1) - jnp.abs(jnp.mod(place, period) - (pixels - 1))


def _bilinear(
    x: Float[Array, "h w c"], row: Float[Array, "a b"], column: Float[Array, "a b"], outside: float
) -> Float[Array, "a b c"]:
    """Values of `x` between its pixels, and `outside` beyond them.

    Not dm_pix.affine_transform: it interpolates over channels as well, eight corners for four.
    """
    height, width, channels = x.shape
    # A rim of that value, and nothing further out is needed.
    rim = ((1, 1), (1, 1), (0, 0))
    padded = jnp.pad(x, rim, constant_values=outside).reshape(-1, channels)
    row = jnp.clip(row + 1, 0.0, height + 1.0)
    column = jnp.clip(column + 1, 0.0, width + 1.0)
    top = jnp.minimum(jnp.floor(row), float(height))
    left = jnp.minimum(jnp.floor(column), float(width))
    below, beside = (row - top)[..., None], (column - left)[..., None]
    corner = (top * (width + 2) + left).astype(jnp.int32)

    def at(offset: int) -> Float[Array, "a b c"]:
        return padded.at[corner + offset].get(mode="promise_in_bounds")

    upper = (1 - beside) * at(0) + beside * at(1)
    lower = (1 - beside) * at(width + 2) + beside * at(width + 3)
    return (1 - below) * upper + below * lower


def quarter_turn() -> Transform:
    """Rotate a square image by 0, 1, 2 or 3 quarter turns counter-clockwise, as `np.rot90`.

    A draw is `turns`, an integer that is uniform on 0 … 3; the identity is 0. The picture of a
    scene (`eqssl_jax.scene`) is rotated likewise.

    Raises:
      ValueError: (when applied) for an image that is not square.
    """

    def apply(params: Params, x: Float[Array, "s s c"]) -> Float[Array, "s s c"]:
        if scene.is_scene(x.shape):  # turned when it is shown
            turns = jnp.asarray(params["turns"]).astype(x.dtype)
            return x.at[scene.QUARTERS].set((x[scene.QUARTERS] + turns) % 4)
        if x.ndim != 3 or x.shape[0] != x.shape[1]:
            raise ValueError(f"quarter_turn() takes one square image [S, S, C], found {x.shape}.")
        turns = jnp.asarray(params["turns"])
        x = jnp.where(turns >= 2, x[::-1, ::-1], x)
        return jnp.where(turns % 2 == 1, jnp.rot90(x), x)

    sample = FromUniform(1, lambda u: {"turns": jnp.floor(4 * u[0]).astype(jnp.int32)})

    return Transform(sample, apply, {"turns": np.int32(0)})
