"""Whether a steered embedding finds the augmented image it stands for."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from eqssl_jax.measures.retrieval.ranking import (
    chance_reciprocal_rank,
    hits_at,
    reciprocal_rank,
    target_ranks,
)

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
    own = np.arange(after.shape[1])
    scores = query @ after.mT  # [T, n, n]
    return _summary([target_ranks(one, own, tie=_TIE) for one in scores], len(own))


def among_views(query: Float[np.ndarray, "t n d"], after: Float[np.ndarray, "t n d"]) -> Retrieval:
    """Rank the T views of the same image by their inner product with the query of each draw.

    Harder: what has to be found is the draw, and a query that is the same for all draws (f(x), or
    one rotation of it) has the MRR of chance exactly, since it ranks each of its T targets once.

    Source: the bank of SIE (Garrido et al. 2023, arXiv:2302.10283), the views of one object.
    """
    own = np.arange(len(after))
    scores = np.einsum("tnd,snd->nts", query, after, optimize=True)
    by_image = [target_ranks(one, own, tie=_TIE) for one in scores]  # n times [T]
    return _summary(list(np.stack(by_image, axis=1)), len(own))


def _summary(ranks: Sequence[Float[np.ndarray, " n"]], size: int) -> Retrieval:
    """Means over the images of each draw."""
    measures = {"mrr": np.array([reciprocal_rank(one) for one in ranks])}
    chance = {"mrr": chance_reciprocal_rank(size)}
    for k in HITS:
        measures[f"hit{k}"] = np.array([hits_at(one, k) for one in ranks])
        chance[f"hit{k}"] = min(1.0, k / size)
    return Retrieval(measures, chance)
