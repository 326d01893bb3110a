"""From evidence to advice: which differences between roles are clear, and what follows.

Every candidate is trained once from each seed, so its numbers are a table [candidates, seeds]. A
seed moves all candidates alike (same start, same data), so the noise is what remains after the
means of both are taken out,

    s² = Σ_ks (x_ks − x̄_k − x̄_s + x̄)² / ((K − 1)(S − 1)),

and two candidates differ clearly when |x̄_a − x̄_b| > t · s · √(2/S), with t the quantile of
Student's distribution with (K − 1)(S − 1) degrees of freedom at a confidence that is shared among
all comparisons (Bonferroni). Intervals are drawn half as wide, so that two roles differ clearly
exactly when their intervals do not meet.

What this covers is the chance of a seed. All candidates are measured on the same held-out images,
so a difference that these images happen to show (and others would not) can be called clear: with
few of them, hold out more, or take another validation split and look again.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from eqssl_jax.advice.candidates import Candidate
from eqssl_jax.tabular.metrics import describe, show

Evidence = Mapping[str, Mapping[str, Mapping[str, float]]]  # candidate, part, metric
METRICS = ("probe_top1", "knn", "order_accuracy_amid", "magnitude_r2", "info_nce", "natural")
CLASSES = METRICS[:2]  # those that need labels, and are the same for all parts
NATURAL = 0.25  # half of what data that varies in a transformation by itself has


def verdicts(
    seeds: Sequence[Evidence],
    tables: Sequence[Candidate],
    *,
    metric: str,
    confidence: float = 0.9,
    resolution: float = 0.0,
    dropped: Mapping[str, str] = {},
) -> dict[str, Any]:
    """Advice for every part, in the form of `tabular.advice_table`.

    With labels the best role by `metric` is advised if the part's own role is clearly worse; where
    the own role cannot be told from the best, it is kept, and advised if it is clearly better than
    another one. Without ("label_free") a role other than invariant is advised if features
    keep clearly more of the magnitude than under "invariant", at no clear cost in InfoNCE under the
    other transformations, and if the data varies in the transformation by itself.

    Args:
      seeds: evidence of each seed.
      tables: the candidates, the base first.
      metric: "probe_top1", "knn" or "label_free".
      confidence: that no difference called clear is chance of the seed, over all comparisons.
      resolution: the least s of an accuracy, 1 / (number of held-out images): numbers that agree
        over a few seeds to the last image are not known better than that.
      dropped: by part, what to say of roles that were dropped early.

    Raises:
      ValueError: for fewer than two seeds, or a confidence outside (0, 1).
    """
    if len(seeds) < 2:
        raise ValueError(
            f"Advice compares roles over seeds and needs at least 2, found {len(seeds)}: raise "
            f"config.advice.seeds."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"config.advice.confidence is {confidence}; it must lie in (0, 1).")
    base = tables[0]
    roles: dict[str, dict[str, str]] = {}  # part -> role -> candidate
    for candidate in tables[1:]:
        part, role = candidate.changed or ("", "")
        roles.setdefault(part, {base.table[part].role: base.name})[role] = candidate.name
    pairs = sum(len(of) * (len(of) - 1) // 2 for of in roles.values())
    found: dict[str, dict[str, dict[str, Any]]] = {
        part: {role: {} for role in of} for part, of in roles.items()
    }
    for name in METRICS:
        for part, of in roles.items():
            rows = _rows(seeds, of.values(), part, name)
            if rows is not None:
                least = resolution if name in CLASSES else 0.0
                half = _half_width(seeds, roles, name, part, pairs, confidence, least)
                for role, row in zip(of, rows, strict=True):
                    found[part][role][name] = _interval(row, half)
    return {
        "metric": None if metric == "label_free" else metric,
        "transformations": {
            part: _advise(part, of, metric, base.table[part].role, dropped.get(part, ""))
            for part, of in found.items()
        },
        "floor": (floor := _floor(seeds)),
        "warning": _warning(found, metric, floor.get(metric)),
    }


def _rows(
    seeds: Sequence[Evidence], names: Any, part: str, metric: str
) -> Float[np.ndarray, "r s"] | None:
    """A metric of some candidates for one part, [roles, seeds]; None where one lacks it."""
    try:
        return np.array([[seed[name][part][metric] for seed in seeds] for name in names])
    except KeyError:
        return None


def _half_width(
    seeds: Sequence[Evidence],
    roles: Mapping[str, Mapping[str, str]],
    metric: str,
    part: str,
    pairs: int,
    confidence: float,
    least: float,
) -> float:
    """Half of the least clear difference.

    Metrics of classes are one table of all candidates; those along a part's ladder are of the
    scale of that part, and are a table for themselves.
    """
    if metric in CLASSES:
        names = list(dict.fromkeys(name for of in roles.values() for name in of.values()))
        where = {name: p for p, of in roles.items() for name in of.values()}
        rows = np.array([[seed[n][where[n]][metric] for seed in seeds] for n in names])
    else:
        rows = np.array([[s[n][part][metric] for s in seeds] for n in roles[part].values()])
    left = rows - rows.mean(axis=1, keepdims=True) - rows.mean(axis=0, keepdims=True) + rows.mean()
    freedom = (rows.shape[0] - 1) * (rows.shape[1] - 1)
    sd = max(least, math.sqrt(float(np.sum(left**2)) / freedom))
    t = float(stats.t.ppf(1 - (1 - confidence) / (2 * pairs), freedom))
    return t * sd * math.sqrt(2 / rows.shape[1]) / 2


def _interval(row: Float[np.ndarray, " s"], half: float) -> dict[str, float | int]:
    value = float(row.mean())
    return {"value": value, "low": value - half, "high": value + half, "n": len(row)}


def _advise(
    part: str, roles: dict[str, dict[str, Any]], metric: str, own: str, note: str
) -> dict[str, Any]:
    decide = _without_labels if metric == "label_free" else _with_labels
    role, reason = decide(roles, metric, own)
    if role is None:
        reason += f" {part} keeps the role it has, {own}."
    return {"roles": roles, "own": own, "advice": role, "reason": f"{reason} {note}".strip()}


def _with_labels(roles: dict[str, dict[str, Any]], metric: str, own: str) -> tuple[str | None, str]:
    number = {role: found[metric] for role, found in roles.items()}
    best = max(number, key=lambda role: number[role]["value"])
    title = describe(metric).title
    # Without a clear reason nothing changes: a tie with the best is good enough for the own role.
    chosen = own if number[own]["high"] >= number[best]["low"] else best
    value, low = number[chosen]["value"], number[chosen]["low"]
    beaten = [role for role in number if number[role]["high"] < low]
    if not beaten:
        lead = show(metric, number[best]["value"] - value)
        first = f"; the best, {best}, leads by {lead}" if best != chosen else ""
        return None, f"{title}: no role is clearly better or worse than {own}{first}."
    ties = [role for role in number if role not in (chosen, *beaten)]
    gains = [f"{role} by {show(metric, value - number[role]['value'])}" for role in beaten]
    also = f"; {' and '.join(ties)} cannot be told from it" if ties else ""
    return chosen, f"{title}: {chosen} beats {' and '.join(gains)}{also}."


def _without_labels(
    roles: dict[str, dict[str, Any]], metric: str, own: str
) -> tuple[str | None, str]:
    del metric, own
    still = roles.get("invariant", {})
    if "magnitude_r2" not in still:
        return None, "Without labels and without a ladder there is nothing to decide by."
    kept, cost = still["magnitude_r2"], still["info_nce"]
    better = [
        role
        for role, found in roles.items()
        if role != "invariant"
        and found["magnitude_r2"]["low"] > kept["high"]
        and found["info_nce"]["low"] <= cost["high"]
        and found["natural"]["value"] >= NATURAL
    ]
    if not better:
        return None, "Without labels: no role keeps clearly more of the magnitude at no clear cost."
    best = max(better, key=lambda role: roles[role]["magnitude_r2"]["value"])
    gain = roles[best]["magnitude_r2"]["value"] - kept["value"]
    return best, (
        f"Without labels: {best} keeps more of the magnitude (R² +{gain:.2f}) at no clear cost in "
        f"InfoNCE, and the data varies in it by itself."
    )


def _warning(
    found: Mapping[str, Mapping[str, Mapping[str, Any]]], metric: str, floor: float | None
) -> str:
    """What to say if nothing was learned that an untrained encoder does not have."""
    best = [one[metric] for of in found.values() for one in of.values() if metric in one]
    if floor is None or any(one["low"] > floor for one in best):
        return ""
    return (
        f"No candidate is clearly better than an untrained encoder ({show(metric, floor)}): this "
        f"was too little training, or too few labels, to tell roles apart. Raise "
        f"config.train.steps or config.advice.train_images."
    )


def _floor(seeds: Sequence[Evidence]) -> dict[str, float]:
    """The untrained encoder's numbers, for metrics that are the same for all parts."""
    found = {}
    for metric in ("probe_top1", "knn"):
        values = [v[metric] for s in seeds for v in s.get("random", {}).values() if metric in v]
        if values:
            found[metric] = float(np.mean(values))
    return found
