"""Draws for a study of ladders, and what encoders give for them.

One part varies at a time, in even rungs, in every split.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from eqssl_jax import views
from eqssl_jax.compiled import quick
from eqssl_jax.data.base import Split
from eqssl_jax.measures.features import (
    Encode,
    Layers,
    as_partial,
    layer_outputs,
    read_batches,
    transformed,
)
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
    identity = jax.tree.map(_spread, transform.identity, drawn)
    walks = Ladders({part: {} for part in parts}, {})
    for part in parts:
        magnitude: Any = _magnitude(drawn[part])  # on the host, as all of these draws
        start, walked = 0, views.Draws({**identity, part: drawn[part]}, magnitude)
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


def _spread(identity: Array, drawn: Float[np.ndarray, "v n ..."]) -> np.ndarray:
    """The identity in the place of every draw."""
    return np.broadcast_to(np.asarray(identity, drawn.dtype), drawn.shape)


def _magnitude(drawn: Params) -> Float[np.ndarray, "v n"]:
    """Even rungs of [0, 1]; 0 for images whose draw of this part is the identity."""
    leaves = jax.tree.leaves(drawn)
    rungs, count = leaves[0].shape[:2]
    # Along a ladder only real numbers change.
    moves = [(leaf[-1] != leaf[0]).reshape(count, -1).any(axis=1) for leaf in leaves]
    return np.linspace(0, 1, rungs, dtype=np.float32)[:, None] * np.any(moves, axis=0)[None]


def draw_all(transform: Transform, key: Key[Array, ""], count: int) -> Params:
    """Draws of all parts on the host, leaves [count, …], from the program that ladders share."""
    drawn = _drawing()(key, transform.identity, sample=transform.sample, rungs=2, count=count)
    return jax.device_get(jax.tree.map(lambda leaf: leaf[-1], drawn))


@cache
def _drawing() -> Callable[..., Params]:
    # The function that samples is static: the next checkpoint needs no new compilation.
    static = ("sample", "rungs", "count")
    return jax.jit(_draw, static_argnames=static, compiler_options=quick())


def _draw(key, identity, *, sample, rungs, count):  # type: ignore[no-untyped-def]
    """Ladders of all parts at once, of which each part is then taken alone: what is compiled is
    one copy of the sampling. The top rung is a draw like any other.
    """
    transform = Transform(sample, lambda params, x: x, identity)
    return views.ladder(rungs, spacing="even").draw(key, transform, count).params


def moved(draws: views.Draws) -> Bool[np.ndarray, " n"]:
    """Which images their draw moves."""
    return np.asarray(draws.magnitude)[-1] > 0


Stored = dict[str, dict[str, Float[np.ndarray, "v n d"]]]


def embed_views(
    encoders: Mapping[str, Encode | Layers],
    split: Split,
    transform: Transform,
    params: Params,
    chosen: Int[np.ndarray, " n"],
    *,
    batch: int,
    plain: dict[int, Mapping[str, Mapping[str, Array]]],
) -> Stored:
    """All layers of N images in V views, [V, N, D] by encoder and layer.

    Args:
      encoders: those that give (features, embedding) have two layers of these names.
      split, chosen: the images.
      transform, params: draws with leaves [V, N, …] on the host; each view is rendered once.
      batch: images per compiled forward.
      plain: remembers what the encoders say of untransformed batches; give the same dict with the
        same encoders, split and `chosen`, and views that change no pixel are not encoded again.
    """
    frozen = {name: as_partial(encode) for name, encode in encoders.items()}
    stored: Stored = {name: {} for name in encoders}
    count = len(jax.tree.leaves(params)[0])
    for rows, images in read_batches(split, chosen, batch):
        for v in range(count):
            drawn = jax.tree.map(lambda leaf, v=v, r=rows: leaf[v][r], params)
            view = transformed(drawn, images, apply=transform.apply, per_image=True)
            start = int(rows[0])
            unchanged = v == 0 and np.array_equal(view, images)  # on the host: nothing to compile
            if unchanged and start in plain:
                outputs = plain[start]
            else:
                outputs = jax.device_get(
                    {n: layer_outputs(encode, view) for n, encode in frozen.items()}
                )
            if unchanged:
                plain[start] = outputs
            _store(stored, outputs, v, rows, (count, len(chosen)))
    return stored


def _store(
    stored: Stored,
    layers_of: Mapping[str, Mapping[str, Array]],
    v: int,
    rows: np.ndarray,
    shape: tuple[int, int],
) -> None:
    for name, layers in layers_of.items():
        for layer, values in layers.items():
            if layer not in stored[name]:
                stored[name][layer] = np.empty((*shape, values.shape[1]), np.float32)
            stored[name][layer][v, rows] = values  # padded rows repeat the last one
