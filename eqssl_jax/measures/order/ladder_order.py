"""Order and magnitude along ladders of every part of the transformation, layer by layer."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from eqssl_jax.measures.cards import HIGHER, Card, Measured, Number, Output
from eqssl_jax.measures.order.study import LadderStudy, ladder_study
from eqssl_jax.measures.subjects import Conditions, Seen
from eqssl_jax.settings import whole

Spectrum = Mapping[str, Any]

TABLES = ("order_accuracy", "order_accuracy_amid", "kendall_tau", "magnitude_r2")
_SUFFIXES = {"features": "", "embedding": "_embedding"}


def studies(conditions: Conditions) -> dict[str, LadderStudy]:
    """A `ladder_study` of every part that has one."""
    budget = conditions.settings
    if not budget.ladder_images:
        raise ValueError("left out: ladder_images is 0")
    by_encoder = ladder_study(
        conditions.encoders,
        conditions.splits,
        conditions.transform,
        # Not the draws of the rotation study again.
        jax.random.fold_in(conditions.key, 1),
        held_out=conditions.held_out,
        rungs=budget.ladder_rungs,
        images=budget.ladder_images,
        batch=budget.batch,
    )
    if not any(study.parts for study in by_encoder.values()):
        raise ValueError("no part of the transformation draws a number")
    return by_encoder


def spectrum(study: LadderStudy) -> Spectrum:
    """The tables of a study by name, [L, P], with the names of layers and parts."""
    names: dict[str, Any] = {"layers": list(study.layers), "parts": list(study.parts)}
    return names | {table: getattr(study, table) for table in TABLES}


def plain(study: LadderStudy) -> Spectrum:
    """`spectrum` for JSON: lists, and null for what is not defined."""
    tables = dict(spectrum(study))
    for table in TABLES:
        tables[table] = [
            [float(v) if np.isfinite(v) else None for v in row] for row in tables[table]
        ]
    return tables


def _measure(seen: Seen) -> Measured:
    """ "order_accuracy_<part>", "order_accuracy_amid_<part>", "kendall_tau_<part>" and
    "magnitude_r2_<part>" of features, and "change_r2_<part>_<leaf>" of cyclic leaves; all of
    embeddings with "_embedding" behind.

    The two order accuracies answer different questions (`ladder_study`). With all else at its
    identity an untrained encoder and raw pixels have 0.9 and more; "amid" is the one to compare
    encoders by: ½ for whoever is invariant to the part, near 1 for whoever holds it against others.
    """
    study = seen.shared(studies)
    numbers = {}
    for layer, suffix in _SUFFIXES.items():
        row = study.layers.index(layer)
        for column, part in enumerate(study.parts):
            for table in TABLES:
                value = getattr(study, table)[row, column]
                if np.isfinite(value):
                    name = f"{table}_{part}{suffix}"
                    numbers[name] = Number(float(value), n=int(study.images[column]))
        for name, values in study.change_r2.items():
            numbers[f"change_r2_{name}{suffix}"] = Number(float(values[row]))
    missing: dict[str, str] = {}
    for name, why in study.skipped.items():
        tables = [f"{table}_{name}" for table in TABLES] if name in study.parts else [name]
        missing |= dict.fromkeys(tables, why)
    return Measured(
        numbers,
        missing,
        details={"spectrum": plain(study)},
        arrays={"spectrum": spectrum(study)},
    )


def _change_chance(conditions: Conditions, name: str) -> float | None:
    """Jointly, the mean of (cos, sin) alone already scores above 0: see `r2`."""
    del conditions
    return 0.0 if "_per_dimension" in name else None


CARD = Card(
    name="ladders",
    title="Order along ladders",
    measure=_measure,
    outputs=(
        Output("order_accuracy", "Order accuracy", HIGHER, ".1%", chance=0.5, family=True),
        Output("order_accuracy_amid", "Order amid other changes", HIGHER, ".1%", chance=0.5,
               family=True),
        Output("kendall_tau", "Kendall τ", HIGHER, ".3f", chance=0.0, family=True),
        Output("magnitude_r2", "Magnitude R²", HIGHER, ".3f", chance=0.0, family=True),
        Output("change_r2", "Change R²", HIGHER, ".3f", chance=_change_chance, family=True),
    ),
    settings={
        "ladder_rungs": whole(8, "of a ladder", low=3, high=1000),
        "ladder_images": whole(1000, "on ladders; 0 leaves them out"),
    },
    quick={"ladder_rungs": 5, "ladder_images": 128},
    absent=TABLES,
    rank=20,
    source="after Xie et al. 2022",
)  # fmt: skip
