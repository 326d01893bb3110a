"""The hue of a query is shifted: what is the hue of the images that it then retrieves?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.data.base import Split
from eqssl_jax.measures.cards import Card, Measured, Number, Output, TooFew
from eqssl_jax.measures.features import extract, subset
from eqssl_jax.measures.retrieval.neighbours import neighbour_change
from eqssl_jax.measures.subjects import Conditions, Seen, unit
from eqssl_jax.settings import number, whole
from eqssl_jax.transforms.base import Params, Transform

_DRAWS = 512  # by which the range of a recipe is found
_COLOURFUL = 0.05  # least length of the mean hue vector of an image that has a hue


class Followed(NamedTuple):
    """Whether retrieved images have the hue that the query was given.

    Attributes:
      share: of the retrieved images, how many lie nearer to the shifted hue than to the one
        before the shift, in [0, 1].
      chance: the same share of the whole bank: what retrieval that does not look at hue gives. ½
        where hues are uniform.
      queries: how many queries have a hue and enter both.
    """

    share: float
    chance: float
    queries: int


def hue_distance(query: Float[np.ndarray, " q"], retrieved: Float[np.ndarray, "q k"]) -> float:
    """Mean circular distance between the hues of queries and of what they retrieved, in turns.

    In [0, ½]. Unrelated, uniform hues are ¼ apart on average. Images without a hue (NaN) are left
    out.

    >>> hue_distance(np.array([0.95]), np.array([[0.05, 0.85]])).__round__(6)
    0.1
    """
    return float(np.nanmean(_gap(np.asarray(query)[:, None], np.asarray(retrieved))))


def hue_followed(
    query: Float[np.ndarray, " q"],
    shift: float,
    retrieved: Float[np.ndarray, "q k"],
    bank: Float[np.ndarray, " n"],
) -> Followed:
    """How often retrieval follows the colour of a query whose hue was shifted.

    With |·| the circular distance, h the hue of a query before the shift s and r that of an image
    it retrieved after it, the share of all (query, retrieved image) with |r − (h + s)| < |r − h|; a
    tie counts one half. An encoder that ignores hue has `chance`; one that retrieves by hue alone
    has 1, up to the density of the bank; one whose retrieval stays with the hue before has 0.
    Images without a hue (NaN) are left out.

    Args:
      query: hues before the shift, in turns, [Q].
      shift: s, in turns; not a whole number.
      retrieved: hues of the k images that each shifted query retrieved, [Q, k].
      bank: hues of all images that could be retrieved, [N].

    Raises:
      ValueError: for a shift of whole turns, which changes nothing.

    >>> followed = hue_followed(np.zeros(1), 0.25, np.array([[0.2, 0.3]]), np.arange(8) / 8)
    >>> followed.share, followed.chance
    (1.0, 0.5)
    """
    if shift % 1.0 == 0:
        raise ValueError(f"A shift of {shift} turns changes no hue: nothing could be followed.")
    before, hues = np.asarray(query, np.float64), np.asarray(bank, np.float64)
    near = _nearer(before[:, None], shift, np.asarray(retrieved, np.float64))
    hues = hues[np.isfinite(hues)]
    usable = np.isfinite(before)
    chances = [float(np.mean(_nearer(h, shift, hues))) for h in before[usable] if len(hues)]
    share = float(np.nanmean(near)) if np.isfinite(near).any() else float("nan")
    return Followed(share, float(np.mean(chances)) if chances else float("nan"), int(usable.sum()))


def trained_shift(transform: Transform, *, most: float = 1 / 3) -> float:
    """The largest shift of hue, in turns, that the transformation itself draws, up to `most`.

    Of 512 fixed draws; 0 where it never shifts hue. A query shifted further is an image that
    training never showed, whatever the encoder was trained to do with colour.
    """
    draws = jax.jit(jax.vmap(transform.sample))(jax.random.split(jax.random.key(0), _DRAWS))
    hues = [
        np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(draws)
        if getattr(path[-1], "key", "") == "hue"
    ]
    return min(most, float(np.abs(hues[0]).max())) if hues else 0.0


def hue_draw(transform: Transform, shift: float) -> Params | None:
    """The draw that shifts the hue by `shift` turns and does nothing else; None if it cannot.

    The hue is looked for by name in the transformation's parameters.
    """
    shifted = []

    def replace(params: Mapping[str, Any]) -> Params:
        out: dict[str, Any] = {}
        for name, value in params.items():
            if isinstance(value, Mapping):
                out[name] = replace(value)
            elif name == "hue":
                shifted.append(name)
                # The first one only: two of them would shift twice.
                out[name] = jnp.full_like(value, shift) if len(shifted) == 1 else value
            else:
                out[name] = value
        return out

    draw = replace(transform.identity)
    return draw if shifted else None


def mean_hues(images: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """Hue of each RGB image in turns [0, 1), the direction of its pixels' chroma; NaN if none.

    The argument of Σ c e^{2πi h} over pixels, c = max − min of a pixel's channels and h its hue. A
    shift of hue in HSV keeps every c and adds the same to every h, so the mean hue moves by exactly
    that shift. An image whose vectors cancel, or that is grey (mean length below 0.05 of the full
    range), has no hue.

    >>> import jax.numpy as jnp
    >>> hues = mean_hues(jnp.array([[[[0.0, 1.0, 0.0]]], [[[0.5, 0.5, 0.5]]]]))
    >>> round(float(hues[0]), 4), bool(jnp.isnan(hues[1]))
    (0.3333, True)
    """
    top, low = images.max(axis=-1), images.min(axis=-1)
    chroma = top - low
    safe = jnp.where(chroma > 0, chroma, 1.0)
    red, green, blue = (images[..., channel] for channel in range(3))
    sixth = jnp.where(
        top == red,
        (green - blue) / safe,
        jnp.where(top == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    angle = sixth * (jnp.pi / 3)
    x, y = ((chroma * turn(angle)).mean(axis=(1, 2)) for turn in (jnp.cos, jnp.sin))
    hue = jnp.arctan2(y, x) / (2 * jnp.pi) % 1.0
    return jnp.where(jnp.hypot(x, y) < _COLOURFUL, jnp.nan, hue)


def hues_of(
    split: Split, indices: Int[np.ndarray, " n"], *, batch: int = 256
) -> Float[np.ndarray, " n"]:
    """Hues of some examples in turns: the factor "hue" where it is known, else `mean_hues`.

    NaN for images without a hue, and for all images that are not RGB.
    """
    if "hue" in split.factors:
        return np.asarray(split.factors["hue"], np.float64)[indices]
    columns = extract(_as_features, split, batch=batch, indices=indices).features
    return columns[:, 0].astype(np.float64)


def _as_features(images: Array) -> tuple[Array, Array]:
    colour = images.ndim == 4 and images.shape[-1] == 3
    hue = mean_hues(images) if colour else jnp.full(len(images), jnp.nan)
    return hue[:, None], hue[:, None]


def _gap(hue: np.ndarray | float, hues: np.ndarray) -> np.ndarray:
    gap = np.abs(hue - hues) % 1.0
    return np.minimum(gap, 1 - gap)


def _nearer(before: np.ndarray | float, shift: float, hues: np.ndarray) -> np.ndarray:
    """1 where a hue is nearer to before + shift than to before, ½ for a tie, NaN for no hue."""
    difference = _gap(before, hues) - _gap(before + shift, hues)
    tie = np.abs(difference) < 1e-9
    return np.where(np.isnan(difference), np.nan, np.where(tie, 0.5, difference > 0))


def hues(conditions: Conditions) -> dict[str, Float[np.ndarray, " n"]]:
    """Hues of the images that are searched and of those that ask, by split, NaN for all others."""
    by_split = {}
    for name, limit in (("train", conditions.limit("train")), (conditions.held_out, None)):
        split = conditions.splits[name]
        rows = subset(split.size, limit)
        by_split[name] = np.full(split.size, np.nan)
        by_split[name][rows] = hues_of(split, rows, batch=conditions.settings.batch)
    return by_split


def _settled(conditions: Conditions) -> dict[str, float]:
    """A shift of 0 stands for the largest that the transformation itself draws."""
    budget = conditions.settings
    if not budget.queries or budget.hue_shift:
        return {}
    return {"hue_shift": trained_shift(conditions.transform)}


def _measure(seen: Seen) -> Measured:
    budget, transform = seen.settings, seen.conditions.transform
    if not budget.queries:
        raise TooFew("left out: queries is 0")
    hue = hue_draw(transform, budget.hue_shift) if budget.hue_shift else None
    if hue is None:
        raise TooFew("the transformation never shifts the hue")
    bank, query = seen.rows("train"), seen.rows(seen.held_out)
    if len(bank.indices) < budget.neighbours:
        raise TooFew(f"fewer training images than neighbours={budget.neighbours}")
    rows = subset(len(query.indices), budget.queries)
    queries = query.indices[rows]
    shifted = extract(
        seen.subject.encode, seen.splits[seen.held_out], batch=budget.batch, indices=queries,
        transform=transform, params=hue,
    )  # fmt: skip
    change = neighbour_change(
        unit(query.embeddings[rows]),
        unit(shifted.embeddings),
        unit(bank.embeddings),
        k=budget.neighbours,
    )
    before, after = bank.indices[change.before], bank.indices[change.after]
    kept = {
        "neighbour_overlap": Number(change.overlap, n=len(rows)),
        "neighbour_rank": Number(change.rank, n=len(rows)),
    }
    measured = _of_hues(seen, queries, before, after, bank.indices)
    arrays = {"queries": queries, "before": before, "after": after, "hue": hue}
    return measured._replace(numbers={**kept, **measured.numbers}, arrays=arrays)


def _of_hues(
    seen: Seen, queries: np.ndarray, before: np.ndarray, after: np.ndarray, bank: np.ndarray
) -> Measured:
    """What hues the retrieved images have, in turns; from the shifted hue after the shift."""
    by_split, shift = seen.conditions.once(hues), seen.settings.hue_shift
    start, stored = by_split[seen.held_out][queries], by_split["train"]
    if not (np.isfinite(start)[:, None] & np.isfinite(stored[after])).any():
        why = "no image has a hue: none is known, and pixels show none"
        return Measured(missing=dict.fromkeys(CARD.absent_names()[2:], why))
    followed = hue_followed(start, shift, stored[after], stored[bank])
    n = followed.queries
    return Measured(
        {
            "retrieved_hue_followed": Number(followed.share, n=n),
            "retrieved_hue_distance": Number(hue_distance(start + shift, stored[after]), n=n),
            "retrieved_hue_distance_before": Number(hue_distance(start, stored[before]), n=n),
        },
        chance={"retrieved_hue_followed": followed.chance},
    )


CARD = Card(
    name="neighbours",
    measure=_measure,
    outputs=(
        Output("neighbour_overlap", "Neighbours kept when the hue shifts", None, ".3f"),
        Output("neighbour_rank", "Rank of the first neighbour before", None, ".2f"),
        Output("retrieved_hue_followed", "Neighbours that follow the shift", None, ".1%"),
        Output("retrieved_hue_distance", "Hue distance of neighbours, after", None, ".3f", "turns"),
        Output("retrieved_hue_distance_before", "Hue distance of neighbours, before", None, ".3f",
               "turns"),
    ),
    needs=("train",),
    settings={
        "neighbours": whole(5, "nearest neighbours", low=1),
        "queries": whole(1000, "images whose neighbours are compared; 0 leaves it out"),
        "hue_shift": number(0.0, "of queries, in turns; 0: the recipe's own", low=-0.5, high=0.5),
    },
    quick={"queries": 128},
    check=_settled,
    source="after Figure 9 of Gupta et al. 2024, arXiv:2306.13924",
)  # fmt: skip
