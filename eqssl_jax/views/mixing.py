"""Patterns made of patterns: one for each part of a chain, or one of several by a number."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from eqssl_jax.transforms.base import Params, Transform, then
from eqssl_jax.views.base import Draws, Pattern


def mix(base: Pattern, **parts: Pattern) -> Pattern:
    """Share the draws of a chain as `base` does, those of named parts as their own pattern does.

    >>> from eqssl_jax import views
    >>> views.mix(views.independent(2), rotate=views.paired(2)).views
    2

    Raises:
      ValueError: if the patterns differ in their number of views, if two of them are ladders, or
        (when drawing) if the transformation has no part of that name.
    """
    if any(part.views != base.views for part in parts.values()):
        counts = {"base": base.views} | {name: part.views for name, part in parts.items()}
        raise ValueError(f"mix() needs the same number of views everywhere, found {counts}.")

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        missing = sorted(set(parts) - set(transform.identity))
        if missing:
            raise ValueError(
                f"mix() names {missing}, but the transformation has only the parts "
                f"{sorted(transform.identity)}."
            )
        key, sub = jax.random.split(key)
        params, magnitude = base.draw(sub, transform, count)
        # The base draws the parts of the others too: drawing is a handful of scalars, and what is
        # not kept is removed by the compiler.
        for name, part in parts.items():
            key, sub = jax.random.split(key)
            drawn = part.draw(sub, _only(transform, name), count)
            params = {**params, name: drawn.params[name]}
            if drawn.magnitude is not None and magnitude is not None:
                raise ValueError(f"mix() takes one ladder, found a second one for {name!r}.")
            magnitude = magnitude if drawn.magnitude is None else drawn.magnitude
        return Draws(params, magnitude)

    return Pattern(base.views, draw)


def choose(which: Int[Array, ""] | int, *patterns: Pattern) -> Pattern:
    """One of several patterns, by a number that may differ between the copies of a vmap.

    All of them draw from the same key and one result is taken, so a number costs no compilation.
    A plain number is the pattern of that number itself.

    Raises:
      ValueError: without patterns, if they differ in their number of views, or for a ladder (its
        magnitude would come and go with the number).
    """
    if len({pattern.views for pattern in patterns}) != 1:
        raise ValueError(
            f"choose() needs patterns with one number of views, found "
            f"{[pattern.views for pattern in patterns]}."
        )

    if isinstance(which, int):
        return patterns[which]

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        drawn = [pattern.draw(key, transform, count) for pattern in patterns]
        if any(draws.magnitude is not None for draws in drawn):
            raise ValueError("choose() takes no ladders.")

        def take(*leaves: Array) -> Array:
            return jnp.stack(leaves)[which]

        return Draws(jax.tree.map(take, *(draws.params for draws in drawn)))

    return Pattern(patterns[0].views, draw)


def _only(transform: Transform, name: str) -> Transform:
    """One part of a chain as a chain, with the draws it has there."""

    def apply(params: Params, x: Array) -> Array:
        return transform.apply({**transform.identity, **params}, x)

    sample = then(transform.sample, lambda drawn: {name: drawn[name]})
    return Transform(sample, apply, {name: transform.identity[name]})
