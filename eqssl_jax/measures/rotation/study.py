"""The rotation measures of several encoders over the same images and random augmentations."""

import operator
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from eqssl_jax.data.base import Split
from eqssl_jax.measures.features import Encode, Layers, extract_views, subset
from eqssl_jax.measures.rotation import wahba as rotation
from eqssl_jax.transforms.base import Transform


class RotationStudy(NamedTuple):
    """Measures by name, one number per augmentation (or pair of them), and what figures need.

    Attributes:
      measures: "wahba", "wahba_per_root_n", "wahba_held_out_per_root_n", "rotation_residual",
        "gamma", "gamma_dropped", "gram_error", "invariance_error", "cosine_variance" (of cos(f(x),
        f(a(x))) over images): float64 [A]; "positive_cosine" (mean over images): [A // 2];
        "composition_error", "composition_relative", "composition_on_data": [P]; "effective_rank":
        [1]. Those that need more images than there are dimensions are absent when there are fewer.
      cosines: cos(f(x), f(a(x))), [A, n].
      skipped: name of each absent measure and the reason.
      positive_cosines: cos(f(a(x)), f(a'(x))) of two independent augmentations, the positive pairs
        of contrastive learning, [A // 2, n]; each augmentation stands in one pair.
      circle: for embeddings of 2 dimensions these themselves, normalised, before and after each
        augmentation, [1 + A, n, 2]; None for others.
    """

    measures: Mapping[str, Float[np.ndarray, " a"]]
    cosines: Float[np.ndarray, "a n"]
    skipped: Mapping[str, str]
    positive_cosines: Float[np.ndarray, "p n"]
    circle: Float[np.ndarray, "v n 2"] | None


_WAHBA = ("wahba", "wahba_per_root_n", "rotation_residual")
_COMPOSITION = ("composition_error", "composition_relative", "composition_on_data")


def wahba_study(
    encode: Encode,
    split: Split,
    transform: Transform,
    key: Key[Array, ""],
    *,
    augmentations: int = 20,
    images: int | None = None,
    batch: int = 512,
) -> RotationStudy:
    """`rotation_study` of one encoder, without composition.

    Source: Gupta et al. 2024 (arXiv:2306.13924), who use ResNet-18, the CIFAR-10 test set and 20
    random augmentations.

    Raises:
      ValueError: as `rotation_study`.
    """
    return rotation_study(
        {"encoder": encode},
        split,
        transform,
        key,
        augmentations=augmentations,
        pairs=0,
        images=images,
        batch=batch,
    )["encoder"]


def rotation_study(
    encoders: Mapping[str, Encode | Layers],
    split: Split,
    transform: Transform,
    key: Key[Array, ""],
    *,
    augmentations: int = 20,
    pairs: int = 10,
    images: int | None = 5000,
    pair_images: int = 1000,
    floor: float = 1e-8,
    batch: int = 512,
) -> dict[str, RotationStudy]:
    """Draw augmentations once, embed the same images under each, and measure every encoder.

    Embeddings are L2-normalised. Pair p composes draws p and p + 1.

    Args:
      encoders: by name; all see the same views.
      split: where the images come from, usually "test".
      transform: the augmentation to study.
      augmentations: A, number of draws.
      pairs: P < A, number of compositions; 0 leaves them out.
      images: a fixed random subset of so many (None: all).
      pair_images: a fixed random subset of these enters γ and the Gram error (all pairs of it).
      floor: for γ, see `relative_rotational_equivariance`.

    Raises:
      ValueError: for augmentations < 1 or pairs not below augmentations.
    """
    if augmentations < 1 or not 0 <= pairs < augmentations:
        raise ValueError(
            f"A rotation study needs augmentations ≥ 1 and 0 ≤ pairs < augmentations, found "
            f"augmentations={augmentations} and pairs={pairs}."
        )
    sampled = jax.jit(jax.vmap(transform.sample))(jax.random.split(key, augmentations))
    draws = [jax.tree.map(operator.itemgetter(a), sampled) for a in range(augmentations)]
    views = [(), *((a,) for a in draws), *((draws[p], draws[p + 1]) for p in range(pairs))]
    chosen = subset(split.size, images)
    embedded = extract_views(encoders, split, transform, views, batch=batch, indices=chosen)
    return {
        name: _measure(_unit(z), augmentations, pairs, pair_images, floor)
        for name, z in embedded.items()
    }


def _measure(
    z: Float[np.ndarray, "v n d"], augmentations: int, pairs: int, pair_images: int, floor: float
) -> RotationStudy:
    still, single, double = z[0], z[1 : augmentations + 1], z[augmentations + 1 :]
    some = subset(len(still), pair_images)
    measures = _all_pairs(still[some], single[:, some], floor)
    measures["invariance_error"] = [rotation.invariance_error(still, after) for after in single]
    measures["effective_rank"] = [rotation.effective_rank(still)]
    cosines = np.einsum("nd,and->an", still, single)
    paired = np.einsum("pnd,pnd->pn", *(single[i : augmentations // 2 * 2 : 2] for i in (0, 1)))
    measures["cosine_variance"] = list(cosines.var(axis=1))
    skipped: dict[str, str] = {}
    if len(paired):
        measures["positive_cosine"] = list(paired.mean(axis=1))
    else:
        skipped["positive_cosine"] = "a pair needs two augmentations"
    n, d = still.shape
    few = f"needs more than {d} images, the dimension of the embeddings; found {n}"
    if n > d:
        fits = [rotation.wahba(still, after) for after in single]
        measures |= _fitted(fits, measures["invariance_error"], n)
        if pairs:
            measures |= _composed(still, fits, double)
    else:
        skipped |= dict.fromkeys((*_WAHBA, *(_COMPOSITION if pairs else ())), few)
    if (n + 1) // 2 > d:
        held_out = [rotation.held_out_wahba(still, after) for after in single]
        measures["wahba_held_out_per_root_n"] = held_out
    else:
        skipped["wahba_held_out_per_root_n"] = few.replace(f"than {d}", f"than {2 * d}")
    arrays = {name: np.asarray(found, float) for name, found in measures.items()}
    return RotationStudy(
        arrays, cosines, skipped, paired, z[: augmentations + 1] if d == 2 else None
    )


def _all_pairs(still: np.ndarray, single: np.ndarray, floor: float) -> dict[str, list[float]]:
    gammas = [
        rotation.relative_rotational_equivariance(still, after, floor=floor) for after in single
    ]
    return {
        "gamma": [g.gamma for g in gammas],
        "gamma_dropped": [float(g.dropped) for g in gammas],
        "gram_error": [rotation.gram_error(still, after).mean_square for after in single],
    }


def _fitted(fits: list[rotation.Wahba], moved: list[float], n: int) -> dict[str, list[float]]:
    per_root_n = [fit.error / float(np.sqrt(n)) for fit in fits]
    return {
        "wahba": [fit.error for fit in fits],
        "wahba_per_root_n": per_root_n,
        "rotation_residual": [
            w**2 / m if m > 0 else float("nan") for w, m in zip(per_root_n, moved, strict=True)
        ],
    }


def _composed(
    still: np.ndarray, fits: list[rotation.Wahba], double: np.ndarray
) -> dict[str, list[float]]:
    found = [
        rotation.compose(
            still, fits[p].rotation, fits[p + 1].rotation, rotation.wahba(still, after).rotation
        )
        for p, after in enumerate(double)
    ]
    return {
        "composition_error": [c.error for c in found],
        "composition_relative": [c.relative for c in found],
        "composition_on_data": [c.on_data for c in found],
    }


def _unit(z: np.ndarray) -> np.ndarray:
    z = z.astype(np.float64)
    return z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
