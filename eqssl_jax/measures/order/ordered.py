"""What ladders and turns say of one encoder, under public names, and why a number is missing."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures.budget import Settings
from eqssl_jax.measures.features import Encode, Features, Layers
from eqssl_jax.measures.order.study import LadderStudy, ladder_study
from eqssl_jax.measures.order.turns import sequence_orders
from eqssl_jax.measures.values import Found, number, unit
from eqssl_jax.transforms.base import Transform

Spectrum = Mapping[str, Any]

TABLES = ("order_accuracy", "order_accuracy_amid", "kendall_tau", "magnitude_r2")
_CHANCE = {"order_accuracy": 0.5, "turntable_order_accuracy": 0.5, "kendall_tau": 0.0,
           "magnitude_r2": 0.0}  # fmt: skip
_SUFFIXES = {"features": "", "embedding": "_embedding"}


def studies(
    encoders: Mapping[str, Encode],
    layers: Mapping[str, Layers],
    dataset: Dataset,
    split: str,
    transform: Transform,
    key: Key[Array, ""],
    settings: Settings,
) -> dict[str, LadderStudy]:
    """A `ladder_study` of every part that has one; empty without any, or when left out."""
    if not settings.ladder_images:
        return {}
    found = ladder_study(
        encoders,
        dataset.splits,
        transform,
        # Not the draws of the rotation study again.
        jax.random.fold_in(key, 1),
        layers=layers,
        held_out=split,
        rungs=settings.ladder_rungs,
        images=settings.ladder_images,
        batch=settings.batch,
    )
    return {name: study for name, study in found.items() if study.parts}


def ladders(study: LadderStudy | None, settings: Settings) -> Found:
    """ "order_accuracy_<part>", "order_accuracy_amid_<part>", "kendall_tau_<part>" and
    "magnitude_r2_<part>" of features, and "change_r2_<part>_<leaf>" of cyclic leaves; all of
    embeddings with "_embedding" behind.

    The two order accuracies answer different questions (`ladder_study`). With all else at rest an
    untrained encoder and raw pixels have 0.9 and more; "amid" is the one to compare encoders by:
    ½ for whoever is invariant to the part, near 1 for whoever holds it against other changes.
    """
    if study is None:
        why = (
            "no part of the transformation draws a number"
            if settings.ladder_images
            else "left out: ladder_images is 0"
        )
        return Found(skipped=dict.fromkeys(TABLES, why))
    values = {}
    for layer, suffix in _SUFFIXES.items():
        row = study.layers.index(layer)
        for column, part in enumerate(study.parts):
            for table in TABLES:
                value = getattr(study, table)[row, column]
                if np.isfinite(value):
                    name = f"{table}_{part}{suffix}"
                    values[name] = number(value, n=int(study.images[column]))
        for name, found in study.change_r2.items():
            values[f"change_r2_{name}{suffix}"] = number(found[row])
    skipped: dict[str, str] = {}
    for name, why in study.skipped.items():
        tables = [f"{table}_{name}" for table in TABLES] if name in study.parts else [name]
        skipped |= dict.fromkeys(tables, why)
    return Found(values, skipped)


def turntable(features: Features, split: Split) -> Found:
    """ "turntable_order_accuracy" of features and of embeddings: mean and sd over sequences.

    Rows are brought to length 1. Frames without an angle are left out.
    """
    name = "turntable_order_accuracy"
    if not {"turntable", "sequence"} <= set(split.factors):
        return Found(skipped={name: "the data set is not of objects on a turntable"})
    angle, sequence = (
        np.asarray(split.factors[factor])[features.indices] for factor in ("turntable", "sequence")
    )
    known = np.isfinite(angle)
    values = {}
    for layer, suffix in _SUFFIXES.items():
        rows = features.features if layer == "features" else features.embeddings
        found = sequence_orders(unit(rows[known]), angle[known], sequence[known])
        if not len(found):
            why = "no turn shows three frames within a quarter turn among the images taken"
            return Found(skipped={name: why})
        sd = float(np.std(found, ddof=1)) if len(found) > 1 else None
        values[name + suffix] = number(found.mean(), sd, len(found))
    return Found(values)


def chance(found: Mapping[str, Found]) -> dict[str, float]:
    """What each of these metrics is without knowing the image; only of those that were measured."""
    names = dict.fromkeys(name for part in found.values() for name in part.values)
    known = {
        name: value for name in names for start, value in _CHANCE.items() if name.startswith(start)
    }
    # Jointly, the mean of (cos, sin) alone already scores above 0: see `r2`.
    apart = [n for n in names if n.startswith("change_r2_") and "_per_dimension" in n]
    return known | dict.fromkeys(apart, 0.0)


def spectrum(study: LadderStudy) -> Spectrum:
    """The tables of a study by name, [L, P], with the names of layers and parts."""
    names: dict[str, Any] = {"layers": list(study.layers), "parts": list(study.parts)}
    return names | {table: getattr(study, table) for table in TABLES}


def plain(study: LadderStudy) -> Spectrum:
    """`spectrum` for JSON: lists, and null for what is not defined."""
    found = dict(spectrum(study))
    for table in TABLES:
        found[table] = [[float(v) if np.isfinite(v) else None for v in row] for row in found[table]]
    return found
