"""Patterns that draw a whole transformation: independent, paired, grouped, or not at all."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from eqssl_jax.transforms.base import Transform
from eqssl_jax.views.base import Draws, Pattern, check_views


def independent(views: int = 2) -> Pattern:
    """One draw for each image and view."""
    check_views("independent", views)

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        keys = jax.random.split(key, (views, count))
        return Draws(jax.vmap(jax.vmap(transform.sample))(keys))

    return Pattern(views, draw)


def paired(views: int = 2) -> Pattern:
    """One draw for each image, the same in all of its views."""
    check_views("paired", views)

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        drawn = jax.vmap(transform.sample)(jax.random.split(key, count))
        return Draws(_stack([drawn] * views))

    return Pattern(views, draw)


def grouped(groups: int, views: int = 2, *, reference: str = "augmented") -> Pattern:
    """One draw for each of `groups` equal, contiguous chunks of the batch, and for each view.

    Args:
      groups: how many distinct draws a view holds; the batch size must be a multiple of it.
      views: how many views.
      reference: "augmented" draws every view; "identity" leaves the first view untransformed
        (the un-augmented Gram matrix of CARE's equation, Gupta et al. 2024, arXiv:2306.13924).

    Raises:
      ValueError: for groups < 1, an unknown reference, or (when drawing) a batch that is not a
        multiple of `groups`.
    """
    check_views("grouped", views)
    if groups < 1:
        raise ValueError(f"grouped() needs at least one group, found groups={groups}.")
    if reference not in ("augmented", "identity"):
        raise ValueError(
            f"grouped() takes reference 'augmented' or 'identity', found {reference!r}."
        )

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        if count % groups:
            raise ValueError(
                f"grouped({groups}) cannot cut a batch of {count} images into equal groups: "
                f"use a batch size that is a multiple of {groups}, or another number of groups."
            )
        keys = jax.random.split(key, (views, groups))
        drawn = jax.vmap(jax.vmap(transform.sample))(keys)  # [V, G, ...]
        if reference == "identity":
            drawn = jax.tree.map(lambda leaf, rest: leaf.at[0].set(rest), drawn, transform.identity)
        return Draws(jax.tree.map(lambda leaf: jnp.repeat(leaf, count // groups, axis=1), drawn))

    return Pattern(views, draw)


def still(views: int = 2) -> Pattern:
    """The identity in every view."""
    check_views("still", views)

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        del key

        def spread(leaf: Array) -> Array:
            return jnp.broadcast_to(jnp.asarray(leaf), (views, count, *jnp.shape(leaf)))

        return Draws(jax.tree.map(spread, transform.identity))

    return Pattern(views, draw)


def _stack(trees: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
