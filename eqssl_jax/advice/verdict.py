"""From evidence to advice: which differences between roles are clear, and what follows.

Every candidate is trained once from each seed, so its numbers are a table [candidates, seeds]. A
seed moves all candidates alike (same start, same data), so the noise of seeds is what remains after
the means of both are taken out,

    s² = Σ_ks (x_ks − x̄_k − x̄_s + x̄)² / ((K − 1)(S − 1)).

The images that they are measured on are a draw as well: with d_i the difference of two candidates
on image i, mean over seeds, the variance of their difference over draws of the N images is

    v = Σ_i (d_i − d̄)² / (N (N − 1)),

what a bootstrap over images tells that keeps the two candidates paired, in closed form. (Numbers
that are not means over images bring a variance of their own, see `evidence`.) Both noises add, and
two candidates differ clearly when |x̄_a − x̄_b| > t · √(2 s² / S + v), with t the quantile of
Student's distribution, its degrees of freedom by Welch and Satterthwaite from (K − 1)(S − 1) and
N − 1, at a confidence that is shared among all comparisons (Bonferroni). Of the pairs of one part's
roles the widest counts for all; intervals are drawn half as wide, so that two roles differ clearly
exactly when their intervals do not meet.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import scipy
from jaxtyping import Float

from eqssl_jax.advice.candidates import Candidate
from eqssl_jax.advice.evidence import IMAGES, VARIANCE
from eqssl_jax.tabular.advice import BASE
from eqssl_jax.tabular.metrics import describe, show

Evidence = Mapping[str, Mapping[str, Mapping[str, Any]]]  # candidate, part, metric
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
    other transformations, and if the data varies in the transformation by itself; a method, if they
    keep more than under the base, on average of all magnitudes, at no clear cost in InfoNCE.

    Args:
      seeds: evidence of each seed.
      tables: the candidates, the base first.
      metric: "probe_top1", "knn" or "label_free".
      confidence: that no difference called clear is chance of the seeds and of the held-out images,
        over all comparisons.
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
        roles.setdefault(part, {base.role(part): base.name})[role] = candidate.name
    pairs = sum(len(by_role) * (len(by_role) - 1) // 2 for by_role in roles.values())
    evidence: dict[str, dict[str, dict[str, Any]]] = {
        part: {role: {} for role in by_role} for part, by_role in roles.items()
    }
    for name in METRICS:
        for part, by_role in roles.items():
            rows = _rows(seeds, by_role.values(), part, name)
            if rows is not None:
                least = resolution if name in CLASSES else 0.0
                half = _half_width(seeds, roles, name, part, pairs, confidence, least)
                for role, row in zip(by_role, rows, strict=True):
                    evidence[part][role][name] = _interval(row, half)
    decisive = "magnitude_r2" if metric == "label_free" else metric
    warnings = {part: _warning(part, evidence[part], decisive, seeds) for part in evidence}
    return {
        "metric": None if metric == "label_free" else metric,
        "transformations": {
            part: _advise(part, by_role, metric, base.role(part), dropped.get(part, ""))
            | {"warning": warnings[part]}
            for part, by_role in evidence.items()
        },
        "floor": _floor(seeds),
        "warning": " ".join(text for text in warnings.values() if text),
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
    """Half of the least clear difference of two roles of a part, as the module's docstring says.

    For the noise of seeds, metrics of classes are one table of all candidates; those along a part's
    ladder are of the scale of that part, and are a table for themselves.
    """
    if metric in CLASSES:
        names = list(dict.fromkeys(name for by_role in roles.values() for name in by_role.values()))
        where = {name: p for p, by_role in roles.items() for name in by_role.values()}
        rows = np.array([[seed[n][where[n]][metric] for seed in seeds] for n in names])
    else:
        rows = np.array([[s[n][part][metric] for s in seeds] for n in roles[part].values()])
    left = rows - rows.mean(axis=1, keepdims=True) - rows.mean(axis=0, keepdims=True) + rows.mean()
    freedom = (rows.shape[0] - 1) * (rows.shape[1] - 1)
    sd = max(least, math.sqrt(float(np.sum(left**2)) / freedom))
    quantile = 1 - (1 - confidence) / (2 * pairs)
    of_seeds, widest = 2 * sd**2 / rows.shape[1], 0.0
    for a, b in combinations(roles[part].values(), 2):
        of_images, count = _image_noise(seeds, a, b, part, metric)
        total = of_seeds + of_images
        if total > 0:
            shared = total**2 / (of_seeds**2 / freedom + of_images**2 / max(count - 1, 1))
            widest = max(widest, float(scipy.stats.t.ppf(quantile, shared)) * math.sqrt(total))
    return widest / 2


def _image_noise(
    seeds: Sequence[Evidence], a: str, b: str, part: str, metric: str
) -> tuple[float, int]:
    """Variance of the difference of two candidates over draws of the images, and their number.

    0 for evidence that does not hold it.
    """
    cells = [[seed[name][part] for seed in seeds] for name in (a, b)]
    if all(metric in cell.get(IMAGES, {}) for row in cells for cell in row):
        rows = [[np.fromstring(c[IMAGES][metric], sep=" ") for c in row] for row in cells]
        difference = np.mean(rows[0], axis=0) - np.mean(rows[1], axis=0)  # [N]
        count = len(difference)
        return (float(np.var(difference, ddof=1)) / count if count > 1 else 0.0), count
    if all(metric in cell.get(VARIANCE, {}) for row in cells for cell in row):
        # The same images for all seeds: their mean is known no better.
        return float(sum(np.mean([c[VARIANCE][metric] for c in row]) for row in cells)), 10**6
    return 0.0, 2


def _interval(row: Float[np.ndarray, " s"], half: float) -> dict[str, float | int]:
    value = float(row.mean())
    return {"value": value, "low": value - half, "high": value + half, "n": len(row)}


def _advise(
    part: str, roles: dict[str, dict[str, Any]], metric: str, decisive: str, note: str
) -> dict[str, Any]:
    decide = _without_labels if metric == "label_free" else _with_labels
    role, reason = decide(roles, metric, decisive)
    if role is None and decisive == BASE:
        reason += " The base stays as it is."
    elif role is None:
        reason += f" {part} keeps the role it has, {decisive}."
    return {"roles": roles, "own": decisive, "advice": role, "reason": f"{reason} {note}".strip()}


def _with_labels(
    roles: dict[str, dict[str, Any]], metric: str, decisive: str
) -> tuple[str | None, str]:
    number = {role: by_metric[metric] for role, by_metric in roles.items()}
    best = max(number, key=lambda role: number[role]["value"])
    title = describe(metric).title
    # Without a clear reason nothing changes: a tie with the best is good enough for the own role.
    chosen = decisive if number[decisive]["high"] >= number[best]["low"] else best
    value, low = number[chosen]["value"], number[chosen]["low"]
    beaten = [role for role in number if number[role]["high"] < low]
    if not beaten:
        lead = show(metric, number[best]["value"] - value)
        first = f"; the best, {best}, leads by {lead}" if best != chosen else ""
        what = "method" if decisive == BASE else "role"
        return None, f"{title}: no {what} is clearly better or worse than {decisive}{first}."
    ties = [role for role in number if role not in (chosen, *beaten)]
    gains = [f"{role} by {show(metric, value - number[role]['value'])}" for role in beaten]
    also = f"; {' and '.join(ties)} cannot be told from it" if ties else ""
    return chosen, f"{title}: {chosen} beats {' and '.join(gains)}{also}."


def _without_labels(
    roles: dict[str, dict[str, Any]], metric: str, decisive: str
) -> tuple[str | None, str]:
    del metric
    # A method is compared with the base; whether the data vary in some part is not its matter.
    reference, least = (BASE, 0.0) if decisive == BASE else ("invariant", NATURAL)
    still = roles.get(reference, {})
    if "magnitude_r2" not in still:
        return None, "Without labels and without a ladder there is nothing to decide by."
    kept, cost = still["magnitude_r2"], still["info_nce"]
    better = [
        role
        for role, by_metric in roles.items()
        if role != reference
        and by_metric["magnitude_r2"]["low"] > kept["high"]
        and by_metric["info_nce"]["low"] <= cost["high"]
        and by_metric["natural"]["value"] >= least
    ]
    if not better:
        what = "method" if reference == BASE else "role"
        return None, (
            f"Without labels: no {what} keeps clearly more of the magnitude at no clear cost."
        )
    best = max(better, key=lambda role: roles[role]["magnitude_r2"]["value"])
    gain = roles[best]["magnitude_r2"]["value"] - kept["value"]
    varies = ", and the data varies in it by itself" if least else ""
    return best, (
        f"Without labels: {best} keeps more of the magnitude (R² +{gain:.2f}) at no clear cost in "
        f"InfoNCE{varies}."
    )


def _warning(
    part: str, roles: Mapping[str, Mapping[str, Any]], metric: str, seeds: Sequence[Evidence]
) -> str:
    """What to say of a part if none of its roles shows more than an untrained encoder does."""
    floors = [s.get("random", {}).get(part, {}).get(metric) for s in seeds]
    trained = {role: by_metric[metric] for role, by_metric in roles.items() if metric in by_metric}
    finite = [value for value in floors if value is not None]
    if len(finite) < len(seeds) or not trained:
        return ""
    floor = float(np.mean(finite))
    # Intervals are half as wide as the least clear difference.
    if any(2 * number["low"] - number["value"] > floor for number in trained.values()):
        return ""
    best = max(trained, key=lambda role: trained[role]["value"])
    return (
        f"{part}: not better than an untrained encoder ({show(metric, floor)}; best {best}, "
        f"{show(metric, trained[best]['value'])}): too little training, or too few labels, to tell "
        f"its roles apart. Raise config.train.steps or config.advice.train_images."
    )


def _floor(seeds: Sequence[Evidence]) -> dict[str, float]:
    """The untrained encoder's numbers, for metrics that are the same for all parts."""
    floors = {}
    for metric in ("probe_top1", "knn"):
        values = [v[metric] for s in seeds for v in s.get("random", {}).values() if metric in v]
        if values:
            floors[metric] = float(np.mean(values))
    return floors
