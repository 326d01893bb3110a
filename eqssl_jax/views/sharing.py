"""Patterns that draw a whole transformation, and those that are made of others, part by part."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from eqssl_jax.transforms.base import Params, Transform, draw_many, then
from eqssl_jax.views.base import Draws, Pattern, check_views


def independent(views: int = 2) -> Pattern:
    """One draw for each image and view."""
    check_views("independent", views)

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        return Draws(draw_many(transform.sample, key, (views, count)))

    return Pattern(views, draw)


def paired(views: int = 2) -> Pattern:
    """One draw for each image, the same in all of its views."""
    check_views("paired", views)

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        drawn = draw_many(transform.sample, key, (count,))
        return Draws(_stack([drawn] * views))

    return Pattern(views, draw)


def grouped(
    groups: int | None = None,
    views: int = 2,
    *,
    size: int | None = None,
    reference: str = "augmented",
) -> Pattern:
    """One draw for each group of neighbouring images, and for each view.

    Args:
      groups: how many groups of equal size a batch is cut into; it must be a multiple of them.
      views: how many views.
      size: images in a group, in place of `groups`: for any number of images, of which the last
        group may hold fewer. 2 makes pairs that share their draws (STL: Yu et al. 2024,
        arXiv:2501.08712).
      reference: "augmented" draws every view; "identity" leaves the first view untransformed
        (the un-augmented Gram matrix of CARE's equation, Gupta et al. 2024, arXiv:2306.13924).

    Raises:
      ValueError: for neither or both of `groups` and `size`, a number below 1, an unknown
        reference, or (when drawing) a batch that is not a multiple of `groups`.
    """
    check_views("grouped", views)
    if (groups is None) == (size is None):
        raise ValueError(
            f"grouped() takes the number of groups or the size of a group, found groups={groups} "
            f"and size={size}."
        )
    if (groups or size or 0) < 1:
        raise ValueError(
            f"grouped() needs at least one group of one image, found groups={groups}, size={size}."
        )
    if reference not in ("augmented", "identity"):
        raise ValueError(
            f"grouped() takes reference 'augmented' or 'identity', found {reference!r}."
        )

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        length = size or _equal_length(groups or 1, count)
        drawn = draw_many(transform.sample, key, (views, -(-count // length)))  # [V, G, ...]
        if reference == "identity":
            drawn = jax.tree.map(
                lambda leaf, identity: leaf.at[0].set(identity), drawn, transform.identity
            )
        return Draws(jax.tree.map(lambda x: jnp.repeat(x, length, axis=1)[:, :count], drawn))

    return Pattern(views, draw)


def _equal_length(groups: int, count: int) -> int:
    if count % groups:
        raise ValueError(
            f"grouped({groups}) cannot cut a batch of {count} images into equal groups: "
            f"use a batch size that is a multiple of {groups}, or another number of groups."
        )
    return count // groups


def fixed(views: int = 2) -> Pattern:
    """The identity in every view."""
    check_views("fixed", views)

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        del key

        def spread(leaf: Array) -> Array:
            return jnp.broadcast_to(jnp.asarray(leaf), (views, count, *jnp.shape(leaf)))

        return Draws(jax.tree.map(spread, transform.identity))

    return Pattern(views, draw)


def _stack(trees: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


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
