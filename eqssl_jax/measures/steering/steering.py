"""What one map from parameters to rotations is worth: errors, retrieval, and the gap it closes."""

from typing import Any

import jax
import numpy as np

from eqssl_jax.measures.cards import HIGHER, LOWER, Card, Measured, Number, Output
from eqssl_jax.measures.steering.study import SteeringStudy, steering_study
from eqssl_jax.measures.steering.views import check_parts
from eqssl_jax.measures.subjects import Conditions, Seen
from eqssl_jax.settings import names, whole

# Share of the way from no rotation to Wahba's that steering covers: error, none, Wahba.
_CLOSED = {
    "closed": ("error", "error_identity", "error_wahba"),
    "composition_closed": ("composition", "composition_identity", "composition_wahba"),
    "beyond_closed": ("beyond", "beyond_identity", "beyond_wahba"),
}


def studies(conditions: Conditions) -> dict[str, dict[str, SteeringStudy | str]]:
    """A `steering_study` of each part in question, by encoder and part."""
    budget = conditions.settings
    if not budget.steering_draws:
        raise ValueError("left out: steering_draws is 0")
    by_part = {
        part: steering_study(
            conditions.encoders,
            conditions.splits,
            conditions.transform,
            # Not the draws of the rotation study again.
            jax.random.fold_in(conditions.key, 2),
            part=part,
            held_out=conditions.held_out,
            draws=budget.steering_draws,
            images=budget.steering_images,
            batch=budget.batch,
        )
        for part in budget.steering_parts
    }
    return {
        encoder: {part: study[encoder] for part, study in by_part.items()}
        for encoder in conditions.encoders
    }


def plain(study: SteeringStudy) -> dict[str, Any]:
    """What figures need: "magnitude" and every measure by draw; what was chosen."""
    return {
        "magnitude": study.magnitude.tolist(),
        "measures": {name: values.tolist() for name, values in study.measures.items()},
        "chance": dict(study.chance),
        "family": study.steering.family,
        "penalty": study.steering.penalty,
    }


def _measure(seen: Seen) -> Measured:
    """ "steering_<measure>_<part>" for each measure of a `SteeringStudy`: mean, sd and number of
    held-out draws; and "steering_closed_<part>", the share of the way from the error without any
    rotation to that of Wahba's rotation, fitted to each draw, that the map covers (1: all of it;
    below 0: worse than no rotation). Of means over draws, as "composition_closed", "beyond_closed".
    """
    measured = Measured({}, {}, {}, {"steering": {}})
    for part, study in seen.shared(studies).items():
        if isinstance(study, str):
            measured = measured._replace(missing={**measured.missing, f"steering_{part}": study})
        else:
            measured = _with_part(measured, part, study)
    return measured


def _with_part(measured: Measured, part: str, study: SteeringStudy) -> Measured:
    numbers, missing = dict(measured.numbers), dict(measured.missing)
    for name, values in study.measures.items():
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        numbers[f"steering_{name}_{part}"] = Number(float(values.mean()), sd, len(values))
    missing |= {f"steering_{name}_{part}": why for name, why in study.skipped.items()}
    for name, sources in _CLOSED.items():
        if sources[0] not in study.measures:
            continue
        error, none, best = (float(study.measures[source].mean()) for source in sources)
        if none - best > 1e-9:
            closed = Number((none - error) / (none - best), n=len(study.measures[sources[0]]))
            numbers[f"steering_{name}_{part}"] = closed
        else:
            missing[f"steering_{name}_{part}"] = "no rotation fitted to a draw helps either"
    chance = {f"steering_{name}_{part}": value for name, value in study.chance.items()}
    details = {"steering": {**measured.details["steering"], part: plain(study)}}
    return Measured(numbers, missing, {**measured.chance, **chance}, details)


def _check(conditions: Conditions) -> None:
    if conditions.settings.steering_draws:
        check_parts(conditions.transform, conditions.settings.steering_parts)


def _draws(default: int) -> Any:
    doc = "that R(p) is fitted to"
    return whole(default, doc, low=8, high=100_000, zero="steering is left out")


def _output(name: str, title: str, better: str | None = None, form: str = ".3f") -> Output:
    return Output(f"steering_{name}", title, better, form, family=True)


# Of embeddings, always: that is where rotations are.
_ERRORS = (
    _output("closed", "Steering, share of the gap closed", HIGHER, ".1%"),
    _output("error", "Steering error", LOWER),
    _output("error_identity", "Steering error without rotation"),
    _output("error_mean", "Steering error of one rotation for all draws"),
    _output("error_wahba", "Steering error of Wahba's rotation"),
    _output("error_wahba_test", "… fitted on the held-out images"),
)
_RETRIEVAL = tuple(
    _output(f"{bank}{name}{suffix}", f"{title}{among}{query}", better, form)
    for bank, among in (("", " among images"), ("view_", " among views"))
    for name, title, form in (("mrr", "MRR", ".3f"), ("hit1", "H@1", ".1%"), ("hit5", "H@5", ".1%"))
    for suffix, query, better in (
        ("", ", steered", HIGHER),
        ("_unsteered", ", unsteered", None),
        ("_wahba", ", Wahba's rotation", None),
    )
)
_COMPOSED = (
    _output("composition_closed", "Composed, share of the gap closed", HIGHER, ".1%"),
    _output("composition", "Composed steering error", LOWER),
    _output("composition_identity", "Composed error without rotation"),
    _output("composition_wahba", "Composed error of Wahba's rotation"),
    _output("composition_on_data", "Composed rotation, distance to Wahba's", LOWER),
    _output("beyond_closed", "Beyond the fit, share of the gap closed", HIGHER, ".1%"),
    _output("beyond", "Steering error beyond the fit", LOWER),
    _output("beyond_identity", "Error beyond the fit without rotation"),
    _output("beyond_full", "… of the map fitted on all draws"),
    _output("beyond_wahba", "… of Wahba's rotation"),
)
CARD = Card(
    name="steering",
    title="Steering",
    measure=_measure,
    outputs=_ERRORS + _RETRIEVAL + _COMPOSED,
    needs=("train",),
    settings={
        # 0 by default: a fit costs minutes on a CPU (d³ for each of its evaluations).
        "steering_draws": _draws(0),
        "steering_images": whole(512, "that R(p) is fitted on, and as many it is tested on", low=1),
        "steering_parts": names(("all",), "steered alone; 'all': together", least=1),
    },
    check=_check,
    absent=("steering",),
)
