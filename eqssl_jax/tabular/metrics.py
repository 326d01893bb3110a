"""What the numbers of an evaluation are called, how they are printed, which lead a short table."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from eqssl_jax.measures.cards import HIGHER, LOWER, outputs

MISSING = "–"
# What a trained encoder must beat; "poses", of rendered scenes, is what none can.
FLOORS = {
    "random": "random encoder",
    "pixels": "raw pixels",
    "coordinates": "raw coordinates",
    "poses": "true poses and hues",
}
TITLES = {**FLOORS, "chance": "chance"}


class Metric(NamedTuple):
    """How a metric is shown.

    Attributes:
      title: a few words.
      better: "higher", "lower", or None where neither is a virtue by itself.
      format: a format specification of Python; one that ends in "%" shows a share in percent.
    """

    title: str
    better: str | None = None
    format: str = "#.3g"  # three significant digits, trailing zeros kept


# What advice and monitors measure beside the cards of evaluation.
_BESIDE = {
    "probe": Metric("Linear probe of one weight", HIGHER, ".1%"),
    "info_nce": Metric("Held-out InfoNCE", LOWER, ".3f"),
    # How much of the transformation the data itself contains: no direction, a fact about the data.
    "natural": Metric("Natural variation", None, ".3f"),
}
METRICS: Mapping[str, Metric] = {
    **{o.name: Metric(o.title, o.better, o.format) for o in outputs() if not o.family},
    **_BESIDE,
}
FAMILIES: Mapping[str, Metric] = {
    o.name: Metric(o.title, o.better, o.format) for o in outputs() if o.family
}
"""Metrics of one transformation each, of the features or of the embedding: name_part_embedding."""

HEADLINES = tuple(output.name for output in outputs() if output.headline)
"""The metrics of a short table: what was kept, what was gained."""

# Outputs of cards from outside the package, as the results say that have been read.
_OUTSIDE: dict[str, Metric] = {}


class Member(NamedTuple):
    """A metric of a family: of which transformation ("" for all), and whether of the embedding."""

    family: str
    part: str
    embedding: bool


def member(name: str) -> Member | None:
    """Which of `FAMILIES` a metric belongs to, if any.

    >>> member("order_accuracy_rotate_embedding")
    Member(family='order_accuracy', part='rotate', embedding=True)
    >>> member("order_accuracy_amid_rotate").family
    'order_accuracy_amid'
    >>> member("knn")
    """
    for family in sorted(FAMILIES, key=len, reverse=True):  # the longest name that fits
        if name == family or name.startswith(family + "_"):
            part = name.removeprefix(family)
            of_features = part.removesuffix("_embedding")
            return Member(family, of_features.lstrip("_"), of_features != part)
    return None


def describe(name: str) -> Metric:
    """The entry of `METRICS`; for a name that has none, what its spelling says.

    >>> describe("r2_position")
    Metric(title='R² of position', better='higher', format='.3f')
    >>> describe("order_accuracy_rotate_embedding").title
    'Order accuracy, rotate, embedding'
    >>> describe("r2").title
    'R² of factors'
    >>> describe("nodes_per_graph")
    Metric(title='nodes per graph', better=None, format='#.3g')
    """
    if name in METRICS or name in _OUTSIDE:
        return METRICS.get(name) or _OUTSIDE[name]
    if membership := member(name):
        words = [membership.part.replace("_", " ")] if membership.part else []
        words += ["embedding"] if membership.embedding else []
        base = FAMILIES[membership.family]
        return base._replace(title=", ".join([base.title, *words]))
    spelled = name.replace("_out_of_range", ", out of range").replace("_", " ")
    if name == "r2" or name.startswith("r2_"):  # "r2" alone: why no factor was measured
        return Metric("R² of " + (spelled.removeprefix("r2").strip() or "factors"), HIGHER, ".3f")
    if name.endswith(("_top1", "_top5", "_accuracy")):
        return Metric(spelled, HIGHER, ".1%")
    if name.endswith(("_error", "_residual")):
        return Metric(spelled, LOWER)
    return Metric(spelled)


def in_order(names: Iterable[str]) -> list[str]:
    """Distinct names in the order of `METRICS`, then by family; those of neither as first met.

    Within a family transformations stand as first met in any of them, features before embedding.

    >>> in_order(["kendall_tau_hue", "order_accuracy_rotate", "order_accuracy_hue", "odd", "knn"])
    ['knn', 'order_accuracy_hue', 'order_accuracy_rotate', 'kendall_tau_hue', 'odd']
    """
    distinct = dict.fromkeys(names)
    members = {name: membership for name in distinct if (membership := member(name))}
    parts = list(dict.fromkeys(membership.part for membership in members.values()))
    families = list(FAMILIES)
    by_family = sorted(
        members,
        key=lambda name: (
            families.index(members[name].family),
            parts.index(members[name].part),
            members[name].embedding,
        ),
    )
    ordered = [name for name in METRICS if name in distinct] + by_family
    return ordered + [name for name in distinct if name not in ordered]


def arrow(name: str) -> str:
    """↑ where higher is better, ↓ where lower is, nothing otherwise."""
    return {HIGHER: "↑", LOWER: "↓", None: ""}[describe(name).better]


def show(name: str, value: float | None, sd: float | None = None) -> str:
    """A value with its standard deviation, as the metric's format says.

    >>> show("knn", 0.7123, 0.0041), show("wahba", 0.3), show("wahba", None)
    ('71.2 ± 0.4%', '0.300', '–')
    """
    if value is None:
        return MISSING
    form = describe(name).format
    text = format(value, form).rstrip(".")
    if sd is None:
        return text
    if not math.isfinite(value):
        return text.removesuffix("%")
    # Significant digits of the value say nothing about those of its spread: two are enough.
    spread = format(sd, "#.2g" if form.endswith("g") else form).rstrip(".")
    return f"{text.removesuffix('%')} ± {spread}"


def measured(result: Mapping[str, Any], encoder: str) -> Mapping[str, Mapping[str, Any]]:
    """The measurements of one encoder ("trained" or a floor); empty where not measured.

    Cards from outside the package describe their numbers in the result: `describe` knows them then.
    """
    for name, words in result.get("described", {}).items():
        _OUTSIDE.setdefault(name, Metric(words["title"], words["better"], words["format"]))
    return result.get("encoders", {}).get(encoder, {})


def check_results(results: Mapping[str, Mapping[str, Any]], metrics: Iterable[str] | None) -> None:
    """Refuse what cannot be compared.

    Raises:
      ValueError: without results, for one without a trained encoder's numbers, or for a metric
        that neither the results nor `METRICS` know.
    """
    if not results:
        raise ValueError("There is nothing to compare: give at least one evaluation result.")
    for run, result in results.items():
        if not measured(result, "trained"):
            raise ValueError(
                f"The evaluation result of {run!r} holds no metric of its trained encoder (keys: "
                f"{', '.join(map(str, result)) or 'none'}): evaluate the run again."
            )
    listed = set(METRICS).union(*(measured(result, "trained") for result in results.values()))
    listed = listed.union(*(result.get("skipped", {}) for result in results.values()))
    unknown = [name for name in metrics or () if name not in listed]
    if unknown:
        raise ValueError(
            f"No result and no table of metrics knows {', '.join(map(repr, unknown))}; choose from "
            f"{', '.join(in_order(listed))}."
        )


ALWAYS = ("knn", "probe_top1", "principal_axis_error", "principal_axis_error_embedding")
# γ and the share that no rotation explains lead; an encoder that ignores the transformation, or has
# collapsed, does well in both, so that invariance and effective rank stand beside them.
ROTATIONAL = ("gamma", "rotation_residual", "invariance_error", "effective_rank")
ROLES: Mapping[str, tuple[str, ...]] = {
    "invariant": ("invariance_error", "effective_rank"),
    "rotational": (*ROTATIONAL, "trajectory_step_variation"),
}
PARTS: Mapping[str, tuple[str, ...]] = {  # one for each part that has the role
    # What the loss acts on is the embedding, what is taken away the features: both.
    "ordered": ("order_accuracy_amid_{}", "order_accuracy_amid_{}_embedding", "magnitude_r2_{}"),
    "predicted": ("change_r2_{}",),
}


def headlines(metrics: Iterable[str], tables: Iterable[Mapping[str, str]]) -> list[str]:
    """The measurements, of those there are, that runs with these roles are judged by.

    Args:
      metrics: what was measured.
      tables: of each run the role of every part; without any, what a rotational role is judged by.

    >>> measured = ["knn", "gamma", "r2_hue", "order_accuracy_amid_rotate", "invariance_error"]
    >>> headlines(measured, [{"crop": "invariant", "rotate": "ordered"}])
    ['knn', 'invariance_error', 'order_accuracy_amid_rotate']
    """
    held: dict[str, None] = dict.fromkeys(ALWAYS)
    tables = list(tables)
    roles = {role for table in tables for role in table.values()}
    for role in ROLES.keys() & roles if roles else {"rotational"}:
        held |= dict.fromkeys(ROLES[role])
    for table in tables:
        for part, role in table.items():
            held |= dict.fromkeys(name.format(part) for name in PARTS.get(role, ()))
    order = [*ALWAYS, *ROLES["rotational"], *held]
    measured = set(metrics)
    return [name for name in dict.fromkeys(order) if name in held and name in measured]
