"""What the numbers of an evaluation are called, which way is better, and how they are printed."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

HIGHER, LOWER = "higher", "lower"
MISSING = "–"
# What a trained encoder must beat.
FLOORS = {
    "random": "random encoder",
    "pixels": "raw pixels",
    "coordinates": "raw coordinates",
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


METRICS: Mapping[str, Metric] = {
    "knn": Metric("kNN accuracy", HIGHER, ".1%"),
    "probe_top1": Metric("Linear probe, top-1", HIGHER, ".1%"),
    "probe_top5": Metric("Linear probe, top-5", HIGHER, ".1%"),
    "care_probe_top1": Metric("Linear probe as in CARE, top-1", HIGHER, ".1%"),
    "care_probe_top5": Metric("Linear probe as in CARE, top-5", HIGHER, ".1%"),
    "gamma": Metric("Relative equivariance γ", LOWER),
    "gamma_dropped": Metric("Pairs left out of γ", None, ",.0f"),
    "rotation_residual": Metric("Change no rotation explains", LOWER, ".3f"),
    "effective_rank": Metric("Effective rank", None, ".1f"),
    # No direction: a rotational role gives up invariance on purpose.
    "invariance_error": Metric("Invariance error"),
    "positive_cosine": Metric("Cosine of positive pairs"),
    "cosine_variance": Metric("Variance of the cosine"),
    "gram_error": Metric("Gram error", LOWER),
    "wahba": Metric("Wahba error W", LOWER),
    "wahba_per_root_n": Metric("Wahba error W/√n", LOWER),
    "wahba_held_out_per_root_n": Metric("Wahba W/√n, held-out images", LOWER),
    # These two may be claimed: other images, where there are embeddings, relative to the move.
    "composition_held_out": Metric("Composition gap / displacement, held-out images", LOWER, ".3f"),
    "composition_residual": Metric(
        "Change composed rotations leave, held-out images", LOWER, ".3f"
    ),
    # As quoted in the paper: directions without data count in full, so no direction of better.
    "composition_error": Metric("Composition error"),
    "composition_relative": Metric("Composition error / √(2d)"),
    "composition_on_data": Metric("Composition error on the data"),
    "info_nce": Metric("Held-out InfoNCE", LOWER, ".3f"),
    # How much of the transformation the data itself contains: no direction, a fact about the data.
    "natural": Metric("Natural variation", None, ".3f"),
    # Point clouds: lines are compared, so a sign means nothing; chance is 2/3 and 57.3°.
    "principal_axis_error": Metric("Principal axis error", LOWER, ".3f"),
    "principal_axis_error_embedding": Metric("Principal axis error, embedding", LOWER, ".3f"),
    "principal_axis_error_embedding_products": Metric(
        "Principal axis error, embedding and its products", LOWER, ".3f"
    ),
    "principal_axis_degrees": Metric("Principal axis, degrees off", LOWER, ".1f"),
    "principal_axis_degrees_embedding": Metric(
        "Principal axis, degrees off, embedding", LOWER, ".1f"
    ),
    "principal_axis_degrees_embedding_products": Metric(
        "Principal axis, degrees off, embedding and its products", LOWER, ".1f"
    ),
    # No direction: an invariant encoder has none of it on purpose; 2π is a great circle.
    "trajectory_length": Metric("Length of a whole turn", None, ".2f"),
    "trajectory_closure_error": Metric("Closure error of a turn", LOWER),
    "trajectory_step_variation": Metric("Variation of steps of a turn", LOWER, ".3f"),
    "trajectory_rotation_residual": Metric("Turn not one rotation", LOWER, ".3f"),
    "neighbour_overlap": Metric("Neighbours kept when the hue shifts", None, ".3f"),
    "neighbour_rank": Metric("Rank of the first neighbour before", None, ".2f"),
    "retrieved_hue_followed": Metric("Neighbours that follow the shift", None, ".1%"),
    "retrieved_hue_distance": Metric("Hue distance of neighbours, after", None, ".3f"),
    "retrieved_hue_distance_before": Metric("Hue distance of neighbours, before", None, ".3f"),
    "r2_hue": Metric("R² of hue", HIGHER, ".3f"),
    "r2_angle": Metric("R² of angle", HIGHER, ".3f"),
    "r2_size": Metric("R² of size", HIGHER, ".3f"),
    "r2_hue_out_of_range": Metric("R² of hue, out of range", HIGHER, ".3f"),
    "r2_angle_out_of_range": Metric("R² of angle, out of range", HIGHER, ".3f"),
    "r2_size_out_of_range": Metric("R² of size, out of range", HIGHER, ".3f"),
}

FAMILIES: Mapping[str, Metric] = {
    "turntable_order_accuracy": Metric("Turntable order accuracy", HIGHER, ".1%"),
    "order_accuracy": Metric("Order accuracy", HIGHER, ".1%"),
    "order_accuracy_amid": Metric("Order amid other changes", HIGHER, ".1%"),
    "kendall_tau": Metric("Kendall τ", HIGHER, ".3f"),
    "magnitude_r2": Metric("Magnitude R²", HIGHER, ".3f"),
    # Of (cos, sin) jointly, the mean alone already scores above 0: read it per dimension.
    "change_r2": Metric("Change R²", HIGHER, ".3f"),
    # Of embeddings, always: that is where rotations are.
    "steering_closed": Metric("Steering, share of the gap closed", HIGHER, ".1%"),
    "steering_error": Metric("Steering error", LOWER, ".3f"),
    "steering_error_identity": Metric("Steering error without rotation", None, ".3f"),
    "steering_error_mean": Metric("Steering error of one rotation for all draws", None, ".3f"),
    "steering_error_wahba": Metric("Steering error of Wahba's rotation", None, ".3f"),
    "steering_error_wahba_test": Metric("… fitted on the held-out images", None, ".3f"),
    **{
        f"steering_{bank}{name}{suffix}": Metric(f"{title}{among}{query}", better, form)
        for bank, among in (("", " among images"), ("view_", " among views"))
        for name, title, form in (
            ("mrr", "MRR", ".3f"),
            ("hit1", "H@1", ".1%"),
            ("hit5", "H@5", ".1%"),
        )
        for suffix, query, better in (
            ("", ", steered", HIGHER),
            ("_unsteered", ", unsteered", None),
            ("_wahba", ", Wahba's rotation", None),
        )
    },
    "steering_composition_closed": Metric("Composed, share of the gap closed", HIGHER, ".1%"),
    "steering_composition": Metric("Composed steering error", LOWER, ".3f"),
    "steering_composition_identity": Metric("Composed error without rotation", None, ".3f"),
    "steering_composition_wahba": Metric("Composed error of Wahba's rotation", None, ".3f"),
    "steering_composition_on_data": Metric("Composed rotation, distance to Wahba's", LOWER, ".3f"),
    "steering_beyond_closed": Metric("Beyond the fit, share of the gap closed", HIGHER, ".1%"),
    "steering_beyond": Metric("Steering error beyond the fit", LOWER, ".3f"),
    "steering_beyond_identity": Metric("Error beyond the fit without rotation", None, ".3f"),
    "steering_beyond_full": Metric("… of the map fitted on all draws", None, ".3f"),
    "steering_beyond_wahba": Metric("… of Wahba's rotation", None, ".3f"),
}
"""Metrics of one transformation each, of the features or of the embedding: name_part_embedding."""

HEADLINES = (
    "knn",
    "probe_top1",
    "principal_axis_error",
    "principal_axis_error_embedding",
    "trajectory_step_variation",
    "gamma",
    "rotation_residual",
    "invariance_error",
    "effective_rank",
    "r2_hue",
)
"""The metrics of a short table: what was kept, what was gained.

γ and the share that no rotation explains lead, beside the invariance error and the effective rank:
an encoder that moves nothing, or holds one direction, has small rotation errors of every kind.
W/√n is the product of the share and of how far embeddings move, and is left to the whole table.
"""


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
    >>> describe("nodes_per_graph")
    Metric(title='nodes per graph', better=None, format='#.3g')
    """
    if name in METRICS:
        return METRICS[name]
    if found := member(name):
        words = [found.part.replace("_", " ")] if found.part else []
        words += ["embedding"] if found.embedding else []
        base = FAMILIES[found.family]
        return base._replace(title=", ".join([base.title, *words]))
    spelled = name.replace("_out_of_range", ", out of range").replace("_", " ")
    if name.startswith("r2_"):
        return Metric("R² of " + spelled.removeprefix("r2 "), HIGHER, ".3f")
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
    found = dict.fromkeys(names)
    members = {name: of for name in found if (of := member(name))}
    parts = list(dict.fromkeys(of.part for of in members.values()))
    families = list(FAMILIES)
    by_family = sorted(
        members,
        key=lambda name: (
            families.index(members[name].family),
            parts.index(members[name].part),
            members[name].embedding,
        ),
    )
    known = [name for name in METRICS if name in found] + by_family
    return known + [name for name in found if name not in known]


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
    """The measurements of one encoder ("trained" or a floor); empty where not measured."""
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
    known = set(METRICS).union(*(measured(result, "trained") for result in results.values()))
    known = known.union(*(result.get("skipped", {}) for result in results.values()))
    unknown = [name for name in metrics or () if name not in known]
    if unknown:
        raise ValueError(
            f"No result and no table of metrics knows {', '.join(map(repr, unknown))}; choose from "
            f"{', '.join(in_order(known))}."
        )
