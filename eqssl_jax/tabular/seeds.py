"""Several trainings that differ in their seed alone: which they are, and their numbers together."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from eqssl_jax.tabular.metrics import measured
from eqssl_jax.tabular.tables import cell_of

Result = Mapping[str, Any]


class Spread(NamedTuple):
    """A mean with its standard deviation, and what that is over.

    Attributes:
      value: mean over trainings; NaN where none has the number.
      sd: over trainings (ddof 1) where there are two or more, else the evaluation's own (over probe
        seeds or augmentations); NaN where there is none.
      trainings: how many have the number; as it says of one that `merged` made.
    """

    value: float
    sd: float
    trainings: int


def over_seeds(results: Sequence[Result], encoder: str, metric: str) -> Spread:
    """One metric of one encoder ("trained", "random", "pixels") or of "chance", over trainings.

    >>> result = {"encoders": {"trained": {"knn": {"value": 0.5, "sd": None, "n": 9}}}}
    >>> over_seeds([result], "trained", "knn")
    Spread(value=0.5, sd=nan, trainings=1)
    """
    numbers = []
    for result in results:
        value, sd, trainings = cell_of(result, metric, encoder)
        if value is not None and math.isfinite(value):
            numbers.append(Spread(float(value), math.nan if sd is None else float(sd), trainings))
    if not numbers:
        return Spread(math.nan, math.nan, 0)
    if len(numbers) == 1:
        return numbers[0]
    values = [number.value for number in numbers]
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


def spreads_of(
    groups: Mapping[Any, Sequence[Result]], metrics: Iterable[str]
) -> dict[str, list[Spread]]:
    """By metric the number of each group of trainings; a metric that none has is left out.

    Raises:
      ValueError: if there is none.
    """
    metrics = list(metrics)
    spreads = {m: [over_seeds(group, "trained", m) for group in groups.values()] for m in metrics}
    kept = {m: group for m, group in spreads.items() if any(spread.trainings for spread in group)}
    if not kept:
        raise ValueError(f"None of {list(groups)} has a finite number of {', '.join(metrics)}.")
    return kept


def merged(results: Sequence[Result]) -> Result:
    """One evaluation from those of several trainings: means, and ± over the trainings.

    A number stays only if every training has it; its "n" stays that of one training, "trainings" is
    how many it is a mean of. A floor on which all trainings agree (pixels) stays as it is.

    >>> knn = merged([{"encoders": {"trained": {"knn": {"value": v, "sd": None, "n": 9}}}}
    ...               for v in (0.5, 0.7)])["encoders"]["trained"]["knn"]
    >>> {key: round(value, 4) for key, value in knn.items()}
    {'value': 0.6, 'sd': 0.1414, 'n': 9, 'trainings': 2}
    """
    first = results[0]
    if len(results) == 1:
        return first
    encoders: dict[str, dict[str, Any]] = {}
    for encoder, metrics in first["encoders"].items():
        if encoder != "trained" and all(measured(r, encoder) == metrics for r in results):
            encoders[encoder] = dict(metrics)
            continue
        spreads = {metric: over_seeds(results, encoder, metric) for metric in metrics}
        encoders[encoder] = {
            metric: {**metrics[metric], **spread._asdict()}
            for metric, spread in spreads.items()
            if spread.trainings == len(results)
        }
    return {**first, "encoders": encoders}


def by_seed(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Runs that differ in nothing but their seed, under one name: {name: its runs}.

    Args:
      configs: the resolved config of each run, as plain values.

    >>> care, byol = {"weight": 0.1}, {"weight": 0.0}
    >>> by_seed({"care_0": {**care, "seed": 0}, "care_1": {**care, "seed": 1}, "byol": byol})
    {'care': ['care_0', 'care_1'], 'byol': ['byol']}
    """
    groups: dict[str, list[str]] = {}
    for run, config in configs.items():
        settings = {key: value for key, value in config.items() if key != "seed"}
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(run)
    named: dict[str, list[str]] = {}
    for runs in groups.values():
        if len({configs[run].get("seed") for run in runs}) < len(runs):  # equal runs: no seeds
            named |= {run: [run] for run in runs}
            continue
        ends = re.compile(r"[-_ ,/]*(seed)?[-_ ]*\d+$")
        stems = {ends.sub("", run) for run in runs}
        name = stems.pop() if len(stems) == 1 else ""
        if len(runs) == 1 or not name or name in named or name in configs:
            name = runs[0] if len(runs) == 1 else ", ".join(runs)
        named[name] = runs
    return named


def what_bars_are(spreads: Sequence[Spread]) -> str:
    """The line of a figure that says what its bars are over; "" if it has none.

    >>> what_bars_are([Spread(0.5, 0.1, 3)])
    '± 1 sd over 3 trainings'
    """
    counts = {spread.trainings for spread in spreads if math.isfinite(spread.sd)}
    several = sorted(counts - {1})
    if not several:
        return "one training; pale: ± 1 sd within it" if counts else ""
    most = f"{several[0]}" if len(several) == 1 else f"{several[0]} to {several[-1]}"
    return f"± 1 sd over {most} trainings{'; pale: within one' if 1 in counts else ''}"
