"""The primary claims on CARE: differences to SimCLR paired by seed, and whether each holds.

Written down before the runs: docs/results/protocol.md. The ten are one family for Holm, also while
some have no pair of trainings yet.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from eqssl_jax import tabular
from eqssl_jax.measures.cards import HIGHER, LOWER
from eqssl_jax.studies.base import Trainings
from eqssl_jax.studies.significance import LEVEL, holm, interval, paired_p
from eqssl_jax.studies.standing import by_seed
from eqssl_jax.tabular.metrics import MISSING, describe

REFERENCE = "simclr"
COMPARED = {"CARE": "simclr_care", "two-view CARE": "simclr_two_views"}
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"


class Claim(NamedTuple):
    """That the difference to SimCLR lies on one side of a bound.

    Attributes:
      title: a few words.
      metric: of the last evaluation.
      side: LOWER: the difference lies below the bound; HIGHER: above it.
      bound: in the unit of the metric; not 0 where a margin is allowed.
    """

    title: str
    metric: str
    side: str
    bound: float = 0.0


CLAIMS = (
    Claim("distances are kept", "gamma", LOWER),
    Claim("one rotation explains more", "rotation_residual", LOWER),
    Claim("rotations compose", "composition_held_out", LOWER),
    Claim("no collapse", "effective_rank", HIGHER, -1.0),
    Claim("accuracy is not worse by more than a point", "probe_top1", HIGHER, -0.01),
)


class Judged(NamedTuple):
    """A claim with its evidence.

    Attributes:
      compared: a key of `COMPARED`.
      claim: one of `CLAIMS`.
      pairs: seeds that both runs have.
      means: of the compared run and of SimCLR, over these seeds; NaN without any.
      difference, half: mean difference and half of Student's 95 % interval; NaN for fewer than two.
      p, adjusted: two-sided paired t test of the difference against the bound; after Holm over all;
        NaN without two pairs, and where all pairs differ alike.
      verdict: HOLDS or FAILS where the interval lies on one side of the bound and the adjusted p is
        below .05; else UNDECIDED.
    """

    compared: str
    claim: Claim
    pairs: int
    means: tuple[float, float]
    difference: float
    half: float
    p: float
    adjusted: float
    verdict: str


def judge(trainings: Trainings) -> list[Judged]:
    """All claims; one without a p is undecided, and counts as 1 for Holm."""
    rows: dict[str, Judged] = {}
    for compared, run in COMPARED.items():
        for claim in CLAIMS:
            ours, theirs = (
                by_seed(trainings.get(name, ()), claim.metric) for name in (run, REFERENCE)
            )
            seeds = sorted(set(ours) & set(theirs))
            gaps = [ours[seed] - theirs[seed] for seed in seeds]
            means = _mean(ours, seeds), _mean(theirs, seeds)
            difference, half = interval(gaps) if gaps else (math.nan, math.nan)
            p = paired_p(gaps, claim.bound) if len(gaps) > 1 else math.nan
            rows[f"{compared}: {claim.metric}"] = Judged(
                compared, claim, len(gaps), means, difference, half, p, math.nan, UNDECIDED
            )
    adjusted = holm({name: row.p for name, row in rows.items()})
    return [
        row._replace(adjusted=adjusted[name], verdict=_verdict(row, adjusted[name]))
        for name, row in rows.items()
    ]


def _mean(numbers: Mapping[int, float], seeds: list[int]) -> float:
    return sum(numbers[seed] for seed in seeds) / len(seeds) if seeds else math.nan


def _verdict(row: Judged, adjusted: float) -> str:
    low, high = row.difference - row.half, row.difference + row.half
    below, above = high < row.claim.bound, low > row.claim.bound  # False for NaN
    if not (adjusted < LEVEL and (below or above)):  # so, too, where it is NaN
        return UNDECIDED
    return HOLDS if below == (row.claim.side == LOWER) else FAILS


def report(trainings: Trainings, stem: Path) -> list[Path]:
    """Print the claims and write them as <stem>-claims.md and .csv; nothing without SimCLR."""
    if REFERENCE not in trainings:
        return []
    table = sheet(judge(trainings))
    print("\n" + tabular.as_text(table), flush=True)
    forms = {".md": tabular.as_markdown, ".csv": tabular.as_csv}
    written = [stem.with_name(f"{stem.name}-claims{suffix}") for suffix in forms]
    for path, form in zip(written, forms.values(), strict=True):
        path.write_text(form(table), encoding="utf-8")
    return written


_NOTES = (
    "Differences are of trainings with the same seed (equal weights, order of images and random "
    "key), [ ] Student's 95 % interval; p of a two-sided paired t test against the bound, after "
    "Holm over the ten. A claim holds, or does not hold, where the interval lies on that side of "
    "the bound and the adjusted p is below .05; else it is undecided, as it is without a p, where "
    "there are fewer than two pairs or all differ alike. All else is exploratory.",
)


def sheet(rows: list[Judged]) -> tabular.Sheet:
    """The claims as a table; shares in percent, their differences in points."""
    records: list[list[object]] = [
        ["compared", "claim", "metric", "pairs", "mean", "mean of SimCLR", "difference", "low",
         "high", "bound", "p", "p after Holm", "verdict"]
    ]  # fmt: skip
    shown = []
    for row in rows:
        claim, scale = row.claim, 100.0 if describe(row.claim.metric).format.endswith("%") else 1.0
        values = (*row.means, row.difference, row.difference - row.half, row.difference + row.half)
        numbers = [_text(scale * value) for value in values]
        bound = f"{'below' if claim.side == LOWER else 'above'} {scale * claim.bound:g}"
        p = MISSING if math.isnan(row.p) else f"{row.p:.3g} ({row.adjusted:.3g})"
        shown.append((
            row.compared, claim.title, f"{describe(claim.metric).title}{', %' * (scale > 1)}",
            str(row.pairs), *numbers[:2], f"{numbers[2]} [{numbers[3]}, {numbers[4]}]", bound, p,
            row.verdict,
        ))  # fmt: skip
        records.append([
            row.compared, claim.title, claim.metric, row.pairs,
            *(None if math.isnan(value) else value for value in values), claim.bound,
            *(None if math.isnan(p) else p for p in (row.p, row.adjusted)), row.verdict,
        ])  # fmt: skip
    columns = ("measure", "pairs", "mean", "SimCLR", "difference", "holds if", "p (Holm)", "")
    title = "Primary claims: CARE less SimCLR, paired by seed"
    return tabular.Sheet(("compared", "claim"), columns, shown, _NOTES, records, title)


def _text(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.3g}"
