"""Who shares a draw: the patterns that turn one transformation into the views of a batch.

A pattern decides only how parameters are drawn; applying them is always the same double vmap
(`render`). All methods of the library are combinations of these patterns.

| pattern          | one draw per ...                       | serves                              |
|------------------|----------------------------------------|-------------------------------------|
| `independent(v)` | image and view                         | InfoNCE and other invariances       |
| `grouped(g)`     | group of images and view               | CARE's Gram match                   |
| `ladder(rungs)`  | image, walked from identity to the draw| order preservation, sweeps          |
| `paired(v)`      | image, shared by its views             | what must not become an invariance  |
| `still(v)`       | (always the identity)                  | what a view set leaves out          |
| `mix(base, ...)` | as each named part says                | a role for each transformation      |
| `choose(i, ...)` | as pattern number i says               | many roles in one compiled program  |
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from eqssl_jax.transforms.base import Params, Transform


class Draws(NamedTuple):
    """Parameters of every view: leaves [V, N, ...], and how far each is along its ladder.

    `magnitude` is [V, N] in [0, 1] (0 the identity, 1 the full draw) for ladders, None otherwise;
    it is 0 on every rung of an image whose draw is the identity: there is nothing to order.
    """

    params: Params
    magnitude: Float[Array, "v n"] | None = None


class Pattern(NamedTuple):
    """A way of sharing draws: `draw(key, transform, count)` gives `Draws` for `views` × `count`."""

    views: int
    draw: Callable[[Key[Array, ""], Transform, int], Draws]


class ViewSpec(NamedTuple):
    """One set of views: what is applied, who shares a draw, and to how many images of the batch.

    `images` limits the set to the first so many images of the batch (None: all). `joint` gives all
    views of the set one BatchNorm, where each view has its own otherwise: what is compared across
    views, as the rungs of a ladder are, must not have its mean taken away view by view.
    """

    transform: Transform
    pattern: Pattern
    images: int | None = None
    joint: bool = False


def independent(views: int = 2) -> Pattern:
    """One draw for each image and view."""
    _check_views("independent", views)

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        keys = jax.random.split(key, (views, count))
        return Draws(jax.vmap(jax.vmap(transform.sample))(keys))

    return Pattern(views, draw)


def paired(views: int = 2) -> Pattern:
    """One draw for each image, the same in all of its views."""
    _check_views("paired", views)

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
    _check_views("grouped", views)
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


def ladder(rungs: int, *, spacing: str = "random") -> Pattern:
    """One draw for each image, approached from the identity in `rungs` sorted steps.

    Rung v uses identity + s_v (draw − identity) with 0 ≤ s_1 < … < s_V ≤ 1. Real-valued parameters
    are interpolated; discrete ones (flip, gray, order) keep the value drawn on every rung. Signed
    parameters move one way along a ladder, since its one draw has one sign; a 3-D rotation, drawn
    as a rotation vector, moves along the geodesic from the identity.

    Args:
      rungs: V, at least 2.
      spacing: "random" draws the s anew for each image; "even" takes linspace(0, 1, V).

    Raises:
      ValueError: for fewer than 2 rungs or an unknown spacing.
    """
    if rungs < 2:
        raise ValueError(f"ladder() needs at least 2 rungs, found {rungs}.")
    if spacing not in ("random", "even"):
        raise ValueError(f"ladder() takes spacing 'random' or 'even', found {spacing!r}.")

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        key_draw, key_rungs = jax.random.split(key)
        drawn = jax.vmap(transform.sample)(jax.random.split(key_draw, count))
        if spacing == "even":
            s = jnp.broadcast_to(jnp.linspace(0, 1, rungs)[:, None], (rungs, count))
        else:
            s = jnp.sort(jax.random.uniform(key_rungs, (rungs, count)), axis=0)

        def interpolate(leaf: Array, rest: Array) -> Array:
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                return jnp.broadcast_to(leaf[None], (rungs, *leaf.shape))
            along = s.reshape(rungs, count, *[1] * (leaf.ndim - 1))
            rest = jnp.asarray(rest)[(None,) * (along.ndim - jnp.ndim(rest))]
            return rest + along * (leaf[None] - rest)

        params = jax.tree.map(interpolate, drawn, transform.identity)
        return Draws(params, s * _moves(drawn, transform.identity, count)[None])

    return Pattern(rungs, draw)


def still(views: int = 2) -> Pattern:
    """The identity in every view."""
    _check_views("still", views)

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        del key

        def spread(leaf: Array) -> Array:
            return jnp.broadcast_to(jnp.asarray(leaf), (views, count, *jnp.shape(leaf)))

        return Draws(jax.tree.map(spread, transform.identity))

    return Pattern(views, draw)


def mix(base: Pattern, **parts: Pattern) -> Pattern:
    """Share the draws of a chain as `base` says, those of named parts as their own pattern says.

    >>> from eqssl_jax import views
    >>> views.mix(views.independent(2), rotate=views.paired(2)).views
    2

    Raises:
      ValueError: if the patterns differ in their number of views, if two of them are ladders, or
        (when drawing) if the transformation has no part of that name.
    """
    if any(part.views != base.views for part in parts.values()):
        found = {"base": base.views} | {name: part.views for name, part in parts.items()}
        raise ValueError(f"mix() needs the same number of views everywhere, found {found}.")

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

    Raises:
      ValueError: without patterns, if they differ in their number of views, or for a ladder (its
        magnitude would come and go with the number).
    """
    if len({pattern.views for pattern in patterns}) != 1:
        raise ValueError(
            f"choose() needs patterns with one number of views, found "
            f"{[pattern.views for pattern in patterns]}."
        )

    def draw(key: Key[Array, ""], transform: Transform, count: int) -> Draws:
        drawn = [pattern.draw(key, transform, count) for pattern in patterns]
        if any(one.magnitude is not None for one in drawn):
            raise ValueError("choose() takes no ladders.")

        def take(*leaves: Array) -> Array:
            return jnp.stack(leaves)[which]

        return Draws(jax.tree.map(take, *(one.params for one in drawn)))

    return Pattern(patterns[0].views, draw)


def render(
    transform: Transform, params: Params, examples: Float[Array, "n ..."]
) -> Float[Array, "v n ..."]:
    """Apply drawn parameters (leaves [V, N, ...]) to N examples: views [V, N, ...]."""
    return jax.vmap(jax.vmap(transform.apply), in_axes=(0, None))(params, examples)


def ladder_parts(transform: Transform) -> tuple[str, ...]:
    """The parts of a chain that have a magnitude: a number in their draw that is not at rest.

    >>> from eqssl_jax import transforms as t
    >>> ladder_parts(t.chain(flip=t.horizontal_flip(), turn=t.rotate(), same=t.hue(0.0)))
    ('turn',)
    """
    moving = _moving()(jax.random.key(0), transform.identity, sample=transform.sample)
    return tuple(name for name in transform.identity if bool(moving[name]))


@cache
def _moving() -> Callable[..., dict[str, Bool[Array, ""]]]:
    # It runs once for each function that samples, so on CPU it is compiled fast rather than well.
    quick = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else {}

    def moving(key: Key[Array, ""], identity: Params, *, sample: Callable) -> dict[str, Array]:
        count = 64  # draws: `maybe` leaves many at rest
        drawn = jax.vmap(sample)(jax.random.split(key, count))
        return {name: _moves(drawn[name], rest, count).any() for name, rest in identity.items()}

    return jax.jit(moving, static_argnames="sample", compiler_options=quick)


def _only(transform: Transform, name: str) -> Transform:
    """One part of a chain as a chain, with the draws it has there."""

    def sample(key: Key[Array, ""]) -> Params:
        return {name: transform.sample(key)[name]}

    def apply(params: Params, x: Array) -> Array:
        return transform.apply({**transform.identity, **params}, x)

    return Transform(sample, apply, {name: transform.identity[name]})


def _moves(drawn: Params, identity: Params, count: int) -> Float[Array, " n"]:
    """1 for each draw with a number that differs from the identity's, else 0."""
    moved = jnp.zeros((count,), bool)
    for leaf, rest in zip(jax.tree.leaves(drawn), jax.tree.leaves(identity), strict=True):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            differs = leaf != jnp.asarray(rest)[None]
            moved |= differs.reshape(count, -1).any(axis=1)
    return moved.astype(jnp.float32)


def _stack(trees: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _check_views(name: str, views: int) -> None:
    if views < 1:
        raise ValueError(f"{name}() needs at least one view, found views={views}.")
