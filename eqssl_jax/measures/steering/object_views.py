"""Of a method that trains rotations of embeddings: is an object's steered view the nearest one?

CARE predicts nothing: it has embeddings turn by some R_a under a draw a. One map R(p) of draws is
fitted to training objects that stand upright under hues 0, as training draws its views of them
(`map.fit_steering`, first-order: R(p) = exp(Σ_k p_k G_k)). If f(x_v) = R(p_v) f(upright) for the
draw p_v that leads to view v, then R(p_v) R(p_0)ᵀ f(x_0) is the embedding of view v, from view 0
and by draws within the range of training. It is compared with the embeddings of all views of the
object, as `retrieval.object_views` does with what a predictor gives. Ours: MRR, H@k and PRE are
those of SIE (Garrido et al. 2023, arXiv:2302.10283).

How well R(p) fits is said beside them: of the way that embeddings of other training objects move
under other draws, Σ ‖R(p) f − f_a‖² / Σ ‖f_a − f‖² is left; 0 is a perfect fit and 1 no better
than staying. p is linear in the differences of hues within ±½ turn, though −½ and ½ are one hue.
"""

import jax
import numpy as np

from eqssl_jax.data.base import Split
from eqssl_jax.measures.cards import LOWER, Card, Measured, Output
from eqssl_jax.measures.features import extract_views, subset
from eqssl_jax.measures.retrieval.object_views import Asked, asked_views, found_views, outputs
from eqssl_jax.measures.steering.basis import restricted
from eqssl_jax.measures.steering.map import (
    PENALTIES,
    Drawn,
    Steering,
    fit_steering,
    steering_errors,
    steering_rotations,
)
from eqssl_jax.measures.steering.views import ALL, draw_part, steps
from eqssl_jax.measures.subjects import Seen, unit
from eqssl_jax.settings import whole
from eqssl_jax.transforms.base import Params

_ITERATIONS = 40  # of L-BFGS: half of those of the steering study, whose many draws it has not
_AT_A_TIME = 256  # rotations [D, D] held in memory
_STILL = 1e-9  # of embeddings that move less, square, there is no way to speak of


def _fit(seen: Seen, width: int) -> tuple[Steering, float]:
    """R(p) [width, width] of upright training objects, and the share of their way that it leaves.

    Linear in p, with the smallest penalty. The share is of other objects under other draws, which
    choose nothing: there is one candidate.
    """
    conditions, settings = seen.conditions, seen.settings
    if "objects" not in seen.splits:
        raise ValueError("the data set has no upright objects, from which draws lead to its views")
    split = seen.splits["objects"]
    # Not the draws of the rotation and steering studies again.
    key = jax.random.fold_in(conditions.key, 17)
    drawn = draw_part(conditions.transform, key, ALL, settings.steered_draws)
    rows = subset(split.size, min(2 * settings.steered_images, split.size))
    if len(rows[::2]) <= width:
        raise ValueError(
            f"a rotation of {width} dimensions needs more than {width} objects: steered_images is "
            f"{settings.steered_images}, and of {split.size} objects to train on half are used"
        )
    fitted_on, others = (
        _drawn(seen, split, params, chosen)
        for params, chosen in ((drawn.train, rows[::2]), (drawn.validation, rows[1::2]))
    )
    # First-order alone: of a group that acts by rotations R(p) is one, and farther draws follow.
    steering = fit_steering(
        fitted_on,
        others,
        conditions.transform.identity,
        families=("linear",),
        penalties=PENALTIES[:1],
        iterations=_ITERATIONS,
    )
    way = np.mean(np.sum((others.after - others.before) ** 2, axis=-1))
    left = np.mean(steering_errors(steering, others) ** 2)
    return steering, float(left / way) if way > _STILL else np.nan


def _drawn(seen: Seen, split: Split, params: Params, rows: np.ndarray) -> Drawn:
    """Unit embeddings of these objects, upright and under each draw."""
    z = extract_views(
        {"": seen.subject.encode},
        split,
        seen.conditions.transform,
        [(), *steps(params)],
        batch=seen.settings.batch,
        indices=rows,
    )[""]
    z = unit(z.astype(np.float64))
    return Drawn(z[0], z[1:], params)


def _steered(steering: Steering, asked: Asked, z: np.ndarray) -> np.ndarray:
    """R(p_v) R(p_0)ᵀ f(x_0) of every view v of every object, [O V, D]."""
    count = asked.rows.shape[1]
    upright = np.empty((len(asked.rows), z.shape[1]))
    steered = np.empty((len(asked.rows) * count, z.shape[1]))
    at_a_time = max(_AT_A_TIME // count, 1)
    for start in range(0, len(asked.rows), at_a_time):
        objects = np.arange(start, min(start + at_a_time, len(asked.rows)))
        views = (objects[:, None] * count + np.arange(count)).reshape(-1)
        rotations = steering_rotations(steering, restricted(asked.from_upright, views))
        upright[objects] = np.einsum("oed,oe->od", rotations[::count], z[asked.rows[objects, 0]])
        steered[views] = np.einsum("qde,qe->qd", rotations, np.repeat(upright[objects], count, 0))
    return steered


def _measure(seen: Seen) -> Measured:
    asked = asked_views(seen, seen.settings.steered_objects)
    z = unit(asked.views.embeddings.astype(np.float64))
    steering, left = _fit(seen, z.shape[1])
    predicted = _steered(steering, asked, z)
    numbers, chance = found_views(asked, predicted, z[asked.rows.reshape(-1)], "steered")
    # Without a rotation all of the way is left.
    return Measured({**numbers, "steered_left": left}, chance={**chance, "steered_left": 1.0})


CARD = Card(
    name="steered_views",
    measure=_measure,
    outputs=(
        *outputs("steered", "steered views"),
        Output("steered_left", "share of the way that R(p) leaves", LOWER, ".3f"),
    ),
    title="Views that steered embeddings find",
    needs=("rotates", "test"),
    absent=("steered_mrr",),
    settings={
        "steered_objects": whole(128, "test objects whose views are steered to", low=2),
        "steered_draws": whole(40, "draws that R(p) is fitted to for it", low=8, high=100_000),
        "steered_images": whole(256, "upright objects that it is fitted to", low=2),
    },
    quick={"steered_objects": 64, "steered_images": 128},  # D = 64: 11 CPU s
    source="ours, with the measures of Garrido et al. 2023 (SIE), arXiv:2302.10283",
)
