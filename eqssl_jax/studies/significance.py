"""Student's intervals, paired t tests over seeds, and Holm's correction for several of them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy

LEVEL = 0.05
Numbers = Mapping[str, Mapping[int, float]]  # by run, then by seed


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of Student's 95 % interval over trainings; NaN for fewer than two.

    >>> tuple(round(number, 3) for number in interval([1.0, 2.0, 3.0]))
    (2.0, 2.484)
    """
    array = np.asarray(values, float)
    if len(array) < 2:
        return float(array.mean()), math.nan
    error = array.std(ddof=1) / math.sqrt(len(array))
    return float(array.mean()), float(scipy.stats.t.ppf(0.975, len(array) - 1) * error)


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values (Holm 1979): the k-th smallest of m times m − k + 1, not falling.

    One that is NaN stays so, and counts as the largest: the family does not shrink by it.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    adjusted, least = {}, 0.0
    ascending = sorted(values.items(), key=lambda item: (math.isnan(item[1]), item[1]))
    for rank, (name, p) in enumerate(ascending):
        if not math.isnan(p):
            least = max(least, min((len(values) - rank) * p, 1.0))
        adjusted[name] = p if math.isnan(p) else least
    return adjusted


def apart(numbers: Numbers, other: str) -> dict[str, float]:
    """p of each run's difference to another on the same data, paired by seed (t), after Holm.

    A run that shares fewer than two seeds with the other one is left out; p is NaN where all
    differences are equal.
    """
    raw = {}
    for run, values in numbers.items():
        common = sorted(set(values) & set(numbers[other]))
        if run != other and len(common) > 1:
            raw[run] = paired_p([values[seed] - numbers[other][seed] for seed in common])
    return holm(raw)


def paired_p(gaps: Sequence[float], bound: float = 0.0) -> float:
    """p of a two-sided t test that paired differences have the mean `bound`; two at least.

    NaN where they are equal but for rounding: without a spread there is no t, and pairs that happen
    to differ alike (shares of few images do) are no evidence that all would.
    """
    above = np.asarray(gaps, float) - bound
    if np.ptp(above) <= 1e-12 * max(float(np.abs(gaps).max()), abs(bound)):
        return math.nan
    return float(scipy.stats.ttest_1samp(above, 0.0).pvalue)
