"""Alignment of two views of an image, and how evenly images lie on the sphere."""

import numpy as np

from eqssl_jax.measures.cards import LOWER, Card, Number, Output
from eqssl_jax.measures.checks import TooFew
from eqssl_jax.measures.spread import lidar
from eqssl_jax.measures.subjects import Seen, unit


def sphere_alignment(views: lidar.Views) -> float:
    """The mean of ‖z_i − z_j‖² over the pairs of views of an image and over images, in [0, 4].

    Source: Wang and Isola 2020, arXiv:2005.10242 (α = 2).
    """
    z = unit(np.asarray(views, np.float64))
    q = len(z)
    # Σ_{i<j} ‖z_i − z_j‖² = q Σ_i ‖z_i − mean‖²
    apart = q * np.sum((z - z.mean(axis=0)) ** 2, axis=(0, 2))
    return float(np.mean(apart) / (q * (q - 1) / 2))


def sphere_uniformity(views: lidar.Views, *, t: float = 2.0) -> float:
    """log mean exp(−t ‖z_i − z_j‖²) over pairs of different images, mean over views; 0 at worst.

    Raises:
      TooFew: for a single image, which has no pair.

    Source: Wang and Isola 2020, arXiv:2005.10242 (t = 2).
    """
    z = unit(np.asarray(views, np.float64))
    n = z.shape[1]
    if n < 2:
        raise TooFew(f"Uniformity compares different images and needs 2 or more, found {n}.")
    pairs = [np.exp(-2 * t * (1 - (one @ one.T)[np.triu_indices(n, 1)])) for one in z]
    return float(np.mean([np.log(each.mean()) for each in pairs]))


def _measure(seen: Seen) -> dict[str, Number]:
    views = seen.shared(lidar.own_views)
    n = views.shape[1]
    found = {"alignment": sphere_alignment(views), "uniformity": sphere_uniformity(views)}
    return {name: Number(value, n=n) for name, value in found.items()}


CARD = Card(
    name="alignment",
    title="Alignment and uniformity",
    measure=_measure,
    outputs=(
        Output("alignment", "Alignment of views", LOWER, ".3f"),
        Output("uniformity", "Uniformity", LOWER, ".2f", chance=0.0),
    ),
    settings=lidar.SETTINGS,
    quick=lidar.QUICK,
    cost=lidar.cost,
    rank=30,
    source="Wang and Isola 2020, arXiv:2005.10242",
)
