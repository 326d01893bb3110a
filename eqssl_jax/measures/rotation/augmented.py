"""Embeddings of the same images under the same random augmentations, for all that read them."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from eqssl_jax.measures.budget import optional
from eqssl_jax.measures.cards import Measured, over_draws
from eqssl_jax.measures.features import extract_views, sampled, subset
from eqssl_jax.measures.subjects import Conditions, Seen, unit
from eqssl_jax.settings import Setting, whole
from eqssl_jax.transforms.base import Params

SETTINGS: Mapping[str, Setting] = {
    "augmentations": whole(20, "random draws whose effect is measured", low=1, high=10_000),
    "pairs": whole(10, "compositions of two of them; 0 leaves them out", high=9_999),
    "rotation_images": optional(whole(5000, "under these draws", low=1)),
    "pair_images": whole(1000, "of them whose pairs are compared (γ, Gram error)", low=1),
}
QUICK: Mapping[str, int] = dict(augmentations=6, pairs=2, rotation_images=384, pair_images=256)


class Augmented(NamedTuple):
    """Unit embeddings of one encoder, float64.

    Attributes:
      plain: of n images, [n, d].
      single: under each of A augmentations, [A, n, d].
      double: under P compositions: p is augmentation p, then p + 1, [P, n, d].
      some: rows of a fixed random subset, whose pairs are compared.
    """

    plain: Float[np.ndarray, "n d"]
    single: Float[np.ndarray, "a n d"]
    double: Float[np.ndarray, "p n d"]
    some: np.ndarray


class RotationStudy(NamedTuple):
    """What figures need of the rotation measures of one encoder.

    Attributes:
      measures: by name, one number per augmentation [A] or pair of them [P].
      cosines: cos(f(x), f(a(x))), [A, n].
      skipped: name of each absent measure and the reason.
      positive_cosines: cos(f(a(x)), f(a'(x))) of two independent augmentations, the positive pairs
        of contrastive learning, [A // 2, n]; each augmentation stands in one pair.
      circle: for embeddings of 2 dimensions these themselves, before and after each augmentation,
        [1 + A, n, 2]; None for others.
    """

    measures: Mapping[str, Float[np.ndarray, " a"]]
    cosines: Float[np.ndarray, "a n"]
    skipped: Mapping[str, str]
    positive_cosines: Float[np.ndarray, "p n"]
    circle: Float[np.ndarray, "v n 2"] | None


def draws(conditions: Conditions) -> list[Params]:
    """The augmentations, the same for every encoder."""
    count = conditions.settings.augmentations
    keys = jax.random.split(conditions.key, count)
    drawn = sampled(keys, sample=conditions.transform.sample)
    return [jax.tree.map(operator.itemgetter(a), drawn) for a in range(count)]


def images(conditions: Conditions) -> np.ndarray:
    """Which images of the held-out split are augmented."""
    size = conditions.splits[conditions.held_out].size
    return subset(size, conditions.settings.rotation_images)


def augmented(conditions: Conditions) -> dict[str, Augmented]:
    """Every view is rendered once, for all encoders."""
    drawn = conditions.once(draws)
    count, pairs = len(drawn), min(conditions.settings.pairs, len(drawn) - 1)
    composed = [(drawn[p], drawn[p + 1]) for p in range(pairs)]
    embedded = extract_views(
        conditions.encoders,
        conditions.splits[conditions.held_out],
        conditions.transform,
        [(), *((draw,) for draw in drawn), *composed],
        batch=conditions.settings.batch,
        indices=conditions.once(images),
    )
    by_encoder = {}
    for name, rows in embedded.items():
        z = unit(rows.astype(np.float64))
        some = subset(z.shape[1], conditions.settings.pair_images)
        by_encoder[name] = Augmented(z[0], z[1 : count + 1], z[count + 1 :], some)
    return by_encoder


def where_enough(
    seen: Seen, *parts: tuple[tuple[str, ...], int, Callable[[], Mapping[str, Sequence[float]]]]
) -> Measured:
    """Numbers of several parts, each (names, images that it needs, what computes it).

    A part that has fewer images is left out with the reason, and the others are kept.
    """
    n, d = seen.shared(augmented).plain.shape
    values: dict[str, Sequence[float]] = {}
    missing: dict[str, str] = {}
    for names, needed, compute in parts:
        if n < needed:
            few = f"more than {needed - 1} images, for embeddings of dimension {d}"
            why = f"needs {'two images' if needed == 2 else few}; found {n}"
            missing |= dict.fromkeys(names, why)
        else:
            values |= compute()
    measured = over_augmentations(values)
    return measured._replace(missing={**measured.missing, **missing})


def over_augmentations(values: Mapping[str, Sequence[float]]) -> Measured:
    """Means over augmentations (or pairs of them) as numbers, each of them for figures."""
    arrays = {name: np.asarray(series, float) for name, series in values.items()}
    numbers, missing = {}, {}
    for name, series in arrays.items():
        try:
            numbers[name] = over_draws(series)
        except ValueError as error:
            missing[name] = str(error)
    return Measured(numbers, missing, arrays=arrays)
