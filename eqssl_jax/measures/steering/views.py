"""The views a steering study needs: one part's draws, and embeddings of three sets of images.

Their ranks say whether a steered embedding finds the augmented image that it stands for.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from eqssl_jax.data.base import Split
from eqssl_jax.measures.features import Encode, Layers, extract_views, sampled, subset
from eqssl_jax.measures.retrieval.neighbours import (
    chance_reciprocal_rank,
    hits_at,
    reciprocal_rank,
    target_ranks,
)
from eqssl_jax.measures.steering.basis import restricted
from eqssl_jax.measures.steering.map import LEAST_DRAWS, Drawn
from eqssl_jax.measures.subjects import unit
from eqssl_jax.transforms.base import Params, Transform

ALL = "all"  # the name of the whole transformation among its parts
PAIRS = 10  # compositions at most


class PartDraws(NamedTuple):
    """Of one part, on the host: leaves [D, …], [V, …] and [T, …]."""

    train: Params
    validation: Params
    test: Params


class Seen(NamedTuple):
    """Unit embeddings of one encoder; those of training images under held-out draws as well."""

    train: Drawn
    validation: Drawn
    test: Drawn
    train_on_test: Float[np.ndarray, "t n d"]  # training images, held-out draws
    train_composed: Float[np.ndarray, "p n d"]
    test_composed: Float[np.ndarray, "p m d"]


def check_parts(transform: Transform, parts: Sequence[str]) -> None:
    """Refuse parts that the transformation does not have.

    Raises:
      ValueError: for such parts, or none.
    """
    unknown = [part for part in parts if part != ALL and part not in transform.identity]
    if unknown or not parts:
        raise ValueError(
            f"steering_parts is {tuple(parts)}: choose from {ALL!r} (all of them together) and the "
            f"parts of the transformation, {sorted(transform.identity)}."
        )


def draw_part(transform: Transform, key: Key[Array, ""], part: str, draws: int) -> PartDraws:
    """Draws of one part, all others at rest: `draws` to fit, a quarter as many (but at least 8)
    to choose by, and as many again to test; the same as it has together with all others ("all").
    """
    few = max(LEAST_DRAWS, draws // 4)
    keys = jax.random.split(key, draws + 2 * few)
    drawn = jax.device_get(sampled(keys, sample=transform.sample))
    if part != ALL:
        identity = jax.tree.map(
            lambda leaf, all_: np.broadcast_to(leaf, all_.shape), transform.identity, drawn
        )
        drawn = {**identity, part: drawn[part]}
    cuts = np.split(np.arange(len(keys)), [draws, draws + few])
    return PartDraws(*(restricted(drawn, rows) for rows in cuts))


def embed_part(
    encoders: Mapping[str, Encode | Layers],
    splits: Mapping[str, Split],
    transform: Transform,
    drawn: PartDraws,
    held_out: str,
    images: int,
    batch: int,
) -> dict[str, Seen]:
    fit, choose, test = (steps(part) for part in drawn)
    pairs = [(*test[p], *test[p + 1]) for p in range(min(PAIRS, len(test) - 1))]
    separate = "validation" in splits and held_out != "validation"
    # Without a validation split, other training images choose.
    train = subset(splits["train"].size, images if separate else 2 * images)
    rows = {
        "train": train if separate else train[::2],
        "validation": subset(splits["validation"].size, images) if separate else train[1::2],
        held_out: subset(splits[held_out].size, images),
    }

    def embed(split: str, name: str, views: list) -> dict[str, np.ndarray]:
        embedded = extract_views(
            encoders, splits[split], transform, [(), *views], batch=batch, indices=rows[name]
        )
        return {encoder: unit(z.astype(np.float64)) for encoder, z in embedded.items()}

    on_train = embed("train", "train", [*fit, *test, *pairs])
    on_validation = embed("validation" if separate else "train", "validation", choose)
    on_test = embed(held_out, held_out, [*test, *pairs])
    first, second = len(fit), len(fit) + len(test)
    return {
        name: Seen(
            Drawn(z[0], z[1:][:first], drawn.train),
            Drawn(on_validation[name][0], on_validation[name][1:], drawn.validation),
            Drawn(on_test[name][0], on_test[name][1:][: len(test)], drawn.test),
            z[1:][first:second],
            z[1:][second:],
            on_test[name][1:][len(test) :],
        )
        for name, z in on_train.items()
    }


def steps(params: Params) -> list[tuple[Params]]:
    """Each draw as the steps of `extract_views`."""
    count = len(jax.tree.leaves(params)[0])
    return [(jax.tree.map(lambda leaf, i=i: leaf[i], params),) for i in range(count)]


HITS = (1, 5)
_TIE = 1e-9  # inner products of unit vectors that are closer are equal


class Retrieval(NamedTuple):
    """ "mrr", "hit1" and "hit5" of each draw [T], and what each is for a random order."""

    measures: Mapping[str, Float[np.ndarray, " t"]]
    chance: Mapping[str, float]


def among_images(query: Float[np.ndarray, "t n d"], after: Float[np.ndarray, "t n d"]) -> Retrieval:
    """Rank all n images under the same draw by their inner product with the query of each image.

    The mean reciprocal rank, and the share of queries whose own image is among the first 1 or 5.
    The query f(a(x)) itself would always rank first: it is in the bank. Ties count half.

    Source: the measures of SIE (Garrido et al. 2023, arXiv:2302.10283); this bank is ours.

    >>> import numpy as np
    >>> turned = np.array([[[0.0, 1.0], [-1.0, 0.0]]])
    >>> found = among_images(turned, turned)
    >>> found.measures["mrr"].tolist(), found.chance["mrr"]
    ([1.0], 0.75)
    """
    targets = np.arange(after.shape[1])
    scores = query @ after.mT  # [T, n, n]
    return _summary([target_ranks(matrix, targets, tie=_TIE) for matrix in scores], len(targets))


def among_views(query: Float[np.ndarray, "t n d"], after: Float[np.ndarray, "t n d"]) -> Retrieval:
    """Rank the T views of the same image by their inner product with the query of each draw.

    Harder: what has to be found is the draw, and a query that is the same for all draws (f(x), or
    one rotation of it) has the MRR of chance exactly, since it ranks each of its T targets once.

    Source: the bank of SIE (Garrido et al. 2023, arXiv:2302.10283), the views of one object.
    """
    targets = np.arange(len(after))
    scores = np.einsum("tnd,snd->nts", query, after, optimize=True)
    by_image = [target_ranks(matrix, targets, tie=_TIE) for matrix in scores]  # n times [T]
    return _summary(list(np.stack(by_image, axis=1)), len(targets))


def _summary(ranks: Sequence[Float[np.ndarray, " n"]], size: int) -> Retrieval:
    """Means over the images of each draw."""
    measures = {"mrr": np.array([reciprocal_rank(ranks_of) for ranks_of in ranks])}
    chance = {"mrr": chance_reciprocal_rank(size)}
    for k in HITS:
        measures[f"hit{k}"] = np.array([hits_at(ranks_of, k) for ranks_of in ranks])
        chance[f"hit{k}"] = min(1.0, k / size)
    return Retrieval(measures, chance)
