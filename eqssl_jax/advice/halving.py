"""Successive halving: which candidates go on after a round, and what is said of the others."""

from collections.abc import Mapping, Sequence
from typing import Any

from eqssl_jax.advice.candidates import Candidate
from eqssl_jax.advice.verdict import Evidence


def survivors(
    evidence: Sequence[Evidence], tables: Sequence[Candidate], metric: str
) -> list[Candidate]:
    """The base and the better half of the others, by the mean gain on the base over seeds."""

    def score(candidate: Candidate) -> float:
        part = candidate.changed[0] if candidate.changed else ""
        name, sign = ("info_nce", -1) if metric == "label_free" else (metric, 1)
        # On the base: InfoNCE with one part at rest says nothing beside that with another at rest.
        return sign * sum(
            seed[candidate.name][part][name] - seed[tables[0].name][part][name] for seed in evidence
        )

    ranked = sorted(tables[1:], key=score, reverse=True)
    best = {candidate.name for candidate in ranked[: (len(ranked) + 1) // 2]}
    return [tables[0], *(one for one in tables[1:] if one.name in best)]


def dropped(tables: Sequence[Candidate], kept: Sequence[Candidate], step: int) -> dict[str, str]:
    """What to say of the parts that lost a candidate."""
    gone: dict[str, list[str]] = {}
    for candidate in tables[1:]:
        if candidate not in kept and candidate.changed:
            gone.setdefault(candidate.changed[0], []).append(candidate.changed[1])
    return {
        part: f"Dropped at step {step}, in the worse half: {', '.join(roles)}."
        for part, roles in gone.items()
    }


def merge(first: dict[str, Any], second: dict[str, Any], gone: Mapping[str, str]) -> dict[str, Any]:
    """The second round where a part still had roles to compare, else the first and why."""
    found = {}
    for part, early in first["transformations"].items():
        alone = {**early, "reason": f"{early['reason']} {gone.get(part, '')}".strip()}
        found[part] = second["transformations"].get(part, alone)
    return {**second, "transformations": found}
