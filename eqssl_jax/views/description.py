"""Who shares a draw, in words, read off what a pattern draws."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from eqssl_jax.transforms.base import FromUniform, Transform
from eqssl_jax.views.base import Pattern


def describe(pattern: Pattern, parts: Iterable[str], count: int) -> dict[str, str]:
    """How a pattern shares the draws of each part among its views and `count` images.

    The pattern draws a transformation whose parts are one number each, different in every draw, so
    that two equal numbers are one draw.

    >>> from eqssl_jax import views
    >>> mixed = views.mix(views.grouped(2), hue=views.paired(2), flip=views.fixed(2))
    >>> for part, words in describe(mixed, ["crop", "hue", "flip"], 8).items():
    ...     print(part, words)
    crop drawn for every 4 images and each view
    hue drawn for each image, shared by its views
    flip at its identity

    Raises:
      ValueError: if the pattern cannot draw for so many images.
    """
    probe = _probe(tuple(parts))
    drawn = pattern.draw(jax.random.key(0), probe, count)
    ladder = drawn.magnitude is not None
    return {part: _words(np.asarray(drawn.params[part]), ladder) for part in probe.identity}


def _probe(parts: tuple[str, ...]) -> Transform:
    # The identity, 0, is never drawn.
    sample = FromUniform(len(parts), lambda u: {p: 1.0 + u[i] for i, p in enumerate(parts)})
    return Transform(sample, lambda params, x: x, {part: jnp.zeros(()) for part in parts})


def _words(values: np.ndarray, ladder: bool) -> str:
    """From the numbers of one part, [V, N]; 0 is the identity."""
    if not values.any():
        return "at its identity"
    views = len(values)
    alike = bool((values == values[:1]).all())
    if ladder and not alike:
        return f"drawn for each image, approached in {views} steps from its identity"
    still = [v + 1 for v in range(views) if not values[v].any()]
    size = _group(values)
    shared_by = {1: "each image", values.shape[1]: "all images"}
    images = shared_by.get(size, f"every {size} images")
    if alike:
        return f"drawn for {images}, " + ("shared by its views" if views > 1 else "in one view")
    text = f"drawn for {images} and each view"
    return text + (f", view {still[0]} at its identity" if still else "")


def _group(values: np.ndarray) -> int:
    """How many neighbouring images share a draw."""
    changes = np.flatnonzero((values[:, 1:] != values[:, :-1]).any(axis=0))
    return int(changes[0]) + 1 if len(changes) else values.shape[1]
