"""Does advice hold? Its ranking of candidates beside that of longer trainings; its encoders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
from jax.tree_util import Partial
from jaxtyping import Float

from eqssl_jax.advice.candidates import candidates
from eqssl_jax.advice.fleet import pick
from eqssl_jax.advice.run import Round, read_evidence, restore
from eqssl_jax.advice.verdict import Evidence
from eqssl_jax.tabular.advice import BASE, OBJECTIVES
from eqssl_jax.training.setup import Setup, setup
from eqssl_jax.training.workdir import read_config


class Agreement(NamedTuple):
    """How well small trainings ranked what large ones did.

    Attributes:
      candidates: names, of those that both have.
      small, large: mean of the metric over seeds, [K].
      correlation: Spearman's ρ of the two.
      low, high: 90 % interval of ρ, by bootstrap over candidates; NaN for a perfect ranking, every
        resample of which is perfect too, so that the bootstrap would be sure of any seven.
    """

    candidates: tuple[str, ...]
    small: Float[np.ndarray, " k"]
    large: Float[np.ndarray, " k"]
    correlation: float
    low: float
    high: float


class Regret(NamedTuple):
    """What following the advice for one part cost, in points of accuracy of the large trainings.

    Attributes:
      advised: the role that is followed: the advised one, or the base's own without a clear one.
      best: the best role in the large trainings.
      regret: accuracy of `best` minus that of `advised`, ≥ 0.
      unadvised: the same for keeping the role of the base: what the advice was to save.
      by_seed, unadvised_by_seed: both for each seed of the large trainings, with the same `best`;
        their means are the two above.
    """

    advised: str
    best: str
    regret: float
    unadvised: float
    by_seed: tuple[float, ...]
    unadvised_by_seed: tuple[float, ...]


def agreement(
    small: Sequence[Evidence], large: Sequence[Evidence], *, metric: str = "probe_top1"
) -> Agreement:
    """Rank correlation of candidates between small and large trainings.

    Args:
      small, large: evidence of each seed, as advice wrote it.
      metric: one that is the same for all parts.

    Raises:
      ValueError: for fewer than three common candidates, or a metric that one lacks.
    """
    common = [name for name in small[0] if name in large[0] and name != "random"]
    if len(common) < 3:
        raise ValueError(f"A ranking needs at least three common candidates, found {common}.")
    a, b = (
        np.array([_mean(evidence, name, metric) for name in common]) for evidence in (small, large)
    )
    rng = np.random.default_rng(0)
    drawn = [_spearman(a[rows], b[rows]) for rows in _resamples(rng, len(common))]
    low, high = np.nanquantile(drawn, [0.05, 0.95])
    correlation = _spearman(a, b)
    if abs(correlation) > 1 - 1e-9:
        low = high = float("nan")
    return Agreement(tuple(common), a, b, correlation, float(low), float(high))


def regrets(
    advice: Mapping[str, Any], large: Sequence[Evidence], *, metric: str = "probe_top1"
) -> dict[str, Regret]:
    """The regret of each part's advice; parts that the large trainings did not vary are left out.

    Args:
      advice: what `advise` returned or wrote to advice.json.
      large: evidence of each seed of the large trainings, with the same base and roles.
      metric: as for `agreement`.
    """
    by_part = {}
    for part, verdict in advice["transformations"].items():
        decisive = verdict["own"]
        names = {role: f"{part}_{role}" for role in verdict["roles"]} | {decisive: BASE}
        if part == OBJECTIVES:
            names = {role: role for role in verdict["roles"]}
        if not all(name in large[0] for name in names.values()):
            continue
        real = {role: _values(large, name, metric) for role, name in names.items()}
        advised, best = (
            verdict["advice"] or decisive,
            max(real, key=lambda role: np.mean(real[role])),
        )
        lacking = [tuple(map(float, real[best] - real[role])) for role in (advised, decisive)]
        by_part[part] = Regret(advised, best, *map(float, np.mean(lacking, axis=1)), *lacking)
    return by_part


def _mean(evidence: Sequence[Evidence], name: str, metric: str) -> float:
    return float(np.mean(_values(evidence, name, metric)))


def _values(evidence: Sequence[Evidence], name: str, metric: str) -> np.ndarray:
    """Of each seed."""
    try:
        return np.array([next(iter(seed[name].values()))[metric] for seed in evidence])
    except (KeyError, StopIteration):
        raise ValueError(
            f"The evidence has no {metric} of {name}: take data with labels, and the same "
            f"config.advice.roles and parts in both."
        ) from None


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:  # no ranking at all
        return float("nan")
    return float(scipy.stats.spearmanr(a, b).statistic)


def _resamples(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    return [rng.integers(0, count, count) for _ in range(2000)]


def load_encoders(workdir: Path) -> tuple[Setup, dict[int, dict[str, Partial]]]:
    """What advice trained: its setup, and the frozen encoders of the last round by seed and name.

    "random" is the untrained one.

    Raises:
      FileNotFoundError: if `workdir` holds no finished advice.
    """
    config = read_config(workdir)
    run = setup(config, training=False, workdir=workdir, roles=config.advice.roles)
    tables = candidates(run.config, run.recipe)
    loaded: dict[int, dict[str, Partial]] = {}
    for seed in range(run.config.seed, run.config.seed + run.config.advice.seeds):
        rounds = sorted((workdir / f"seed_{seed}").glob("round_*/evidence.json"))
        if not rounds:
            raise FileNotFoundError(f"{workdir} holds no finished advice for seed {seed}.")
        measured = read_evidence(rounds[-1])
        kept = [candidate for candidate in tables if candidate.name in measured]
        number = int(rounds[-1].parent.name.removeprefix("round_"))
        last = Round(number, kept, run.steps, (), tables)
        loaded[seed] = {}
        for program in last.programs():
            start = program.fleet(run).init(seed)
            states = restore(program.folder(workdir, seed), start)
            named = enumerate(program.tables)
            loaded[seed] |= {c.name: run.encoder(pick(states, k)) for k, c in named}
            loaded[seed].setdefault("random", run.encoder(pick(start, 0)))
    return run, loaded
