"""Draws for a study of ladders: one part walks at a time, in even rungs, in every split."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import jax
import numpy as np
from jaxtyping import Array, Bool, Key

from eqssl_jax import views
from eqssl_jax.transforms.base import Transform

FITTED = ("train", "validation")


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
) -> dict[str, dict[str, views.Draws]]:
    """Draws on the host by part and split: leaves [V, N, …]; [2, N, …] where R² is fitted."""

    found: dict[str, dict[str, views.Draws]] = {part: {} for part in parts}
    drawn_parts = _drawing()(
        key,
        transform.identity,
        sample=transform.sample,
        parts=tuple(parts),
        rungs=rungs,
        count=sum(counts.values()),
    )
    for part, drawn in jax.device_get(drawn_parts).items():
        start = 0
        for name, count in counts.items():
            columns = np.arange(start, start + count)
            rows = np.arange(rungs)[:, None]
            if name in FITTED and len(counts) > 1:
                above = 1 + np.arange(count) % (rungs - 1)
                rows = np.stack([np.zeros(count, int), above])  # [2, N]
            found[part][name] = jax.tree.map(
                lambda leaf, r=rows, c=columns: leaf[r, c[None]], drawn
            )
            start += count
    return found


@cache
def _drawing() -> Callable[..., dict[str, views.Draws]]:
    # The function that samples is static: the next checkpoint needs no new compilation. It runs
    # once, so on CPU it is compiled fast rather than well.
    quick = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else {}
    static = ("sample", "parts", "rungs", "count")
    return jax.jit(_draw_parts, static_argnames=static, compiler_options=quick)


def _draw_parts(key, identity, *, sample, parts, rungs, count):  # type: ignore[no-untyped-def]
    """Ladders of one part at a time; all other parts rest."""
    transform = Transform(sample, lambda params, x: x, identity)
    found = {}
    for number, part in enumerate(parts):
        pattern = views.mix(views.still(rungs), **{part: views.ladder(rungs, spacing="even")})
        found[part] = pattern.draw(jax.random.fold_in(key, number), transform, count)
    return found


def moved(draws: views.Draws) -> Bool[np.ndarray, " n"]:
    """Which images their draw moves."""
    return np.asarray(draws.magnitude)[-1] > 0
