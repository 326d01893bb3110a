"""Embeddings of a few held-out images in two dimensions, for the page."""

from typing import Any

import numpy as np
from jaxtyping import Float

from eqssl_jax.experiment.pictures import read
from eqssl_jax.measures import subset
from eqssl_jax.measures.features import extract
from eqssl_jax.measures.subjects import unit
from eqssl_jax.training.setup import Setup

IMAGES = 160


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
    rows = subset(held.size, IMAGES)
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
      ImportError: without umap-learn, an extra.
    """
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            "--layout=umap needs umap-learn, which is not installed: pip install 'eqssl_jax[umap]' "
            "(or pip install umap-learn), or leave the flag out for principal components."
        ) from error
    neighbours = min(15, len(z) - 1)  # UMAP's usual number
    layout = UMAP(n_neighbors=neighbours, metric="cosine", init="random", random_state=0, n_jobs=1)
    places = np.asarray(layout.fit_transform(np.asarray(z, np.float32)))
    return places - places.mean(axis=0)
