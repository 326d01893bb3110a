"""Waves, colours, grain and the ground that the shapes are painted with and on."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32


def grain(number: UInt32[Array, ""], size: int) -> Float[Array, "s s"]:
    """Noise in [−1, 1]: an integer hash of the image's number and the pixel's.

    A few multiplications and shifts (constants of lowbias32, Wellons 2018) instead of the library's
    generator: noise has no need of its quality, and it would take a third of the rendering time.
    """
    pixels = jnp.arange(size * size, dtype=jnp.uint32).reshape(size, size)
    x = pixels + number * jnp.uint32(0x9E3779B9)
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return (x >> 16).astype(jnp.float32) / 32767.5 - 1


def wave(grid: Float[Array, " s"], across: Array, down: Array, phase: Array) -> Array:
    """cos 2π(across·x + down·y + phase) on the grid, from 4S cosines instead of S²."""
    x, y = 2 * math.pi * (across * grid + phase), 2 * math.pi * down * grid
    return jnp.cos(x)[None, :] * jnp.cos(y)[:, None] - jnp.sin(x)[None, :] * jnp.sin(y)[:, None]


def colour(hue: Array, saturation: Array, value: Float[Array, "s s"]) -> Float[Array, "s s 3"]:
    """HSV to RGB for one hue and saturation and many values."""
    sector = (hue * 6 + jnp.array([5.0, 3.0, 1.0])) % 6
    fade = 1 - saturation * jnp.clip(jnp.minimum(sector, 4 - sector), 0, 1)
    return value[..., None] * fade[None, None, :]


def ground(
    scene: Mapping[str, Array], grid: Float[Array, " s"], shadow: Float[Array, "s s"]
) -> Float[Array, "s s 3"]:
    """Two colours of one hue, mixed along a bent gradient, under a shadow."""
    bend = sum(  # at most 3 cycles a side
        wave(grid, 3 * across, 3 * down, phase) for across, down, phase in scene["waves"]
    )
    turn, centred = 2 * math.pi * scene["gradient_turn"], grid - 0.5
    across = jnp.cos(turn) * centred[None, :] + jnp.sin(turn) * centred[:, None]
    mix = jnp.clip(0.5 + 0.7 * across + 0.17 * bend, 0, 1)
    value = scene["ground_dark"] + (scene["ground_bright"] - scene["ground_dark"]) * mix
    return colour(scene["ground_hue"], scene["ground_saturation"], value * shadow)
