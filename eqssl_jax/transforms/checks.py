"""Refusals that several transformations share: probabilities, intervals, and channels."""

from collections.abc import Sequence
from math import inf

from jaxtyping import Array


def probability(name: str, value: float) -> float:
    """`value` as a float, if it is in [0, 1].

    Raises:
      ValueError: otherwise.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a probability and must be in [0, 1], found {value}.")
    return float(value)


def interval(
    name: str, value: Sequence[float], *, above: float = -inf, most: float = inf
) -> tuple[float, float]:
    """`value` as a pair of finite numbers with above < low ≤ high ≤ most.

    >>> interval("scale", (0.2, 1.0), above=0, most=1)
    (0.2, 1.0)

    Raises:
      ValueError: if it is not such a pair.
    """
    bounds = tuple(value) if isinstance(value, Sequence) else ()
    if len(bounds) != 2 or not above < bounds[0] <= bounds[1] <= most or bounds[1] == inf:
        limits = f"{above} < low <= high" + (f" <= {most}" if most < inf else "")
        raise ValueError(f"{name} must be a pair (low, high) with {limits}, found {value}.")
    return float(bounds[0]), float(bounds[1])


def rgb(name: str, x: Array) -> None:
    """Nothing, if `x` is one image with three channels.

    Raises:
      ValueError: otherwise.
    """
    if x.ndim != 3 or x.shape[-1] != 3:
        raise ValueError(
            f"{name} takes one RGB image [height, width, 3], found shape {x.shape}: repeat a gray "
            f"channel three times, and use jax.vmap for a batch."
        )


def image(name: str, x: Array) -> None:
    """Nothing, if `x` is one image [height, width, channels].

    Raises:
      ValueError: otherwise.
    """
    if x.ndim != 3:
        raise ValueError(
            f"{name} takes one image [height, width, channels], found shape {x.shape}: "
            f"use jax.vmap for a batch."
        )
