"""Draws for a study of ladders: one part walks at a time, in even rungs, in every split."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from eqssl_jax import views
from eqssl_jax.transforms.base import Params, Transform

FITTED = ("train", "validation")


class Ladders(NamedTuple):
    """Draws on the host, by part.

    Attributes:
      clean: by split, leaves [V, N, …] ([2, N, …] where R² is fitted); all other parts rest.
      amid: the held-out ladders again, all other parts drawn anew for each rung and image.
    """

    clean: dict[str, dict[str, views.Draws]]
    amid: dict[str, views.Draws]


def with_numbers(transform: Transform) -> tuple[str, ...]:
    """Parts that may have a ladder; which of them do, the draws say (`views.ladder_parts` does
    the same with draws of its own, which would have to be compiled).
    """

    def has(part: str) -> bool:
        leaves = jax.tree.leaves(transform.identity[part])
        return any(np.issubdtype(np.asarray(leaf).dtype, np.floating) for leaf in leaves)

    return tuple(part for part in transform.identity if has(part))


def draw_ladders(
    transform: Transform,
    key: Key[Array, ""],
    parts: Sequence[str],
    rungs: int,
    counts: Mapping[str, int],
) -> Ladders:
    """Ladders of every part; the last of `counts` is the held-out split.

    Clean, they are draws of `views.mix(views.fixed(V), part=views.ladder(V, spacing="even"))`; amid
    other changes, of the same with `views.independent(V)`. The ladder of a part is the same in
    both, and the draws of the others are the same whichever part walks: numbers then differ by what
    they compare, not by their draws.
    """
    held_out, total = list(counts)[-1], sum(counts.values())
    drawn = jax.device_get(
        _drawing()(
            key,
            transform.identity,
            sample=transform.sample,
            rungs=rungs,
            count=total + rungs * counts[held_out],
        )
    )
    drawn, others = (
        jax.tree.map(lambda leaf: leaf[:, :total], drawn),
        jax.tree.map(
            lambda leaf: leaf[-1, total:].reshape(rungs, counts[held_out], *leaf.shape[2:]), drawn
        ),
    )
    rest = jax.tree.map(_spread, transform.identity, drawn)
    walks = Ladders({part: {} for part in parts}, {})
    for part in parts:
        magnitude: Any = _magnitude(drawn[part])  # on the host, as all of these draws
        start, walked = 0, views.Draws({**rest, part: drawn[part]}, magnitude)
        for name, count in counts.items():
            columns = np.arange(start, start + count)[None]
            rows = np.arange(rungs)[:, None]
            if name in FITTED and len(counts) > 1:
                above = 1 + np.arange(count) % (rungs - 1)
                rows = np.stack([np.zeros(count, int), above])  # [2, N]
            walks.clean[part][name] = jax.tree.map(
                lambda leaf, r=rows, c=columns: leaf[r, c], walked
            )
            start += count
        clean = walks.clean[part][held_out]
        walks.amid[part] = clean._replace(params={**others, part: clean.params[part]})
    return walks


def _spread(rest: Array, drawn: Float[np.ndarray, "v n ..."]) -> np.ndarray:
    """The identity in the place of every draw."""
    return np.broadcast_to(np.asarray(rest, drawn.dtype), drawn.shape)


def _magnitude(drawn: Params) -> Float[np.ndarray, "v n"]:
    """Even rungs of [0, 1]; 0 for images whose draw of this part is the identity."""
    leaves = jax.tree.leaves(drawn)
    rungs, count = leaves[0].shape[:2]
    # Along a ladder only real numbers change.
    moves = [(leaf[-1] != leaf[0]).reshape(count, -1).any(axis=1) for leaf in leaves]
    return np.linspace(0, 1, rungs, dtype=np.float32)[:, None] * np.any(moves, axis=0)[None]


@cache
def _drawing() -> Callable[..., Params]:
    # The function that samples is static: the next checkpoint needs no new compilation. It runs
    # once, so on CPU it is compiled fast rather than well.
    quick = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else {}
    static = ("sample", "rungs", "count")
    return jax.jit(_draw, static_argnames=static, compiler_options=quick)


def _draw(key, identity, *, sample, rungs, count):  # type: ignore[no-untyped-def]
    """Ladders of all parts at once, of which each part is then taken alone: what is compiled is
    one copy of the sampling. The top rung is a draw like any other.
    """
    transform = Transform(sample, lambda params, x: x, identity)
    return views.ladder(rungs, spacing="even").draw(key, transform, count).params


def moved(draws: views.Draws) -> Bool[np.ndarray, " n"]:
    """Which images their draw moves."""
    return np.asarray(draws.magnitude)[-1] > 0
