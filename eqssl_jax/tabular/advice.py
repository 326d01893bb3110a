"""Which role each transformation was advised, and on what evidence, as a table.

Advice is `{"metric": name, "transformations": {part: {"roles": {role: {metric: {"value", "low",
"high", "n"}}}, "advice": role or None, "reason": text}}, "floor": {metric: value}}`; `None` is "no
clear difference", and a metric that was not measured for a role is left out. Under `OBJECTIVES`
stand, in place of a transformation and its roles, what is trained: the base, and it with a method.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from eqssl_jax.tabular.metrics import MISSING, describe, show
from eqssl_jax.tabular.tables import title
from eqssl_jax.tabular.writers import Sheet

Advice = Mapping[str, Any]
ROLES = ("invariant", "ordered", "rotational", "predicted", "off")
WITH_LABELS = ("probe_top1", "knn")
LABEL_FREE = ("order_accuracy_amid", "order_accuracy", "magnitude_r2", "info_nce", "natural")
OBJECTIVES, BASE = "config.objectives", "base"  # with a dot, as no transformation is named
UNDECIDED = "no clear difference"
MARK = "✓"


class Evidence(NamedTuple):
    """One measurement with its interval; None where there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None


class Trial(NamedTuple):
    """One role of one transformation, whether it is the advised one, and its evidence by metric."""

    part: str
    role: str
    advised: bool
    cells: tuple[Evidence, ...]


class Verdict(NamedTuple):
    """The role a transformation should have (None: no clear difference), and why."""

    part: str
    role: str | None
    reason: str


class AdviceTable(NamedTuple):
    """Roles tried as rows, metrics as columns, a verdict for each transformation, and floors."""

    metrics: tuple[str, ...]
    rows: tuple[Trial, ...]
    verdicts: tuple[Verdict, ...]
    floor: Mapping[str, float]

    def sheet(self) -> Sheet:
        """The evidence written out; in a CSV also the ends of intervals and their n."""
        numbers = [f"{m}{end}" for m in self.metrics for end in ("", " low", " high", " n")]
        records: list[list[Any]] = [["transformation", "role", "advised", *numbers]]
        rows = []
        for row in self.rows:
            values = [number for cell in row.cells for number in cell]
            records.append([row.part, row.role, "yes" if row.advised else "no", *values])
            texts = [interval(m, cell) for m, cell in zip(self.metrics, row.cells, strict=True)]
            rows.append((row.part, f"{MARK} {row.role}" if row.advised else row.role, *texts))
        notes = [*map(_reason, self.verdicts), *_legend(self.floor)]
        columns = tuple(map(title, self.metrics))
        return Sheet(("Transformation", "Role"), columns, rows, notes, records)


def advice_table(advice: Advice) -> AdviceTable:
    """The evidence by transformation and role; `sheet` writes it out.

    Columns are the metrics with at least one number: the deciding one first, then those that need
    labels, then those that do not.

    Args:
      advice: see the docstring of the module.
    """
    parts, floor = advice["transformations"], _floor(advice.get("floor") or {})
    # Stable: all but the deciding one keep their order.
    order = sorted((*WITH_LABELS, *LABEL_FREE), key=lambda name: name != advice.get("metric"))
    cells = {
        (part, role): {m: _evidence(trials["roles"][role].get(m)) for m in order}
        for part, trials in parts.items()
        for role in _sorted(part, trials["roles"])
    }
    metrics = tuple(m for m in order if any(c[m].value is not None for c in cells.values()))
    rows = tuple(
        Trial(part, role, parts[part].get("advice") == role, tuple(trials[m] for m in metrics))
        for (part, role), trials in cells.items()
    )
    verdicts = tuple(
        Verdict(part, trials.get("advice"), " ".join(str(trials.get("reason") or "").split()))
        for part, trials in parts.items()
    )
    return AdviceTable(metrics, rows, verdicts, {m: floor[m] for m in metrics if m in floor})


def _sorted(part: str, roles: Iterable[str]) -> list[str]:
    """Roles in the order of their table; of methods the base first, the others as they come."""
    if part == OBJECTIVES:
        return sorted(roles, key=lambda role: role != BASE)
    return sorted(roles, key=ROLES.index)


def _floor(floor: Mapping[str, Any]) -> dict[str, float]:
    """The floors that are numbers."""
    return {m: float(v) for m, v in floor.items() if v is not None and math.isfinite(v)}


def _evidence(measurement: Mapping[str, Any] | None) -> Evidence:
    """A measurement; empty without a finite number, without an interval where it has none."""
    numbers = [(measurement or {}).get(name) for name in ("value", "low", "high")]
    value, low, high = (None if x is None or not math.isfinite(x) else float(x) for x in numbers)
    if value is None:
        return Evidence()
    if low is None or high is None:
        return Evidence(value, n=(measurement or {}).get("n"))
    return Evidence(value, low, high, (measurement or {}).get("n"))


def interval(metric: str, cell: Evidence) -> str:
    """A value with its interval, as the metric's format says.

    >>> interval("knn", Evidence(0.612, 0.589, 0.634, 3)), interval("knn", Evidence())
    ('61.2% [58.9, 63.4]', '–')
    """
    if cell.value is None:
        return MISSING
    if cell.low is None or cell.high is None:
        return show(metric, cell.value)
    low, high = (show(metric, bound).removesuffix("%") for bound in (cell.low, cell.high))
    return f"{show(metric, cell.value)} [{low}, {high}]"


def _reason(verdict: Verdict) -> str:
    reason = f" – {verdict.reason}" if verdict.reason else ""
    return f"{verdict.part}: {verdict.role or UNDECIDED}{reason}"


def _legend(floor: Mapping[str, float]) -> list[str]:
    notes = [
        f"{MARK} advised role, [low, high] its interval, ↑ higher is better, ↓ lower is better."
    ]
    if floor:
        floors = [f"{describe(m).title} {show(m, value)}" for m, value in floor.items()]
        notes.append(f"Floor: {'; '.join(floors)}.")
    return notes
