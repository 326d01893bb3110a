"""How many directions embeddings use, and how evenly images lie: RankMe, LiDAR, alignment."""

import jax
import numpy as np
from jaxtyping import Float

from eqssl_jax.measures.cards import LOWER, Card, Number, Output, TooFew, check_finite
from eqssl_jax.measures.features import sampled, subset
from eqssl_jax.measures.order.ladders import embed_views
from eqssl_jax.measures.rotation.distances import Rows
from eqssl_jax.measures.subjects import Conditions, Seen, unit
from eqssl_jax.settings import Setting, whole
from eqssl_jax.transforms.base import Params

Views = Float[np.ndarray, "q n d"]

SETTINGS: dict[str, Setting] = {
    "own_images": whole(1000, "under draws of their own (LiDAR, alignment)", low=2),
    "own_views": whole(10, "of each of these images, every one under its own draw", low=2),
}
QUICK = dict(own_images=256, own_views=4)


def entropy_rank(values: Rows, *, floor: float = 1e-7) -> float:
    """exp(−Σ p log p) with p = values / Σ values + floor: how many of them count; at least 1."""
    shares = np.asarray(values, np.float64)
    shares = shares / shares.sum() + floor
    return float(np.exp(-np.sum(shares * np.log(shares))))


def rankme(z: Rows) -> float:
    """exp of the entropy of p_k = σ_k / Σ σ + 1e-7, the singular values σ of Z; in [1, min(n, d)].

    Rows are embeddings as they come, neither centred nor brought to length 1. Up to the floor 1e-7:
    1 where all embeddings are multiples of one, d where all directions are used alike.

    Raises:
      ValueError: for embeddings that are not [n, d] or not finite; `TooFew` for fewer than 2, or if
        all are 0.

    Source: Garrido, Balestriero, Najman and LeCun 2023, arXiv:2210.02885.
    """
    z64 = np.asarray(z, np.float64)
    if z64.ndim != 2:
        raise ValueError(f"RankMe is of embeddings [n, d], found shape {z64.shape}.")
    check_finite(z=z64)
    if len(z64) < 2 or not z64.any():
        raise TooFew(f"RankMe needs two embeddings or more that are not all 0, found {len(z64)}.")
    small = z64 if len(z64) < z64.shape[1] else z64.T
    return entropy_rank(np.sqrt(np.maximum(np.linalg.eigvalsh(small @ small.T), 0)))


def _measure_rankme(seen: Seen) -> dict[str, Number]:
    z = seen.rows("train").embeddings
    return {"rankme": Number(rankme(z), n=len(z))}


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
    embedded = embed_views(
        conditions.encoders,
        conditions.splits[conditions.held_out],
        conditions.transform,
        drawn,
        chosen,
        batch=min(conditions.settings.batch, len(chosen)),
        plain={},
    )
    return {name: layers["embedding"] for name, layers in embedded.items()}


def _measure_lidar(seen: Seen) -> dict[str, Number]:
    views = seen.shared(own_views)
    return {"lidar": Number(lidar(views), n=views.shape[1])}


def sphere_alignment(views: Views) -> float:
    """The mean of ‖z_i − z_j‖² over the pairs of views of an image and over images, in [0, 4].

    Source: Wang and Isola 2020, arXiv:2005.10242 (α = 2).
    """
    z = unit(np.asarray(views, np.float64))
    q = len(z)
    # Σ_{i<j} ‖z_i − z_j‖² = q Σ_i ‖z_i − mean‖²
    apart = q * np.sum((z - z.mean(axis=0)) ** 2, axis=(0, 2))
    return float(np.mean(apart) / (q * (q - 1) / 2))


def sphere_uniformity(views: Views, *, t: float = 2.0) -> float:
    """log mean exp(−t ‖z_i − z_j‖²) over pairs of different images, mean over views; 0 at worst.

    Raises:
      TooFew: for a single image, which has no pair.

    Source: Wang and Isola 2020, arXiv:2005.10242 (t = 2).
    """
    z = unit(np.asarray(views, np.float64))
    n = z.shape[1]
    if n < 2:
        raise TooFew(f"Uniformity compares different images and needs 2 or more, found {n}.")
    pairs = [np.exp(-2 * t * (1 - (view @ view.T)[np.triu_indices(n, 1)])) for view in z]
    return float(np.mean([np.log(potentials.mean()) for potentials in pairs]))


def _measure_sphere(seen: Seen) -> dict[str, Number]:
    views = seen.shared(own_views)
    n = views.shape[1]
    numbers = {"alignment": sphere_alignment(views), "uniformity": sphere_uniformity(views)}
    return {name: Number(value, n=n) for name, value in numbers.items()}


RANKME = Card(
    name="rankme",
    measure=_measure_rankme,
    outputs=(Output("rankme", "RankMe", None, ".1f"),),
    needs=("train",),
    rank=10,
    source="Garrido et al. 2023, arXiv:2210.02885",
)
LIDAR = Card(
    name="lidar",
    measure=_measure_lidar,
    outputs=(Output("lidar", "LiDAR", None, ".1f"),),
    settings=SETTINGS,
    quick=QUICK,
    rank=20,
    source="Thilak et al. 2024, arXiv:2312.04000",
)
ALIGNMENT = Card(
    name="alignment",
    title="Alignment and uniformity",
    measure=_measure_sphere,
    outputs=(
        Output("alignment", "Alignment of views", LOWER, ".3f"),
        Output("uniformity", "Uniformity", LOWER, ".2f", chance=0.0),
    ),
    settings=SETTINGS,
    quick=QUICK,
    rank=30,
    source="Wang and Isola 2020, arXiv:2005.10242",
)
CARDS = RANKME, LIDAR, ALIGNMENT
