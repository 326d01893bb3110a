"""Patterns that draw a whole transformation: independent, paired, grouped, or not at all."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from eqssl_jax.transforms.base import Transform, draw_many
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
