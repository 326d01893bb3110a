"""The rotation measures of several encoders over the same images and random augmentations."""

import operator
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from eqssl_jax.data.base import Split
from eqssl_jax.measures.checks import TooFew
from eqssl_jax.measures.features import Encode, Layers, extract_views, subset
from eqssl_jax.measures.rotation import composition
from eqssl_jax.measures.rotation import wahba as rotation
from eqssl_jax.transforms.base import Transform


class RotationStudy(NamedTuple):
    """Measures by name, one number per augmentation (or pair of them), and what figures need.

    Attributes:
      measures: "wahba", "wahba_per_root_n", "wahba_held_out_per_root_n", "rotation_residual",
        "gamma", "gamma_dropped", "gram_error", "invariance_error", "cosine_variance" (of cos(f(x),
        f(a(x))) over images): float64 [A]; "positive_cosine" (mean over images): [A // 2];
        "composition_held_out", "composition_residual", "composition_error",
        "composition_relative", "composition_on_data": [P]; "effective_rank": [1]. Those that need
        more images (two, or more than there are dimensions) are absent when there are fewer.
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
_ALL_PAIRS = ("gamma", "gamma_dropped", "gram_error")
_COMPOSITION = ("composition_error", "composition_relative", "composition_on_data")
_HELD_OUT = ("wahba_held_out_per_root_n",)
_COMPOSITION_HELD_OUT = ("composition_held_out", "composition_residual")


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
    n, d = still.shape
    skipped: dict[str, str] = {}
    measures: dict[str, list[float]] = {}

    def measure(names: tuple[str, ...], needed: int, take: Callable[[], dict]) -> None:
        why = "two images" if needed == 2 else f"more than {needed - 1} images, for embeddings "
        why += "" if needed == 2 else f"of dimension {d}"
        try:
            measures.update(take() if n >= needed else {})
        except TooFew as reason:
            skipped.update(dict.fromkeys(names, str(reason)))
        if n < needed:
            skipped.update(dict.fromkeys(names, f"needs {why}; found {n}"))

    some = subset(n, pair_images)
    measure(_ALL_PAIRS, 2, lambda: _all_pairs(still[some], single[:, some], floor))
    moved = [rotation.invariance_error(still, after) for after in single]
    measures["invariance_error"] = moved
    measure(("effective_rank",), 2, lambda: {"effective_rank": [rotation.effective_rank(still)]})
    cosines = np.einsum("nd,and->an", still, single)
    paired = np.einsum("pnd,pnd->pn", *(single[i : augmentations // 2 * 2 : 2] for i in (0, 1)))
    measures["cosine_variance"] = list(cosines.var(axis=1))
    if len(paired):
        measures["positive_cosine"] = list(paired.mean(axis=1))
    else:
        skipped["positive_cosine"] = "a pair needs two augmentations"
    names = _WAHBA + (_COMPOSITION if pairs else ())
    measure(names, d + 1, lambda: _fitted(still, single, double, moved))
    measure(_HELD_OUT, 2 * d + 1, lambda: {_HELD_OUT[0]: _other_half(still, single)})
    if pairs:
        measure(_COMPOSITION_HELD_OUT, 2 * d + 1, lambda: _held_out(still, single, double))
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


def _fitted(
    still: np.ndarray, single: np.ndarray, double: np.ndarray, moved: list[float]
) -> dict[str, list[float]]:
    """What rotations tell that are fitted on all images."""
    fits = [rotation.wahba(still, after) for after in single]
    per_root_n = [fit.error / float(np.sqrt(len(still))) for fit in fits]
    found = {
        "wahba": [fit.error for fit in fits],
        "wahba_per_root_n": per_root_n,
        "rotation_residual": [
            w**2 / m if m > 0 else float("nan") for w, m in zip(per_root_n, moved, strict=True)
        ],
    }
    composed = [
        composition.compose(
            still, fits[p].rotation, fits[p + 1].rotation, rotation.wahba(still, after).rotation
        )
        for p, after in enumerate(double)
    ]
    if not composed:
        return found
    return found | {
        "composition_error": [c.error for c in composed],
        "composition_relative": [c.relative for c in composed],
        "composition_on_data": [c.on_data for c in composed],
    }


def _other_half(still: np.ndarray, single: np.ndarray) -> list[float]:
    return [rotation.held_out_wahba(still, after) for after in single]


def _held_out(still: np.ndarray, single: np.ndarray, double: np.ndarray) -> dict[str, list[float]]:
    found = [
        composition.held_out_composition(still, single[p], single[p + 1], after)
        for p, after in enumerate(double)
    ]
    return {
        "composition_held_out": [c.gap for c in found],
        "composition_residual": [c.residual for c in found],
    }


def _unit(z: np.ndarray) -> np.ndarray:
    z = z.astype(np.float64)
    return z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)
