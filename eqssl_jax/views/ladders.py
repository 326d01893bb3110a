"""Ladders: one draw for each image, approached from the identity in sorted steps."""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from eqssl_jax.compiled import quick
from eqssl_jax.transforms.base import Params, Transform, draw_many
from eqssl_jax.views.base import Draws, Pattern


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
        drawn = draw_many(transform.sample, key_draw, (count,))
        if spacing == "even":
            s = jnp.broadcast_to(jnp.linspace(0, 1, rungs)[:, None], (rungs, count))
        else:
            s = jnp.sort(jax.random.uniform(key_rungs, (rungs, count)), axis=0)

        def interpolate(leaf: Array, identity: Array) -> Array:
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                return jnp.broadcast_to(leaf[None], (rungs, *leaf.shape))
            along = s.reshape(rungs, count, *[1] * (leaf.ndim - 1))
            start = jnp.asarray(identity)[(None,) * (along.ndim - jnp.ndim(identity))]
            return start + along * (leaf[None] - start)

        params = jax.tree.map(interpolate, drawn, transform.identity)
        return Draws(params, s * _moves(drawn, transform.identity, count)[None])

    return Pattern(rungs, draw)


def ladder_parts(transform: Transform) -> tuple[str, ...]:
    """The parts of a chain that have a magnitude: a number in their draw that can differ.

    >>> from eqssl_jax import transforms as t
    >>> ladder_parts(t.chain(flip=t.horizontal_flip(), turn=t.rotate(), same=t.hue(0.0)))
    ('turn',)
    """
    moving = _moving()(jax.random.key(0), transform.identity, sample=transform.sample)
    return tuple(name for name in transform.identity if bool(moving[name]))


@cache
def _moving() -> Callable[..., dict[str, Bool[Array, ""]]]:
    def moving(key: Key[Array, ""], identity: Params, *, sample: Callable) -> dict[str, Array]:
        count = 64  # draws: `maybe` leaves many at the identity
        drawn = draw_many(sample, key, (count,))
        return {name: _moves(drawn[name], part, count).any() for name, part in identity.items()}

    return jax.jit(moving, static_argnames="sample", compiler_options=quick())


def _moves(drawn: Params, identity: Params, count: int) -> Float[Array, " n"]:
    """1 for each draw with a number that differs from the identity's, else 0."""
    moved = jnp.zeros((count,), bool)
    for leaf, start in zip(jax.tree.leaves(drawn), jax.tree.leaves(identity), strict=True):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            differs = leaf != jnp.asarray(start)[None]
            moved |= differs.reshape(count, -1).any(axis=1)
    return moved.astype(jnp.float32)
