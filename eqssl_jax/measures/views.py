"""Layers of several encoders for images under draws of their own."""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

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

Stored = dict[str, dict[str, Float[np.ndarray, "v n d"]]]


@partial(jax.jit, static_argnames="sample")
def sampled(keys: Key[Array, " n"], *, sample: Callable[[Key[Array, ""]], Params]) -> Params:
    """A draw for each key, leaves [n, …]; compiled once for each `sample`."""
    return jax.vmap(sample)(keys)


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
                found = plain[start]
            else:
                found = jax.device_get(
                    {n: layer_outputs(encode, view) for n, encode in frozen.items()}
                )
            if unchanged:
                plain[start] = found
            _keep(stored, found, v, rows, (count, len(chosen)))
    return stored


def _keep(
    stored: Stored,
    found: Mapping[str, Mapping[str, Array]],
    v: int,
    rows: np.ndarray,
    shape: tuple[int, int],
) -> None:
    for name, layers in found.items():
        for layer, values in layers.items():
            if layer not in stored[name]:
                stored[name][layer] = np.empty((*shape, values.shape[1]), np.float32)
            stored[name][layer][v, rows] = values  # padded rows repeat the last one
