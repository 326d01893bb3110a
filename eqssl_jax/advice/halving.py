"""Successive halving: which candidates go on after a round, and what is said of the others."""

from collections.abc import Mapping, Sequence
from typing import Any

from eqssl_jax.advice.candidates import Candidate
from eqssl_jax.advice.verdict import Evidence


def stops(count: int, most: int, steps: int) -> list[int]:
    """The step at which each round ends: after all but the last one, half of the candidates go.

    They are halved until at most `most` are left; h halvings cut the budget into h + 2 equal
    pieces, of which the last round has two.

    >>> stops(13, 16, 200), stops(25, 16, 300), stops(50, 16, 300)
    ([200], [100, 300], [75, 150, 300])
    """
    halvings = 0
    while count > most:
        count, halvings = 1 + count // 2, halvings + 1
    early = [max(1, steps * r // (halvings + 2)) for r in range(1, halvings + 1)]
    return [*early, steps]


def survivors(
    evidence: Sequence[Evidence], tables: Sequence[Candidate], metric: str
) -> list[Candidate]:
    """The base and the better half of the others, by the mean gain on the base over seeds.

    The gain is in what the verdict decides by: `metric`, or without labels the magnitude's R²; a
    part that has none there gains nothing.
    """
    name = "magnitude_r2" if metric == "label_free" else metric

    def score(candidate: Candidate) -> float:
        part = candidate.changed[0] if candidate.changed else ""
        # On the base for the same part: R² of one part says nothing beside that of another.
        return sum(
            seed[candidate.name][part].get(name, 0.0) - seed[tables[0].name][part].get(name, 0.0)
            for seed in evidence
        )

    ranked = sorted(tables[1:], key=score, reverse=True)
    best = {candidate.name for candidate in ranked[: (len(ranked) + 1) // 2]}
    return [tables[0], *(one for one in tables[1:] if one.name in best)]


def dropped(
    tables: Sequence[Candidate],
    kept: Sequence[Candidate],
    step: int,
    earlier: Mapping[str, str] = {},
) -> dict[str, str]:
    """What to say of the parts that lost a candidate, after what was said of them earlier."""
    gone: dict[str, list[str]] = {}
    for candidate in tables[1:]:
        if candidate not in kept and candidate.changed:
            gone.setdefault(candidate.changed[0], []).append(candidate.changed[1])
    return {
        part: f"{earlier.get(part, '')} Dropped at step {step}, in the worse half: "
        f"{', '.join(roles)}.".strip()
        for part, roles in gone.items()
    }


def merge(first: dict[str, Any], second: dict[str, Any], gone: Mapping[str, str]) -> dict[str, Any]:
    """The later round where a part still had roles to compare, else the earlier one and why.

    `first` is empty at the start.
    """
    found = dict(second["transformations"])
    for part, early in first.get("transformations", found).items():
        if part not in second["transformations"]:
            said = gone.get(part, "")
            reason = early["reason"] if said in early["reason"] else f"{early['reason']} {said}"
            found[part] = {**early, "reason": reason.strip()}
    order = first.get("transformations", found)
    return {**second, "transformations": {part: found[part] for part in order}}
