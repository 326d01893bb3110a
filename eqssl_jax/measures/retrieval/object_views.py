"""A method's own predictor, asked for every view of an object from its first: is it the nearest?

From view 0 and the draw that leads from it to view v (the rotation R_vR_0⁻¹ from the left, the
differences of both hues, and t_v − t_0 of the translations of 3DIEBench-T), the predictor of
EquiMod, SIE or SEN gives an embedding, which is compared with those of all views of the object.
BatchNorm in its heads uses the statistics of what is asked together. View 0 is a candidate, but is
not asked for, unless a name ends in "_with_own". So of V views a prediction that stays at view 0
and ranks all others at random has MRR (H_V − 1) / (V − 1), H_V = 1 + ½ + … + 1/V, which is below
the H_V / V of a random order. After SIE (Garrido et al. 2023, arXiv:2302.10283), which asks for
view 0, too.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from eqssl_jax.data.views_of_objects import KNOWN
from eqssl_jax.measures.cards import HIGHER, LOWER, Card, Measured, Number, Output
from eqssl_jax.measures.regression.relative import ObjectViews, object_views
from eqssl_jax.measures.retrieval.neighbours import (
    chance_reciprocal_rank,
    hits_at,
    nearest_views,
    prediction_retrieval_error,
    reciprocal_rank,
    view_ranks,
)
from eqssl_jax.measures.subjects import Seen
from eqssl_jax.rotations import conjugate, quaternion_product, vector_from_quaternion
from eqssl_jax.settings import whole
from eqssl_jax.transforms.base import Params

HITS = (1, 5)
TURNING = {"turn", "floor", "light"}  # what every recipe of rendered objects draws


class Asked(NamedTuple):
    """For every view of some objects, from the first of its object.

    Attributes:
      views: of these objects, [n] of them.
      rows: of `views` by object, [O, V], as many of each object as all have.
      first: the row that each is asked from, [O V].
      draw: what leads there, leaves [O V, …]: as training draws it, the rotation from the left.
      poses: unit quaternions of all that are asked for, [O V, 4].
      from_upright: the draw that leads to each from its object upright under hues 0, as `draw`.
    """

    views: ObjectViews
    rows: Int[np.ndarray, "o v"]
    first: Int[np.ndarray, " q"]
    draw: Params
    poses: Float[np.ndarray, "q 4"]
    from_upright: Params


def asked_views(seen: Seen, objects: int) -> Asked:
    """Views of the first so many objects of the test split, and what leads to each from the first.

    Raises:
      ValueError: for another recipe, and data that do not know what it draws.
    """
    parts = set(seen.conditions.transform.identity)
    if not TURNING <= parts <= set(KNOWN):
        raise ValueError("the recipe does not turn objects")
    views = object_views(seen, "test", objects)
    factors = {
        name: np.asarray(values)[views.indices]
        for name, values in seen.splits["test"].factors.items()
    }
    if lacking := sorted({KNOWN[part][2] for part in parts} - set(factors)):
        raise ValueError(f"the data set does not know {', '.join(lacking)} of its test images")
    names, counts = np.unique(factors["object"], return_counts=True)
    count = int(counts.min())
    # As many views of each as all have: nothing is assumed of how many.
    rows = np.stack([np.flatnonzero(factors["object"] == name)[:count] for name in names])
    first, flat = np.repeat(rows[:, 0], count), rows.reshape(-1)
    poses = np.asarray(factors["rotation"], np.float32)
    return Asked(
        views, rows, first, _between(factors, parts, first, flat), poses[flat],
        _between(factors, parts, None, flat),
    )  # fmt: skip


def _between(
    factors: Mapping[str, np.ndarray],
    parts: set[str],
    first: Int[np.ndarray, " q"] | None,
    then: Int[np.ndarray, " q"],
) -> Params:
    """The draws that lead from views `first`, or from objects upright under hues 0, to `then`."""
    q = jnp.asarray(factors["rotation"], jnp.float32)
    change = q[then] if first is None else quaternion_product(q[then], conjugate(q[first]))
    draw = {"turn": {"rotation": np.asarray(vector_from_quaternion(change))}}
    for part in parts - {"turn"}:
        parameter, _, factor = KNOWN[part]
        difference = factors[factor][then] - (0 if first is None else factors[factor][first])
        if parameter == "hue":
            difference = (difference + 0.5) % 1 - 0.5
        draw[part] = {parameter: difference.astype(np.float32)}
    return draw


def found_views(
    asked: Asked, predicted: np.ndarray, after: np.ndarray, start: str
) -> tuple[dict[str, Number | float], Mapping[str, float]]:
    """MRR, H@k and PRE of predicted embeddings [O V, D] among the true ones, and their chances.

    Names begin with `start`; those that end in "_with_own" count the view that was asked from, too.
    """
    shape, count = (*asked.rows.shape, after.shape[-1]), asked.rows.shape[1]
    ranks = view_ranks(predicted.reshape(shape), after.reshape(shape))
    numbers: dict[str, Number | float] = {}
    ranks_by_end = {"": ranks[:, 1:].reshape(-1), "_with_own": ranks.reshape(-1)}
    for end, chosen in ranks_by_end.items():
        numbers[f"{start}_mrr{end}"] = Number(reciprocal_rank(chosen), n=chosen.size)
        for k in HITS:
            numbers[f"{start}_h{k}{end}"] = hits_at(chosen, k)
    nearest, poses = nearest_views(predicted, after), asked.poses
    numbers[f"{start}_pre"] = prediction_retrieval_error(poses[nearest], poses)
    chance = {f"{start}_mrr": chance_reciprocal_rank(count)}
    chance |= {f"{start}_h{k}": min(k / count, 1.0) for k in HITS}
    chance[f"{start}_pre"] = prediction_retrieval_error(np.roll(poses, count, axis=0), poses)
    return numbers, chance | {f"{name}_with_own": value for name, value in chance.items()}


def outputs(start: str, views: str) -> tuple[Output, ...]:
    """The outputs of `found_views`."""
    return (
        *(
            Output(f"{start}_{name}{end}", f"{title} of {views}{words}", HIGHER, ".3f")
            for end, words in (("", ""), ("_with_own", ", the view it came from asked for, too"))
            for name, title in (("mrr", "MRR"), ("h1", "H@1"), ("h5", "H@5"))
        ),
        Output(f"{start}_pre", f"PRE of {views}", LOWER, ".3f"),
    )


def _measure(seen: Seen) -> Measured:
    if TURNING - set(seen.conditions.transform.identity):
        raise ValueError("the recipe does not turn objects")
    if not seen.subject.heads:
        raise ValueError("the method predicts no embeddings")
    asked = asked_views(seen, seen.settings.predicted_objects)
    head, features = next(iter(seen.subject.heads.values())), asked.views.features
    after, predicted, _ = head(features[asked.first], features[asked.rows.reshape(-1)], asked.draw)
    numbers, chance = found_views(asked, predicted, after, "predicted")
    return Measured(numbers, chance=chance)


CARD = Card(
    name="object_views",
    measure=_measure,
    outputs=outputs("predicted", "predicted views"),
    title="Views that a method's own predictor finds",
    needs=("test",),
    absent=("predicted_mrr",),
    settings={"predicted_objects": whole(1024, "test objects whose views are predicted", low=2)},
    quick={"predicted_objects": 128},
    source="Garrido et al. 2023 (SIE), arXiv:2302.10283",
)
