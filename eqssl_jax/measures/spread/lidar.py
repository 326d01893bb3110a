"""LiDAR: how many directions tell images apart beyond what augmentations of one image change."""

import jax
import numpy as np
from jaxtyping import Float

from eqssl_jax.measures.cards import Card, Number, Output
from eqssl_jax.measures.checks import TooFew, check_finite
from eqssl_jax.measures.features import subset
from eqssl_jax.measures.spread.rankme import entropy_rank
from eqssl_jax.measures.subjects import Conditions, Seen
from eqssl_jax.measures.views import embed_views, sampled
from eqssl_jax.settings import Setting, whole
from eqssl_jax.transforms.base import Params

Views = Float[np.ndarray, "q n d"]

SETTINGS: dict[str, Setting] = {
    "own_images": whole(1000, "under draws of their own (LiDAR, alignment)", low=2),
    "own_views": whole(10, "of each of these images, every one under its own draw", low=2),
}
QUICK = dict(own_images=256, own_views=4)


def lidar(views: Views, *, ridge: float = 1e-4) -> float:
    """exp of the entropy of p_k = λ_k / Σ λ + 1e-7, λ the eigenvalues of Σ_w^-½ Σ_b Σ_w^-½.

    The q views of an image are a class: Σ_b is the covariance of the n class means around the mean
    of all, Σ_w the mean over images of the covariance of their views, plus ridge · I. In [1, d], at
    most n − 1.

    Args:
      views: embeddings [q, n, d] of n images in q views, as they come.
      ridge: δ > 0.

    Raises:
      ValueError: for another shape, values that are not finite, or a ridge that is not positive;
        `TooFew` for fewer than 2 images or views, or if all images have one mean.

    Source: Thilak et al. 2024, arXiv:2312.04000.
    """
    z = np.asarray(views, np.float64)
    if z.ndim != 3 or ridge <= 0:
        raise ValueError(f"LiDAR takes views [q, n, d] and ridge > 0, found {z.shape} and {ridge}.")
    q, n, d = z.shape
    if q < 2 or n < 2:
        raise TooFew(f"LiDAR compares views of several images, found {q} views of {n} images.")
    check_finite(views=z.reshape(q * n, d))
    means = z.mean(axis=0)  # [n, d]
    between = means - means.mean(axis=0)
    within = (z - means).reshape(q * n, d)
    if not between.any():
        raise TooFew("LiDAR is not defined where the views of all images have one mean.")
    # Eigenvalues of Σ_w^-½ Σ_b Σ_w^-½ are those of L⁻¹ Σ_b L⁻ᵀ for any L Lᵀ = Σ_w.
    root = np.linalg.cholesky(within.T @ within / (n * (q - 1)) + ridge * np.eye(d))
    white = np.linalg.solve(root, between.T)  # [d, n]
    return entropy_rank(np.maximum(np.linalg.eigvalsh(white @ white.T / (n - 1)), 0))


def own_draws(conditions: Conditions) -> tuple[np.ndarray, Params]:
    """Which images of the held-out split, and the draws of every view of each, leaves [q, n, …]."""
    size = conditions.splits[conditions.held_out].size
    chosen = subset(size, conditions.settings.own_images)
    keys = jax.random.split(jax.random.fold_in(conditions.key, 1), conditions.settings.own_views)
    sample = conditions.transform.sample
    drawn = [sampled(jax.random.split(key, len(chosen)), sample=sample) for key in keys]
    return chosen, jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(drawn))


def own_views(conditions: Conditions) -> dict[str, Views]:
    """Embeddings of images under draws of their own, by encoder; rendered once for all of them."""
    chosen, drawn = conditions.once(own_draws)
    found = embed_views(
        conditions.encoders,
        conditions.splits[conditions.held_out],
        conditions.transform,
        drawn,
        chosen,
        batch=min(conditions.settings.batch, len(chosen)),
        plain={},
    )
    return {name: layers["embedding"] for name, layers in found.items()}


def cost(conditions: Conditions) -> int:
    """Images that the views take."""
    size = conditions.splits[conditions.held_out].size
    return conditions.settings.own_views * min(size, conditions.settings.own_images)


def _measure(seen: Seen) -> dict[str, Number]:
    views = seen.shared(own_views)
    return {"lidar": Number(lidar(views), n=views.shape[1])}


CARD = Card(
    name="lidar",
    measure=_measure,
    outputs=(Output("lidar", "LiDAR", None, ".1f"),),
    settings=SETTINGS,
    quick=QUICK,
    cost=cost,
    rank=20,
    source="Thilak et al. 2024, arXiv:2312.04000",
)
