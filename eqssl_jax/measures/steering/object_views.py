"""Of a method that trains rotations of embeddings: is an object's steered view the nearest one?

CARE predicts nothing: it has embeddings turn by some R_a under a draw a. One map R(p) of draws is
fitted to training images (`map.fit_steering`, first-order: R(p) = exp(Σ_k p_k G_k)), and from view
0 of an object and the draw that leads from it to view v, R(p) f(x₀) is compared with the embeddings
of all its views, as `retrieval.object_views` does with what a predictor gives. Ours: MRR, H@k and
PRE are those of SIE (Garrido et al. 2023, arXiv:2302.10283).
"""

import jax
import numpy as np

from eqssl_jax.measures.cards import Card, Measured
from eqssl_jax.measures.features import extract_views, subset
from eqssl_jax.measures.retrieval.object_views import Asked, asked_views, found_views, outputs
from eqssl_jax.measures.steering.map import (
    PENALTIES,
    Drawn,
    Steering,
    fit_steering,
    steering_rotations,
)
from eqssl_jax.measures.steering.views import ALL, draw_part, steps
from eqssl_jax.measures.subjects import Seen, unit
from eqssl_jax.settings import whole

_ITERATIONS = 40  # of L-BFGS: half of those of the steering study, whose many draws it has not
_AT_A_TIME = 256  # rotations [D, D] held in memory


def _fit(seen: Seen) -> Steering:
    """R(p) of draws on training images: linear in p, with the smallest penalty.

    Draws on validation images choose nothing here, since there is one candidate; `fit_steering`
    measures its error on them.
    """
    conditions, settings = seen.conditions, seen.settings
    # Not the draws of the rotation and steering studies again.
    key = jax.random.fold_in(conditions.key, 17)
    drawn = draw_part(conditions.transform, key, ALL, settings.steered_draws)
    parts = {"train": drawn.train, "validation": drawn.validation}
    embedded = {}
    for name, params in parts.items():
        split = seen.splits[name]
        z = extract_views(
            {"": seen.subject.encode},
            split,
            conditions.transform,
            [(), *steps(params)],
            batch=settings.batch,
            indices=subset(split.size, min(settings.steered_images, split.size)),
        )[""]
        z = unit(z.astype(np.float64))
        embedded[name] = Drawn(z[0], z[1:], params)
    count, width = embedded["train"].before.shape
    if count <= width:
        raise ValueError(
            f"a rotation of {width} dimensions needs more than {width} images, and steered_images "
            f"and the train split give {count}"
        )
    identity = conditions.transform.identity
    # First-order alone: of a group that acts by rotations R(p) is one, and farther draws follow.
    return fit_steering(
        embedded["train"],
        embedded["validation"],
        identity,
        families=("linear",),
        penalties=PENALTIES[:1],
        iterations=_ITERATIONS,
    )


def _steered(steering: Steering, asked: Asked, before: np.ndarray) -> np.ndarray:
    """R(p) f(x₀) of each draw, [O V, D]."""
    rotated = np.empty_like(before)
    for start in range(0, len(before), _AT_A_TIME):
        rows = slice(start, start + _AT_A_TIME)
        draw = jax.tree.map(lambda leaf, rows=rows: leaf[rows], asked.draw)
        rotations = steering_rotations(steering, draw)
        rotated[rows] = np.einsum("qde,qe->qd", rotations, before[rows])
    return rotated


def _measure(seen: Seen) -> Measured:
    asked = asked_views(seen, seen.settings.steered_objects)
    z = unit(asked.views.embeddings.astype(np.float64))
    predicted = _steered(_fit(seen), asked, z[asked.first])
    numbers, chance = found_views(asked, predicted, z[asked.rows.reshape(-1)], "steered")
    return Measured(numbers, chance=chance)


CARD = Card(
    name="steered_views",
    measure=_measure,
    outputs=outputs("steered", "steered views"),
    title="Views that steered embeddings find",
    needs=("rotates", "test"),
    absent=("steered_mrr",),
    settings={
        "steered_objects": whole(128, "test objects whose views are steered to", low=2),
        "steered_draws": whole(40, "that R(p) is fitted to for it", low=8, high=100_000),
        "steered_images": whole(256, "that it is fitted on", low=2),
    },
    quick={"steered_objects": 64, "steered_images": 128},  # D = 64: 11 CPU s
    source="ours, with the measures of Garrido et al. 2023 (SIE), arXiv:2302.10283",
)
