"""What an encoder accepts: the checks that stand before every public call."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Images: TypeAlias = np.ndarray | jax.Array

FAR = 0.25  # beyond [0, 1]: resampling overshoots by less, images that were normalised by more


def check_images(
    images: Any, shape: tuple[int, ...] | None = None, *, unit_range: bool = True
) -> None:
    """That images are what an encoder was made for; values only where they are known (not traced).

    Args:
      images: float [N, H, W, C] in [0, 1], or point clouds [N, P, 4] of any range.
      shape: of one example; None leaves height, width and channels free.
      unit_range: whether image values have to lie in [0, 1].

    Raises:
      ValueError: for what is no array, another dtype, rank or shape, no images at all, values that
        are not finite, or image values outside [0, 1] by more than 0.25; with the fix.
    """
    check_kind(images)
    _check_shape(tuple(images.shape), shape)
    if not isinstance(images, jax.core.Tracer):
        _check_values(images, free=images.ndim == 3 or not unit_range)


def check_kind(images: Any) -> None:
    """That images are an array of floating-point numbers.

    Raises:
      ValueError: for anything else, with the fix.
    """
    if not isinstance(images, np.ndarray | jax.Array):
        raise ValueError(
            f"An encoder takes a NumPy or JAX array of images, found {_kind(images)}: convert it, "
            f"e.g. np.asarray(images, np.float32), with the channels last and values in [0, 1]."
        )
    if not jnp.issubdtype(images.dtype, jnp.floating):
        fix = "divide uint8 images by 255: images.astype('float32') / 255"
        raise ValueError(
            f"An encoder takes floating-point images in [0, 1], found {images.dtype}: {fix}."
        )


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _check_shape(actual: tuple[int, ...], shape: tuple[int, ...] | None) -> None:
    wanted = shape or ("H", "W", "C")
    text = f"[N, {', '.join(map(str, wanted))}]"
    if len(actual) == len(wanted):
        raise ValueError(
            f"An encoder takes a batch {text}, found one example of shape {actual}: give it a "
            f"leading axis, images[None]."
        )
    if len(actual) != len(wanted) + 1:
        raise ValueError(f"An encoder takes a batch {text}, found an array of shape {actual}.")
    if not actual[0]:
        raise ValueError(f"There is nothing to encode: the batch has the shape {actual}.")
    if 0 in actual:
        raise ValueError(f"An encoder takes a batch {text}, found images without pixels: {actual}.")
    if shape is None or actual[1:] == tuple(shape):
        return
    if len(shape) == 3 and (actual[2], actual[3], actual[1]) == tuple(shape):
        fix = "the channels come last: images.transpose(0, 2, 3, 1)"
    elif actual[-1] != shape[-1]:
        fix = f"it normalises {shape[-1]} channels"
        if (actual[-1], shape[-1]) == (1, 3):
            fix += "; repeat grey images: np.repeat(images, 3, axis=-1)"
        elif (actual[-1], shape[-1]) == (4, 3):
            fix += "; leave out the alpha channel: images[..., :3]"
    elif len(shape) == 3:
        fix = f"resize them: jax.image.resize(images, (len(images), {text[4:-1]}), 'linear')"
    else:
        fix = f"pad or sample each cloud to {shape[0]} points"
    raise ValueError(f"This encoder takes a batch {text}, found {actual}: {fix}.")


def _check_values(images: Images, *, free: bool) -> None:
    low, high = float(images.min()), float(images.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError(
            f"The images hold {'NaN' if np.isnan(low) else 'infinite values'}: an encoder takes "
            f"finite values in [0, 1]. Look for a division by zero before it."
        )
    if free or (low >= -FAR and high <= 1 + FAR):
        return
    if low >= 0 and high <= 255 * (1 + FAR):
        fix = "divide them by 255" if high > 2 else "scale them to [0, 1]"
    else:
        fix = "give them as they were before any normalisation, which is part of the encoder"
    raise ValueError(
        f"An encoder takes images in [0, 1], found values from {low:.4g} to {high:.4g}: {fix}."
    )


def channels(
    mean: Sequence[float], std: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std as tuples of floats, one for each channel.

    Raises:
      ValueError: for another number of means than of stds, what is no number, and std ≤ 0.
    """
    try:
        m, s = (tuple(np.atleast_1d(np.asarray(values, float)).tolist()) for values in (mean, std))
        fit = len(m) == len(s) and bool(np.isfinite((m, s)).all()) and min(s) > 0
    except (TypeError, ValueError):
        fit = False
    if not fit:
        raise ValueError(f"mean and std need a number a channel, std > 0; found {mean} and {std}.")
    return m, s
