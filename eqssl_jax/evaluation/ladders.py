"""Draws for a study of ladders: one part walks at a time, in even rungs, in every split."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Key

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

    Walking amid other changes is `views.mix(views.independent(V), part=views.ladder(V, …))`, with
    the ladders of the clean walk and, for every part, the same draws of the others: numbers then
    differ by what they compare, not by their draws.
    """
    found: dict[str, dict[str, views.Draws]] = {part: {} for part in parts}
    drawn_parts, others = _drawing()(
        key,
        transform.identity,
        sample=transform.sample,
        parts=tuple(parts),
        rungs=rungs,
        count=sum(counts.values()),
        held_out=list(counts.values())[-1],
    )
    drawn_parts, others = jax.device_get((drawn_parts, others))
    for part, drawn in drawn_parts.items():
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
    held_out = list(counts)[-1]
    walked = {part: drawn[held_out] for part, drawn in found.items()}
    amid = {
        part: drawn._replace(params={**others, part: drawn.params[part]})
        for part, drawn in walked.items()
    }
    return Ladders(found, amid)


@cache
def _drawing() -> Callable[..., tuple[dict[str, views.Draws], Params]]:
    # The function that samples is static: the next checkpoint needs no new compilation. It runs
    # once, so on CPU it is compiled fast rather than well.
    quick = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else {}
    static = ("sample", "parts", "rungs", "count", "held_out")
    return jax.jit(_draw_parts, static_argnames=static, compiler_options=quick)


def _draw_parts(key, identity, *, sample, parts, rungs, count, held_out):  # type: ignore[no-untyped-def]
    """Ladders of one part at a time, all other parts at rest; and draws for these others."""
    transform = Transform(sample, lambda params, x: x, identity)
    found = {}
    for number, part in enumerate(parts):
        pattern = views.mix(views.still(rungs), **{part: views.ladder(rungs, spacing="even")})
        found[part] = pattern.draw(jax.random.fold_in(key, number), transform, count)
    key = jax.random.fold_in(key, len(parts))
    return found, views.independent(rungs).draw(key, transform, held_out).params


def moved(draws: views.Draws) -> Bool[np.ndarray, " n"]:
    """Which images their draw moves."""
    return np.asarray(draws.magnitude)[-1] > 0
