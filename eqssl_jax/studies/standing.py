"""Who stands where in the benchmark: intervals, ties, ranks over seeds, and published numbers."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import scipy

from eqssl_jax import figures, methods, tabular
from eqssl_jax.measures.cards import HIGHER, LOWER
from eqssl_jax.studies.base import Outcome, Trainings, parts_of
from eqssl_jax.studies.significance import LEVEL, Numbers, apart, holm, interval
from eqssl_jax.tabular.metrics import describe
from eqssl_jax.tabular.published import published as tables
from eqssl_jax.tabular.seeds import over_seeds
from eqssl_jax.training.checkpoint import SCORE

Name = TypeVar("Name")  # of a run
ONE_EACH = "one training of each: no ranking"


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


def reaches(mean: float, constant: float, better: str | None) -> bool:
    """Whether a mean is better than what is reached without knowing the image, where known."""
    short = mean >= constant if better == LOWER else mean <= constant
    return better is None or not short


def cells(
    numbers: Numbers, metric: str, reference: str, *, constant: float = math.nan,
    ceilings: Collection[str] = (),
) -> dict[str, str]:  # fmt: skip
    """Of each run on one data set mean ± half interval, and how it stands to the reference.

    Ceilings are not compared with it, and nothing that falls short of the constant is better.
    """
    contenders = {run: values for run, values in numbers.items() if run not in ceilings}
    p = apart(contenders, reference) if reference in contenders else {}
    better = describe(metric).better
    shown = {}
    for run, values in numbers.items():
        mean, half = interval(list(values.values()))
        text = f"{mean:.3f} ± {half:.3f}" if math.isfinite(half) else f"{mean:.3f}"
        if run in p:
            common = set(values) & set(numbers[reference])
            above = sum(values[seed] - numbers[reference][seed] for seed in common) > 0
            words = "above" if above else "below"
            if better and above != (better == HIGHER):
                words = "worse"
            elif better:
                ahead = reaches(mean, constant, better)
                words = "better" if ahead else f"{words}, but short of the constant"
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


def leaders(numbers: Numbers, better: str, constant: float = math.nan) -> tuple[str, bool]:
    """The run with the best mean, and all that no paired test tells from it; whether there is one.

    None that falls short of the constant is among them.
    """
    several = {run: values for run, values in numbers.items() if len(values) > 1}
    if not several:
        return ONE_EACH, False
    means = {run: interval(list(values.values()))[0] for run, values in several.items()}
    good = [run for run, mean in means.items() if reaches(mean, constant, better)]
    if not good:
        side = "below" if better == LOWER else "above"
        return f"none: no mean is {side} the constant's {constant:.3f}", False
    best = max(good, key=lambda run: -means[run] if better == LOWER else means[run])
    p = apart(several, best)
    alike = [run for run, value in p.items() if value >= LEVEL]
    text = f"{best}; tied with it: {', '.join(r for r in alike if r in good) or 'none'}"
    if short := [run for run in alike if run not in good]:
        text += f"; not told from it, but short of the constant: {', '.join(short)}"
    untested = [run for run in numbers if run != best and math.isnan(p.get(run, math.nan))]
    if untested:
        text += f"; no p, for want of two common seeds or of a spread: {', '.join(untested)}"
    return text, True


class Compared(NamedTuple):
    """The runs on one data set.

    Attributes:
      runs: all of them, with their trainings.
      numbers: of each metric that some run has, its values by run and seed.
      constants: of each metric what is reached without knowing the image; NaN where not known.
      ceilings: the runs that learn from labels, which no other run is compared with.
      reference: the run that all others are compared with; "" without it.
    """

    runs: Trainings
    numbers: Mapping[str, Numbers]
    constants: Mapping[str, float]
    ceilings: Collection[str]
    reference: str

    def contenders(self, metric: str) -> Numbers:
        """The numbers of all runs that are no ceilings."""
        values = self.numbers[metric].items()
        return {run: by_seed for run, by_seed in values if run not in self.ceilings}


def compared(runs: Trainings, metrics: Sequence[str], reference: str) -> Compared:
    """What is compared of runs on one data set; the reference is found by what it begins with."""
    numbers = {
        metric: {run: values for run, o in runs.items() if (values := by_seed(o, metric))}
        for metric in metrics
    }
    numbers = {metric: by_run for metric, by_run in numbers.items() if by_run}
    # A method's own prediction has a chance level only where there is one.
    levels = {
        metric: next(filter(None, (by_seed(o, metric, "chance") for o in runs.values())), {})
        for metric in numbers
    }
    constants = {m: float(np.mean([*v.values()])) if v else math.nan for m, v in levels.items()}
    ceilings = {run for run, o in runs.items() if methods.learns_from_labels(o[0].config)}
    # Of trials, the one of the reference that was chosen has a suffix.
    other = next((run for run in runs if run.startswith(reference)), "")
    return Compared(runs, numbers, constants, ceilings, other)


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
        there = compared(runs, metrics, f"{reference}@{data}")
        lines += [f"\n## {data}\n", *_table(there), *_standing(there)]
        written += _pareto(there, axes, stem.with_name(f"{stem.name}-{data}-pareto.png"), data)
    path = stem.with_name(f"{stem.name}-intervals.md")
    lines += _beside(published) if published else []
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [path, *written]


_HEAD = """Mean ± half of Student's 95 % interval over trainings. (p): of the difference to
{reference} on the same seeds, paired t, after Holm over all runs on the data; from .05 on a tie.
"no p": all pairs differ alike, so that there is no spread to test by. A ceiling learns from the
labels: it takes no part in tests, ranks and leaders. What falls short of the constant leads
nothing, and is not better than anything."""


def _table(there: Compared) -> list[str]:
    numbers, runs = there.numbers, there.runs
    lines = [
        "| run | trainings | " + " | ".join(numbers) + " |",
        "|---|---|" + "---|" * len(numbers),
    ]
    columns = {
        metric: cells(
            by_run, metric, there.reference, constant=there.constants[metric],
            ceilings=there.ceilings,
        )
        for metric, by_run in numbers.items()
    }  # fmt: skip
    for run, outcomes in runs.items():
        shown = (columns[metric].get(run, "") for metric in numbers)
        title = f"{run} (ceiling)" if run in there.ceilings else run
        lines.append(f"| {title} | {len(outcomes)} | " + " | ".join(shown) + " |")
    beside = runs.get(there.reference, ())  # with which floors are measured
    floors = {
        title: [by_seed(beside, metric, encoder) for metric in numbers]
        for encoder, title in tabular.FLOORS.items()
    }
    constants = [{0: value} if math.isfinite(value) else {} for value in there.constants.values()]
    for title, values in {**floors, "constant or chance": constants}.items():
        if any(values):
            shown = (f"{np.mean(list(v.values())):.3f}" if v else "" for v in values)
            lines.append(f"| {title} | {len(beside)} | " + " | ".join(shown) + " |")
    return lines


def _standing(there: Compared) -> list[str]:
    """For each measure with a direction who leads, who is tied, and mean ranks over seeds."""
    heads = "best of several trainings, and tied with it", "mean rank over seeds (1: best)"
    lines = [f"\n| measure | {' | '.join(heads)} | p, Friedman |", "|---|---|---|---|"]
    rows, p = {}, {}
    for metric, constant in there.constants.items():
        better, by_run = describe(metric).better, there.contenders(metric)
        if better not in (HIGHER, LOWER) or not by_run:
            continue
        best, leads = leaders(by_run, better, constant)
        several = {run: values for run, values in by_run.items() if len(values) > 1}
        mean, p[metric] = ranks(several, better) if leads else ({}, math.nan)
        placed = sorted(mean.items(), key=lambda item: item[1])
        rows[metric] = best, ", ".join(f"{run} {rank:.1f}" for run, rank in placed)
    adjusted = holm({metric: value for metric, value in p.items() if math.isfinite(value)})
    for metric, (best, order) in rows.items():
        test = f"{adjusted[metric]:.3f} after Holm" if metric in adjusted else ""
        lines.append(f"| {metric} | {best} | {order} | {test} |")
    return lines if rows else []


def _pareto(there: Compared, axes: tuple[str, Sequence[str]], path: Path, data: str) -> list[Path]:
    numbers = there.numbers
    metric = next((m for m in axes[1] if m in numbers), "")
    if not metric or axes[0] not in numbers:
        return []
    points = {
        run.replace(f"@{data}", ""): (
            interval(list(values.values())),
            interval(list(numbers[axes[0]][run].values())),
        )
        for run, values in numbers[metric].items()
        if run in numbers[axes[0]]
    }
    ceilings = {run.replace(f"@{data}", "") for run in there.ceilings}
    return [figures.pareto(points, (metric, axes[0]), path, ceilings=ceilings)]


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
