"""What steering says of one encoder, under public names, and why a number is missing."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from eqssl_jax.data.base import Dataset
from eqssl_jax.measures.budget import Settings
from eqssl_jax.measures.features import Encode, Layers
from eqssl_jax.measures.steering.study import SteeringStudy, steering_study
from eqssl_jax.measures.steering.views import check_parts
from eqssl_jax.measures.values import Found, number
from eqssl_jax.transforms.base import Transform

Studies = Mapping[str, Mapping[str, SteeringStudy | str]]  # by part, then by encoder

# Share of the way from no rotation to Wahba's that steering covers: error, none, Wahba.
_CLOSED = {
    "closed": ("error", "error_identity", "error_wahba"),
    "composition_closed": ("composition", "composition_identity", "composition_wahba"),
    "beyond_closed": ("beyond", "beyond_identity", "beyond_wahba"),
}


def check(transform: Transform, settings: Settings) -> None:
    """Refuse unknown parts before anything is encoded.

    Raises:
      ValueError: as `check_parts`.
    """
    if settings.steering_draws:
        check_parts(transform, settings.steering_parts)


def studies(
    encoders: Mapping[str, Encode | Layers],
    dataset: Dataset,
    split: str,
    transform: Transform,
    key: Key[Array, ""],
    settings: Settings,
) -> Studies:
    """A `steering_study` of each part asked for; empty when left out."""
    if not settings.steering_draws:
        return {}
    return {
        part: steering_study(
            encoders,
            dataset.splits,
            transform,
            # Not the draws of the rotation study again.
            jax.random.fold_in(key, 2),
            part=part,
            held_out=split,
            draws=settings.steering_draws,
            images=settings.steering_images,
            batch=settings.batch,
        )
        for part in settings.steering_parts
    }


def steered(found: Studies, encoder: str) -> Found:
    """ "steering_<measure>_<part>" for each measure of a `SteeringStudy`: mean, sd and number of
    held-out draws; and "steering_closed_<part>", the share of the way from the error without any
    rotation to that of Wahba's rotation, fitted to each draw, that the map covers (1: all of it;
    below 0: worse than no rotation). Of means over draws, as "composition_closed", "beyond_closed".
    """
    if not found:
        return Found(skipped={"steering": "left out: steering_draws is 0"})
    values: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for part, by_encoder in found.items():
        study = by_encoder[encoder]
        if isinstance(study, str):
            skipped[f"steering_{part}"] = study
            continue
        for name, each in study.measures.items():
            sd = float(np.std(each, ddof=1)) if len(each) > 1 else None
            values[f"steering_{name}_{part}"] = number(each.mean(), sd, len(each))
        skipped |= {f"steering_{name}_{part}": why for name, why in study.skipped.items()}
        for name, (own, none, best) in _CLOSED.items():
            if own not in study.measures:
                continue
            own_, none_, best_ = (float(study.measures[n].mean()) for n in (own, none, best))
            if none_ - best_ > 1e-9:
                closed = (none_ - own_) / (none_ - best_)
                values[f"steering_{name}_{part}"] = number(closed, n=len(study.measures[own]))
            else:
                skipped[f"steering_{name}_{part}"] = "no rotation fitted to a draw helps either"
    return Found(values, skipped)


def chance(found: Studies) -> dict[str, float]:
    """Of the retrieval measures, by public name."""
    return {
        f"steering_{name}_{part}": value
        for part, by_encoder in found.items()
        for study in by_encoder.values()
        if not isinstance(study, str)
        for name, value in study.chance.items()
    }


def plain(found: Studies, encoder: str) -> dict[str, Any]:
    """Of each part what figures need: "magnitude" and every measure by draw; what was chosen."""
    return {
        part: {
            "magnitude": study.magnitude.tolist(),
            "measures": {name: each.tolist() for name, each in study.measures.items()},
            "chance": dict(study.chance),
            "family": study.steering.family,
            "penalty": study.steering.penalty,
        }
        for part, by_encoder in found.items()
        if not isinstance(study := by_encoder[encoder], str)
    }
