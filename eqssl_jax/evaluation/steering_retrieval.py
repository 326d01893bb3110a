"""Whether a steered embedding finds the augmented image it stands for."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

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
    scores = query @ after.mT  # [T, n, n]
    own = np.einsum("tnd,tnd->tn", query, after)
    return _summary(_ranks(scores, own), after.shape[1])


def among_views(query: Float[np.ndarray, "t n d"], after: Float[np.ndarray, "t n d"]) -> Retrieval:
    """Rank the T views of the same image by their inner product with the query of each draw.

    Harder: what has to be found is the draw, and a query that is the same for all draws (f(x), or
    one rotation of it) has the MRR of chance exactly, since it ranks each of its T targets once.

    Source: the bank of SIE (Garrido et al. 2023, arXiv:2302.10283), the views of one object.
    """
    scores = np.einsum("tnd,snd->tns", query, after, optimize=True)
    own = np.einsum("tnd,tnd->tn", query, after)
    return _summary(_ranks(scores, own), len(after))


def _ranks(scores: Float[np.ndarray, "t n m"], own: Float[np.ndarray, "t n"]) -> np.ndarray:
    """From 1; the middle of the places that equal scores share."""
    gap = scores - own[..., None]
    above, equal = np.sum(gap > _TIE, axis=-1), np.sum(np.abs(gap) <= _TIE, axis=-1)
    return 1 + above + (equal - 1) / 2


def _summary(ranks: Float[np.ndarray, "t n"], size: int) -> Retrieval:
    places = np.arange(1, size + 1)
    measures = {"mrr": np.mean(1 / ranks, axis=1)}
    chance = {"mrr": float(np.mean(1 / places))}
    for k in HITS:
        measures[f"hit{k}"] = np.mean(ranks <= k, axis=1)
        chance[f"hit{k}"] = min(1.0, k / size)
    return Retrieval(measures, chance)
