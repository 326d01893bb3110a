"""The role of the rotation, all else equal; and what the loss of an ordered role is made of.

Runs are named run@data, for digits, Fruits-360 or cells of BCCD, one of them at a time. "shared" is
the control of "ordered": its contrast views share the rotation too, but no loss asks for an order.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from eqssl_jax import figures, presets
from eqssl_jax.studies.base import DataChoice, Runs, Study, Trainings, parts_of
from eqssl_jax.studies.scales import EVALUATION, check, recognised
from eqssl_jax.studies.standing import report

PART = "rotate"
_ORDERED = {"roles": {PART: "ordered"}}
ROLES: Mapping[str, Mapping[str, Any]] = {
    "invariant": {},
    "ordered": _ORDERED,
    "predicted": {"roles": {PART: "predicted"}},
    "off": {"roles": {PART: "off"}},
    "shared": {**_ORDERED, "role_weights": {PART: 0.0}},
}
# Each factor of the order loss and its values, the usual one in `USUAL`.
FACTORS: Mapping[str, tuple[Any, ...]] = {
    "rungs": (3, 4, 8),
    "margin": (0.1, 0.25, 0.5, 1.0),
    "form": ("hinge", "listwise"),
    "weight": (0.0, 0.1, 1.0, 10.0),
}
USUAL: Mapping[str, Any] = {"rungs": 4, "margin": 0.5, "form": "hinge", "weight": 1.0}
AMID, ANGLE = f"order_accuracy_amid_{PART}", f"change_r2_{PART}_angle_per_dimension"
METRICS = (
    "probe_top1", "knn", AMID, f"{AMID}_embedding", ANGLE, f"{ANGLE}_embedding",
    "turntable_order_accuracy", "turntable_order_accuracy_embedding", "r2_angle", "r2_tilt",
    "effective_rank",
)  # fmt: skip
DATA = ("digits", "fruits360", "bloodcells")
_STEPS = {"reduced": 2_000, "small": 400, "smoke": 6}
_IMAGES = {"augmentations": 4, "pairs": 0, "queries": 0, "care_epochs": 0, "ladder_images": 256}


def config(scale: str, data: DataChoice, changes: Mapping[str, Any]) -> ConfigDict:
    """A small SimCLR with a role for every factor, all invariant but for the changes.

    Raises:
      ValueError: for an unknown scale, and data without such a recipe.
    """
    check(scale)
    made = presets.factored(data.name)
    if data.directory:
        made.data.directory = data.directory
    if data.name == "bloodcells":
        made.data.options.task = "kind"  # of white cells there are too few
    made.evaluation.preset, options = EVALUATION[scale]
    made.evaluation.options = ConfigDict({**options, **_IMAGES})
    if scale != "paper":
        made.model.encoder, made.model.stem = "conv_tiny", "imagenet"
        train = made.train
        train.steps, train.keep, train.log_every = _STEPS[scale], 2, min(_STEPS[scale] // 3, 100)
        train.save_every = train.knn_every = _STEPS[scale] // 2
    if scale == "smoke":
        made.train.batch_size, made.objectives.order.images = 32, 8
        made.evaluation.options.ladder_images, made.evaluation.options.augmentations = 16, 2
        if data.name in ("digits", "shapes"):
            made.data.validation = 0.25
            made.data.options.train_size, made.data.options.test_size = 256, 64
    made.update(ConfigDict(changes))
    return made


def _chosen(data: DataChoice) -> DataChoice:
    return recognised(data, DATA) if data.name else DataChoice("digits")


def _runs(scale: str, data: DataChoice) -> Runs:
    data = _chosen(data)
    return {f"{role}@{data.name}": config(scale, data, change) for role, change in ROLES.items()}


def _factors(scale: str, data: DataChoice) -> Runs:
    """ordered@digits, the usual; and rungs_3@digits, …: one factor is another."""
    data, runs = _chosen(data), {}
    for factor, values in FACTORS.items():
        for value in values:
            changes = {**_ORDERED, "objectives": {"order": {factor: value}}}
            if factor == "weight":  # by the role: of weight 0 it is the control
                changes = {**_ORDERED, "role_weights": {PART: value}}
            runs[f"{_name(factor, value)}@{data.name}"] = config(scale, data, changes)
    return runs


def _name(factor: str, value: Any) -> str:
    return "ordered" if value == USUAL[factor] else f"{factor}_{value}"


def _report(trainings: Trainings, stem: Path) -> list[Path]:
    """Every role beside invariant, and ordered beside its control."""
    axes = "probe_top1", (AMID, ANGLE)
    written = report(trainings, stem, metrics=METRICS, axes=axes, reference="invariant")
    pair = {run: them for run, them in trainings.items()
            if parts_of(run)[0] in ("ordered", "shared")}  # fmt: skip
    if len(pair) == 2:
        control = stem.with_name(f"{stem.name}-control")
        none = "probe_top1", ()
        written += report(pair, control, metrics=METRICS, axes=none, reference="shared")
    return written


def _draw(trainings: Trainings, stem: Path) -> list[Path]:
    """One figure of all factors; intervals beside the usual loss."""
    results = {
        parts_of(run)[0]: [outcome.last() for outcome in them] for run, them in trainings.items()
    }
    sweeps = {
        factor: {value: results.get(_name(factor, value), []) for value in values}
        for factor, values in FACTORS.items()
    }
    path = stem.with_name(f"{stem.name}_factors.png")
    figures.factor_sweeps(sweeps, path, metrics=("probe_top1", AMID, ANGLE))
    none = "probe_top1", ()
    return [path, *report(trainings, stem, metrics=METRICS, axes=none, reference="ordered")]


ROLE_OF_ROTATION, ORDER_FACTORS = (
    Study(
        name=name,
        title=title,
        reproduces=(),
        runs=runs,
        metrics=METRICS,
        floors=tuple(f"{beside}@{data}" for data in DATA),
        figure=figure,
    )
    for name, title, runs, beside, figure in (
        (
            "roles", "Rotation invariant, ordered, predicted, off, or shared without a loss",
            _runs, "invariant", _report,
        ),
        (
            "order_factors", "The order loss by its rungs, margin, form and weight",
            _factors, "ordered", _draw,
        ),
    )
)  # fmt: skip
