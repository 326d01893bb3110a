"""What cards measured of several encoders, as one result: for JSON, and for figures."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from eqssl_jax.measures.cards import Card, Measured, Number, built_in, output_of
from eqssl_jax.measures.order.ladder_order import Spectrum
from eqssl_jax.measures.rotation.augmented import RotationStudy
from eqssl_jax.measures.subjects import Conditions
from eqssl_jax.transforms.base import Params

Measurements = Mapping[str, Mapping[str, Measured]]  # by encoder, then by card


class Arrays(NamedTuple):
    """What figures need beside the numbers; the mappings are by encoder.

    Attributes:
      cosines: cos(f(x), f(a(x))) of images under each augmentation, [A, n].
      split: name of the split that images and queries were taken from.
      hue: the draw that shifted the hue of the queries; None when it was left out, and then
        `queries`, `before` and `after` are empty.
      queries: indices of the queries in `split`, [Q].
      before, after: indices in "train" of the neighbours before and after, [Q, k].
      spectrum: which layer keeps the order of which part: {"layers": L names, "parts": P names,
        "order_accuracy", "order_accuracy_amid", "kendall_tau", "magnitude_r2": [L, P]}; empty when
        it was left out.
      study: the rotation measures, with one number for each augmentation.
      steering: `steering.plain` of each part; empty when it was left out.
      trajectories: of point clouds, see `trajectories.planar`: curves of N clouds around 3 axes in
        S steps, [N, 3, S, 2]; empty for images.
      figures: of cards that draw a figure, by name of the card: where its function is, and what the
        card gave, arrays by name by encoder.
    """

    cosines: Mapping[str, Float[np.ndarray, "a n"]]
    split: str
    hue: Params | None
    queries: Int[np.ndarray, " q"]
    before: Mapping[str, Int[np.ndarray, "q k"]]
    after: Mapping[str, Int[np.ndarray, "q k"]]
    spectrum: Mapping[str, Spectrum] = {}
    study: Mapping[str, RotationStudy] = {}
    steering: Mapping[str, Mapping[str, Any]] = {}
    trajectories: Mapping[str, Float[np.ndarray, "n 3 s 2"]] = {}
    figures: Mapping[str, tuple[str, Mapping[str, Mapping[str, Any]]]] = {}


def result(measured: Measurements, cards: Sequence[Card], conditions: Conditions) -> dict[str, Any]:
    budget = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in conditions.settings._asdict().items()
    }
    sections: dict[str, dict[str, Any]] = {"spectrum": {}, "steering": {}}
    for encoder, by_card in measured.items():
        for part in by_card.values():
            for section, value in part.details.items():
                sections.setdefault(section, {})[encoder] = value
    return {
        "encoders": {name: _numbers(by_card) for name, by_card in measured.items()},
        "chance": _chance(measured, cards, conditions),
        "skipped": _skipped(measured),
        "settings": {**budget, "split": conditions.held_out},
        **sections,
        **_described(cards),
    }


def _numbers(by_card: Mapping[str, Measured]) -> dict[str, dict[str, float | int | None]]:
    """Fit for JSON."""
    return {
        name: {
            "value": float(number.value),
            "sd": float(number.sd) if number.sd is not None and math.isfinite(number.sd) else None,
            "n": number.n,
        }
        for part in by_card.values()
        for name, number in part.numbers.items()
        if isinstance(number, Number)
    }


def _chance(
    measured: Measurements, cards: Sequence[Card], conditions: Conditions
) -> dict[str, float]:
    """Of each metric that was measured, what it is without knowing the image."""
    chances: dict[str, float] = {}
    for card in cards:
        parts = [by_card[card.name] for by_card in measured.values() if card.name in by_card]
        for name in dict.fromkeys(name for part in parts for name in part.numbers):
            level = next((part.chance[name] for part in parts if name in part.chance), None)
            output = output_of(card, name)
            if level is None and output is not None:
                chance = output.chance
                level = chance(conditions, name) if callable(chance) else chance
            if level is not None and math.isfinite(level):
                chances[name] = level
    return chances


def _skipped(measured: Measurements) -> dict[str, str]:
    """Reasons by metric; the encoder is named where not all of them lack it."""
    reasons: dict[str, dict[str, str]] = {}
    for encoder, by_card in measured.items():
        for part in by_card.values():
            for metric, why in part.missing.items():
                reasons.setdefault(metric, {})[encoder] = why
    merged = {}
    for metric, by_name in reasons.items():
        if len(by_name) == len(measured) and len(set(by_name.values())) == 1:
            merged[metric] = next(iter(by_name.values()))
        else:
            merged[metric] = "; ".join(f"{name}: {why}" for name, why in by_name.items())
    return merged


def _described(cards: Sequence[Card]) -> dict[str, Any]:
    """How the outputs of cards from outside are shown: whoever reads the JSON may lack the card."""
    packaged = {card.name for card in built_in()}
    described = {
        output.name: {"title": output.title, "better": output.better, "format": output.format}
        for card in cards
        if card.name not in packaged
        for output in card.outputs
    }
    return {"described": described} if described else {}


def arrays(measured: Measurements, cards: Sequence[Card], conditions: Conditions) -> Arrays:
    def by_encoder(card: str, name: str) -> dict[str, Any]:
        return {
            encoder: by_card[card].arrays[name]
            for encoder, by_card in measured.items()
            if card in by_card and name in by_card[card].arrays
        }

    def arrays_of(card: str) -> dict[str, Mapping[str, Any]]:
        return {
            encoder: by_card[card].arrays
            for encoder, by_card in measured.items()
            if card in by_card and by_card[card].arrays
        }

    hues, queries = by_encoder("neighbours", "hue"), by_encoder("neighbours", "queries")
    studies = {encoder: _study(by_card) for encoder, by_card in measured.items()}
    return Arrays(
        by_encoder("invariance", "cosines"),
        conditions.held_out,
        next(iter(hues.values()), None),
        next(iter(queries.values()), np.zeros(0, np.int64)),
        by_encoder("neighbours", "before"),
        by_encoder("neighbours", "after"),
        by_encoder("ladders", "spectrum"),
        {encoder: study for encoder, study in studies.items() if study is not None},
        {
            encoder: by_card["steering"].details.get("steering", {})
            for encoder, by_card in measured.items()
            if "steering" in by_card
        },
        by_encoder("trajectories", "trajectories"),
        {
            card.name: (card.figure, kept)
            for card in cards
            if card.figure and (kept := arrays_of(card.name))
        },
    )  # fmt: skip


def _study(by_card: Mapping[str, Measured]) -> RotationStudy | None:
    """The arrays of rotation cards together."""
    if "invariance" not in by_card or "cosines" not in by_card["invariance"].arrays:
        return None
    frames = by_card["invariance"].arrays
    several = {"cosines", "positive_cosines", "circle"}
    names = ("invariance", "gram", "wahba", "gamma", "composition", "effective_rank")
    parts = [by_card[name] for name in names if name in by_card]
    measures = {k: v for part in parts for k, v in part.arrays.items() if k not in several}
    skipped = {k: why for part in parts for k, why in part.missing.items()}
    circle = frames.get("circle")
    return RotationStudy(measures, frames["cosines"], skipped, frames["positive_cosines"], circle)
