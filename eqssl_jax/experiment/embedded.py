"""Embeddings that are looked at: of one image along a part, and of a few images on a plane."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from eqssl_jax.experiment.pictures import read, rendered
from eqssl_jax.measures import subset
from eqssl_jax.measures.features import extract
from eqssl_jax.measures.order.ladders import draw_all, embed_views
from eqssl_jax.measures.subjects import unit
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
    clean = jax.tree.map(lambda leaves: leaves[:, :1], params)
    shown = rendered(held, rows[:1], recipe, clean, batch)[:, 0]
    stored = {"walk_value": value, "walk_images": np.clip(shown, 0, 1)}
    for name, layers in embedded.items():
        z = layers["embedding"]
        stored[f"walk/{name}"] = z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
    return {**stored, "walk_part": np.array(part)}


def _clean_first(leaves: np.ndarray, start: Any) -> np.ndarray:
    """[V, 1 + S, …] of draws after the first `SAMPLED`, the first of each rung at the identity."""
    rungs = leaves[SAMPLED:].reshape(RUNGS, 1 + DRAWS, *leaves.shape[1:]).copy()
    rungs[:, 0] = start
    return rungs


MAPPED = 160  # images on a map


def embedding_map(
    run: Setup, encode: Any, split: str, batch: int
) -> dict[str, Float[np.ndarray, "..."]]:
    """The first two principal components of unit embeddings, what they show, and their images.

    Returns:
      `map` [n, 2]; `map_share`, the part of the variance on each [2]; `map_unit` [n, d], what was
      laid out; `map_images` [n, h, w, c] in [0, 1]; `map_label` [n] where there are labels; and
      `map_factor/<name>` [n] of each factor.
      Empty for inputs that are no images.
    """
    held = run.dataset.splits[split]
    if run.dataset.clouds or run.dataset.show or held.size < 3:
        return {}
    rows = subset(held.size, MAPPED)
    z = unit(extract(encode, held, batch=batch, indices=rows).embeddings.astype(np.float64))
    places, share = principal_plane(z)
    images = np.asarray(read(held, rows))
    stored = {"map": places, "map_share": share, "map_unit": z, "map_images": images}
    if held.labels is not None and run.dataset.classes:
        stored["map_label"] = np.asarray(held.labels)[rows]
    single = {name: values for name, values in held.factors.items() if np.ndim(values) == 1}
    return stored | {
        f"map_factor/{name}": np.asarray(values)[rows] for name, values in single.items()
    }


def principal_plane(
    z: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "2"]]:
    """Rows on their first two principal components, and the share of the variance of each.

    The sign is the one that makes the largest entry of a component positive, so that equal
    embeddings give equal pictures.
    """
    middle = z - z.mean(axis=0)
    _, scale, directions = np.linalg.svd(middle, full_matrices=False)
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    places = middle @ (directions * np.where(largest < 0, -1, 1))[:2].T
    total = float((scale**2).sum()) or 1.0
    return places, scale[:2] ** 2 / total


def umap_plane(z: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
    """Rows in two dimensions that keep who is near whom, by UMAP with a fixed seed, centred.

    Source: McInnes, Healy, Melville 2018, arXiv:1802.03426.

    Raises:
      ValueError: without umap-learn, an extra, and where UMAP gives a row no place, as it does
        far from all others.
    """
    try:
        from umap import UMAP
    except ImportError as error:
        raise ValueError(
            "--layout=umap needs umap-learn, which is not installed: pip install 'eqssl_jax[umap]' "
            "(or pip install umap-learn), or leave the flag out for principal components."
        ) from error
    neighbours = min(15, len(z) - 1)  # UMAP's usual number
    layout = UMAP(n_neighbors=neighbours, metric="cosine", init="random", random_state=0, n_jobs=1)
    places = np.asarray(layout.fit_transform(np.asarray(z, np.float32)))
    lost = int((~np.isfinite(places)).any(axis=1).sum())
    if lost:
        raise ValueError(
            f"UMAP gave no place to {lost} of {len(z)} images, whose embeddings are near no other: "
            f"leave --layout=umap out for principal components."
        )
    return places - places.mean(axis=0)
