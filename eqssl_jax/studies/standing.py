"""Who stands where in the benchmark: intervals, ties, ranks over seeds, and published numbers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import scipy

from eqssl_jax import figures, tabular
from eqssl_jax.measures.cards import HIGHER, LOWER
from eqssl_jax.studies.base import Outcome, Trainings, parts_of
from eqssl_jax.tabular.metrics import describe
from eqssl_jax.tabular.published import published as tables
from eqssl_jax.tabular.seeds import over_seeds
from eqssl_jax.training.checkpoint import SCORE

LEVEL = 0.05
Name = TypeVar("Name")  # of a run
ONE_EACH = "one training of each: no ranking"


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


def data_of(run: str) -> str:
    """Of method@data or method@data:compute."""
    return parts_of(run)[1]


def by_seed(outcomes: Sequence[Outcome], metric: str, encoder: str = "trained") -> dict[int, float]:
    """A number of the last evaluated step by seed, of the trainings that have it."""
    numbers = {}
    for outcome in outcomes:
        number = over_seeds([outcome.last()], encoder, metric)
        if number.trainings:
            numbers[int(outcome.config.seed)] = number.value
    return numbers


def score(outcome: Outcome) -> float:
    """kNN accuracy on validation at the last step that has it; NaN without any."""
    scores = (float(line[SCORE]) for line in reversed(outcome.records) if SCORE in line)
    return next(scores, math.nan)


def at_common_seeds(runs: Mapping[Name, Sequence[Outcome]]) -> dict[Name, list[Outcome]]:
    """Of each run the trainings from the seeds that all have, so that a choice among them is fair.

    Nothing without such a seed.
    """
    seeds = {run: {int(o.config.seed): o for o in outcomes} for run, outcomes in runs.items()}
    common = sorted(set.intersection(*map(set, seeds.values())))
    return {run: [of_run[seed] for seed in common] for run, of_run in seeds.items() if common}


def mean_scores(runs: Mapping[Name, Sequence[Outcome]]) -> dict[Name, float]:
    """Of each run the mean `score` of its trainings; NaN where one has none."""
    return {run: float(np.mean([*map(score, outcomes)])) for run, outcomes in runs.items()}


Numbers = Mapping[str, Mapping[int, float]]  # by run, then by seed


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


def cells(numbers: Numbers, metric: str, reference: str) -> dict[str, str]:
    """Of each run on one data set mean ± half interval, and how it stands to the reference."""
    p = apart(numbers, reference) if reference in numbers else {}
    better = describe(metric).better
    shown = {}
    for run, values in numbers.items():
        mean, half = interval(list(values.values()))
        text = f"{mean:.3f} ± {half:.3f}" if math.isfinite(half) else f"{mean:.3f}"
        if run in p:
            common = set(values) & set(numbers[reference])
            above = sum(values[seed] - numbers[reference][seed] for seed in common) > 0
            words = ("better" if above == (better == HIGHER) else "worse") if better else (
                "above" if above else "below"
            )  # fmt: skip
            tested = f"{'tie' if p[run] >= LEVEL else words}, p {p[run]:.3f}"
            text += f" ({'no p' if math.isnan(p[run]) else tested})"
        shown[run] = text
    return shown


def ranks(numbers: Numbers, better: str) -> tuple[dict[str, float], float]:
    """Mean rank of each run over the seeds that all have (1: best; ties share theirs), and p.

    p is Friedman's, of all runs being alike; NaN for fewer than three runs or two seeds.
    """
    seeds = sorted(set.intersection(*map(set, numbers.values())))
    if not seeds:
        return {}, math.nan
    table = np.array([[numbers[run][seed] for seed in seeds] for run in numbers])  # [runs, seeds]
    placed = scipy.stats.rankdata(-table if better == HIGHER else table, axis=0).mean(axis=1)
    p = math.nan
    if len(numbers) > 2 and len(seeds) > 1 and np.ptp(table, axis=0).any():
        p = float(scipy.stats.friedmanchisquare(*table).pvalue)
    return dict(zip(numbers, map(float, placed), strict=True)), p


def leaders(numbers: Numbers, better: str) -> str:
    """The run with the best mean, and all that no paired test tells from it."""
    several = {run: values for run, values in numbers.items() if len(values) > 1}
    if not several:
        return ONE_EACH
    sign = 1 if better == HIGHER else -1
    best = max(several, key=lambda run: sign * interval(list(several[run].values()))[0])
    p = apart(several, best)
    tied = [run for run, value in p.items() if value >= LEVEL]
    untested = [run for run in numbers if run != best and math.isnan(p.get(run, math.nan))]
    text = f"{best}; tied with it: {', '.join(tied) or 'none'}"
    if untested:
        text += f"; no p, for want of two common seeds or of a spread: {', '.join(untested)}"
    return text


def report(
    trainings: Trainings, stem: Path, *, metrics: Sequence[str], axes: tuple[str, Sequence[str]],
    reference: str, note: str = "", published: Sequence[str] = (),
) -> list[Path]:  # fmt: skip
    """<stem>-intervals.md and, for each data set, <stem>-<data>-pareto.png.

    Args:
      trainings: named method@data, or method@data:compute.
      metrics: columns.
      axes: of the picture: the one of classes, and those of equivariance, the first there is.
      reference: the method that all others are compared with.
      note: a paragraph about the runs.
      published: names of tables of other data, which are printed below.
    """
    head = _HEAD.format(reference=reference)
    lines, written = [f"{head}\n{note}" if note else head], []
    for data in dict.fromkeys(map(data_of, trainings)):
        runs = {run: outcomes for run, outcomes in trainings.items() if data_of(run) == data}
        numbers = {
            metric: {run: values for run, o in runs.items() if (values := by_seed(o, metric))}
            for metric in metrics
        }
        numbers = {metric: by_run for metric, by_run in numbers.items() if by_run}
        # Of trials, the one of the reference that was chosen has a suffix.
        other = next((run for run in runs if run.startswith(f"{reference}@{data}")), "")
        lines += [f"\n## {data}\n", *_table(runs, numbers, other)]
        lines += _standing(numbers)
        written += _pareto(numbers, axes, stem.with_name(f"{stem.name}-{data}-pareto.png"), data)
    path = stem.with_name(f"{stem.name}-intervals.md")
    lines += _beside(published) if published else []
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [path, *written]


_HEAD = """Mean ± half of Student's 95 % interval over trainings. (p): of the difference to
{reference} on the same seeds, paired t, after Holm over all runs on the data; from .05 on a tie.
"no p": all pairs differ alike, so that there is no spread to test by."""


def _table(
    runs: Mapping[str, Sequence[Outcome]], numbers: Mapping[str, Numbers], reference: str
) -> list[str]:
    lines = [
        "| run | trainings | " + " | ".join(numbers) + " |",
        "|---|---|" + "---|" * len(numbers),
    ]
    columns = {metric: cells(by_run, metric, reference) for metric, by_run in numbers.items()}
    for run, outcomes in runs.items():
        shown = (columns[metric].get(run, "") for metric in numbers)
        lines.append(f"| {run} | {len(outcomes)} | " + " | ".join(shown) + " |")
    beside = runs.get(reference, ())  # with which floors and ceilings are measured
    for encoder, title in {**tabular.FLOORS, "chance": "constant or chance"}.items():
        # A method's own prediction has a chance level only where there is one.
        sources = list(runs.values()) if encoder == "chance" else [beside]
        values = [
            next((levels for run in sources if (levels := by_seed(run, metric, encoder))), {})
            for metric in numbers
        ]
        if any(values):
            shown = (f"{np.mean(list(v.values())):.3f}" if v else "" for v in values)
            lines.append(f"| {title} | {len(beside)} | " + " | ".join(shown) + " |")
    return lines


def _standing(numbers: Mapping[str, Numbers]) -> list[str]:
    """For each measure with a direction who leads, who is tied, and mean ranks over seeds."""
    heads = "best of several trainings, and tied with it", "mean rank over seeds (1: best)"
    lines = [f"\n| measure | {' | '.join(heads)} | p, Friedman |", "|---|---|---|---|"]
    rows, p = {}, {}
    for metric, by_run in numbers.items():
        better = describe(metric).better
        several = {run: values for run, values in by_run.items() if len(values) > 1}
        if better not in (HIGHER, LOWER):
            continue
        mean, p[metric] = ranks(several, better) if several else ({}, math.nan)
        placed = sorted(mean.items(), key=lambda item: item[1])
        rows[metric] = leaders(by_run, better), ", ".join(f"{run} {r:.1f}" for run, r in placed)
    adjusted = holm({metric: value for metric, value in p.items() if math.isfinite(value)})
    for metric, (best, order) in rows.items():
        test = f"{adjusted[metric]:.3f} after Holm" if metric in adjusted else ""
        lines.append(
            f"| {metric} | {best} | {order if 'no ranking' not in best else ''} | {test} |"
        )
    return lines if rows else []


def _pareto(
    numbers: Mapping[str, Numbers], axes: tuple[str, Sequence[str]], path: Path, data: str
) -> list[Path]:
    metric = next((m for m in axes[1] if m in numbers), "")
    if not metric or axes[0] not in numbers:
        return []
    both = {run: v for run, v in numbers[metric].items() if run in numbers[axes[0]]}
    points = {
        run.replace(f"@{data}", ""): (
            interval(list(values.values())),
            interval(list(numbers[axes[0]][run].values())),
        )
        for run, values in both.items()
    }
    return [figures.pareto(points, (metric, axes[0]), path)]


def _beside(names: Sequence[str]) -> list[str]:
    """What the methods' papers report on other data, each table with its source."""
    lines = [
        "\n## Published, on other data and at another scale: not to be compared with the above"
    ]
    for name in names:
        table = tables()[name]
        columns = dict.fromkeys(column for _, column in table.cells)
        lines += [f"\n{table.metric}; {table.setting}. {table.cite()}.\n"]
        lines += ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
        for row in dict.fromkeys(row for row, _ in table.cells):
            entries = (table.cells.get((row, column)) for column in columns)
            shown = (f"{e.value:.3f}" if e and e.value is not None else "" for e in entries)
            lines.append(f"| {row} | " + " | ".join(shown) + " |")
    return lines
