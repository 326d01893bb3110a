"""One number from the evaluations of several trainings that differ in their seed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from eqssl_jax.tabular.metrics import measured

Result = Mapping[str, Any]


class Spread(NamedTuple):
    """A mean with its standard deviation, and what that is over.

    Attributes:
      value: mean over trainings; NaN where none has the number.
      sd: over trainings where there are two or more, else the evaluation's own (over probe seeds or
        augmentations); NaN where there is none.
      trainings: how many have the number.
    """

    value: float
    sd: float
    trainings: int


def over_seeds(results: Sequence[Result], encoder: str, metric: str) -> Spread:
    """One metric of one encoder ("trained", "random", "pixels") or of "chance", over trainings.

    >>> one = {"encoders": {"trained": {"knn": {"value": 0.5, "sd": None, "n": 9}}}}
    >>> over_seeds([one], "trained", "knn")
    Spread(value=0.5, sd=nan, trainings=1)
    """
    found = []
    for result in results:
        one = measured(result, encoder).get(metric) or {}
        if encoder == "chance":
            one = {"value": result.get("chance", {}).get(metric)}
        value, sd = one.get("value"), one.get("sd")
        if value is not None and math.isfinite(value):
            found.append((float(value), math.nan if sd is None else float(sd)))
    if not found:
        return Spread(math.nan, math.nan, 0)
    if len(found) == 1:
        return Spread(*found[0], 1)
    values = [value for value, _ in found]
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


def what_bars_are(spreads: Sequence[Spread]) -> str:
    """The line of a figure that says what its bars are over; "" if it has none.

    >>> what_bars_are([Spread(0.5, 0.1, 3)])
    '± 1 sd over 3 trainings'
    """
    drawn = [one.trainings for one in spreads if math.isfinite(one.sd)]
    several = sorted({n for n in drawn if n > 1})
    if not several:
        return "± 1 sd over augmentations or probe seeds" if drawn else ""
    most = f"{several[0]}" if len(several) == 1 else f"{several[0]} to {several[-1]}"
    return f"± 1 sd over {most} trainings{', or within one' if 1 in drawn else ''}"
