"""A method's own predictor, asked for every view of an object from its first: is it the nearest?

From view 0 and the draw that leads from it to view v (the rotation R_vR_0⁻¹ from the left, the
differences of both hues), the predictor of EquiMod, SIE or SEN gives an embedding, which is
compared with those of all views of the object. BatchNorm in its heads uses the statistics of what
is asked together. After SIE (Garrido et al. 2023, arXiv:2302.10283), which asks for view 0, too.
"""

import jax.numpy as jnp
import numpy as np

from eqssl_jax.measures.cards import HIGHER, LOWER, Card, Measured, Number, Output
from eqssl_jax.measures.regression.relative import object_views
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

HITS = (1, 5)


def _measure(seen: Seen) -> Measured:
    if set(seen.conditions.transform.identity) != {"turn", "floor", "light"}:
        raise ValueError("the recipe does not turn objects")
    heads = seen.subject.heads
    if not heads:
        raise ValueError("the method predicts no embeddings")
    views = object_views(seen, "test", seen.settings.predicted_objects)
    factors = {
        name: np.asarray(values)[views.indices]
        for name, values in seen.splits["test"].factors.items()
    }
    objects, counts = np.unique(factors["object"], return_counts=True)
    count = int(counts.min())
    # As many views of each as all have: nothing is assumed of how many.
    rows = np.stack([np.flatnonzero(factors["object"] == name)[:count] for name in objects])
    first, flat = np.repeat(rows[:, 0], count), rows.reshape(-1)
    q = jnp.asarray(factors["rotation"], jnp.float32)
    change = quaternion_product(q[flat], conjugate(q[first]))
    draw = {"turn": {"rotation": np.asarray(vector_from_quaternion(change))}}
    for part in ("floor", "light"):
        turns = factors[f"{part}_hue"][flat] - factors[f"{part}_hue"][first]
        draw[part] = {"hue": ((turns + 0.5) % 1 - 0.5).astype(np.float32)}
    head = next(iter(heads.values()))
    after, predicted, _ = head(views.features[first], views.features[flat], draw)
    shape = (*rows.shape, after.shape[-1])
    ranks = view_ranks(predicted.reshape(shape), after.reshape(shape))
    numbers: dict[str, Number | float] = {}
    ranks_by_end = {"": ranks[:, 1:].reshape(-1), "_with_own": ranks.reshape(-1)}
    for end, chosen in ranks_by_end.items():
        numbers[f"predicted_mrr{end}"] = Number(reciprocal_rank(chosen), n=chosen.size)
        for k in HITS:
            numbers[f"predicted_h{k}{end}"] = hits_at(chosen, k)
    nearest = nearest_views(predicted, after)
    poses = np.asarray(q)[flat]
    numbers["predicted_pre"] = prediction_retrieval_error(poses[nearest], poses)
    chance = {"predicted_mrr": chance_reciprocal_rank(count)}
    chance |= {f"predicted_h{k}": min(k / count, 1.0) for k in HITS}
    chance["predicted_pre"] = prediction_retrieval_error(np.roll(poses, count, axis=0), poses)
    return Measured(numbers, chance=chance | {f"{n}_with_own": v for n, v in chance.items()})


CARD = Card(
    name="object_views",
    measure=_measure,
    outputs=(
        *(
            Output(f"predicted_{name}{end}", f"{title} of predicted views{words}", HIGHER, ".3f")
            for end, words in (("", ""), ("_with_own", ", the view it came from included"))
            for name, title in (("mrr", "MRR"), ("h1", "H@1"), ("h5", "H@5"))
        ),
        Output("predicted_pre", "PRE of predicted views", LOWER, ".3f"),
    ),
    title="Views that a method's own predictor finds",
    needs=("test",),
    absent=("predicted_mrr",),
    settings={"predicted_objects": whole(1024, "test objects whose views are predicted", low=2)},
    quick={"predicted_objects": 128},
    source="Garrido et al. 2023 (SIE), arXiv:2302.10283",
)
