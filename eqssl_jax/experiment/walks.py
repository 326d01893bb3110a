"""One image while one part of the recipe goes from end to end: where its embedding goes."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from eqssl_jax.measures.features import read_batches, transformed
from eqssl_jax.measures.order.ladders import draw_all, embed_views
from eqssl_jax.training.setup import Setup

RUNGS, DRAWS = 9, 64  # of the part; of all others at each rung
SAMPLED = 256  # draws, whose least and largest are the ends
IMAGE = 3  # of the held-out split
# A number that has two ends, as (part, parameter): the first that a recipe has is taken.
WALKED = (("rotate", "angle"), ("hue", "hue"), ("jitter", "hue"))


def walk(
    run: Setup, encoders: Mapping[str, Any], split: str, batch: int
) -> dict[str, Float[np.ndarray, "..."]]:
    """Embeddings of one image along one part, clean and amid draws of all others.

    Returns:
      `walk_value` [V]; `walk_images` [V, h, w, c] in [0, 1], all other parts at the identity;
      `walk/<encoder>` [V, 1 + S, D], of length 1: the clean image, then S draws of the others at
      each rung; and `walk_part`, its name. Empty for a recipe without such a part.
    """
    recipe, identity = run.recipe, jax.device_get(run.recipe.identity)
    has = [(p, leaf) for p, leaf in WALKED if leaf in identity.get(p, {})]
    if run.dataset.clouds or not has:
        return {}
    part, leaf = has[0]
    drawn = draw_all(recipe, jax.random.key(3), SAMPLED + RUNGS * (1 + DRAWS))
    ends = drawn[part][leaf][:SAMPLED].min(), drawn[part][leaf][:SAMPLED].max()
    value = np.linspace(*ends, RUNGS).astype(np.float32)
    params = jax.tree.map(_clean_first, drawn, identity)
    params[part] = jax.tree.map(
        lambda start, leaves: np.broadcast_to(start, leaves.shape).astype(leaves.dtype),
        identity[part],
        params[part],
    )
    params[part] = {**params[part], leaf: np.repeat(value[:, None], 1 + DRAWS, axis=1)}
    held = run.dataset.splits[split]
    rows = np.full(1 + DRAWS, min(IMAGE, held.size - 1))
    embedded = embed_views(encoders, held, recipe, params, rows, batch=batch, plain={})
    _, images = next(iter(read_batches(held, rows, batch)))
    clean = jax.tree.map(lambda leaves: np.resize(leaves[:, 0], (batch, *leaves.shape[2:])), params)
    shown = transformed(clean, images, apply=recipe.apply, per_image=True)[:RUNGS]
    stored = {"walk_value": value, "walk_images": np.clip(np.asarray(shown), 0, 1)}
    for name, layers in embedded.items():
        z = layers["embedding"]
        stored[f"walk/{name}"] = z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
    return {**stored, "walk_part": np.array(part)}


def _clean_first(leaves: np.ndarray, start: Any) -> np.ndarray:
    """[V, 1 + S, …] of draws after the first `SAMPLED`, the first of each rung at the identity."""
    rungs = leaves[SAMPLED:].reshape(RUNGS, 1 + DRAWS, *leaves.shape[1:]).copy()
    rungs[:, 0] = start
    return rungs
