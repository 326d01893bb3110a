"""Every measurement of several encoders on one data set: one loop over the cards that apply."""

import dis
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Key

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures.budget import Settings
from eqssl_jax.measures.budget import settings as preset
from eqssl_jax.measures.cards import Card, Measured, Number, built_in, output_of
from eqssl_jax.measures.features import Encode, EncoderFault, Layers
from eqssl_jax.measures.order.ladder_order import Spectrum
from eqssl_jax.measures.rotation.augmented import RotationStudy
from eqssl_jax.measures.subjects import KINDS, NEEDS, Conditions, Seen, Subject
from eqssl_jax.transforms.base import Params, Transform

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


def evaluate(
    encoders: Mapping[str, Encode | Layers | Subject],
    dataset: Dataset,
    transform: Transform,
    key: Key[Array, ""],
    *,
    settings: Settings | None = None,
    cards: Sequence[Card] | None = None,
    layers: Mapping[str, Layers] = {},
    probe_transform: Transform | None = None,
    probe_split: Split | None = None,
) -> tuple[dict[str, Any], Arrays]:
    """Measure encoders beside their floors on one data set; equal keys mean equal augmentations.

    Args:
      encoders: by name: "trained", and as floors "random" (untrained) and "pixels" (of
        point clouds "coordinates").
      dataset: read at "train", "validation", "test" (without one, "validation" stands in for all
        that needs no choice) and, if there, "out_of_range".
      transform: the augmentation whose effect on embeddings is measured.
      key: of its draws.
      settings: budgets of these cards, see `budget.settings`.
      cards: what is measured; all cards of the package by default.
      layers: what gives all layers of an encoder of the same name, for its spectrum; those without
        have the layers "features" and "embedding".
      probe_transform: the augmentation of CARE's probe, where the views that InfoNCE compares are
        of another recipe than `transform`; `transform` by default.
      probe_split: the training images that it augments, if not those of the dataset: larger ones,
        which `probe_transform` brings to the size that encoders take.

    Returns:
      A dict fit for JSON, and the arrays for figures. The dict holds "encoders": {name: {metric:
      {"value", "sd", "n"}}} (sd over seeds, augmentations or turns, null without; n what the value
      is a mean over), "chance": {metric: value}, "skipped": {metric: why}, "settings",
      "spectrum" and "steering" (see `Arrays`; null where a number is not defined), of point clouds
      also "trajectories" (see `Arrays`) of the first four, and "described": {metric: title, better,
      format} of cards from outside the package.

    Raises:
      ValueError: without encoders, without a split to measure on, for settings that do not fit the
        transformation, or an encoder that gives NaN or infinite values.
    """
    columns = {"": {name: name for name in encoders}}
    arguments = encoders, columns, dataset, transform, key
    return evaluate_each(
        *arguments,
        settings=settings,
        cards=cards,
        layers=layers,
        probe_transform=probe_transform,
        probe_split=probe_split,
    )[""]


def evaluate_each(
    encoders: Mapping[str, Encode | Layers | Subject],
    columns: Mapping[str, Mapping[str, str]],
    dataset: Dataset,
    transform: Transform,
    key: Key[Array, ""],
    *,
    settings: Settings | None = None,
    cards: Sequence[Card] | None = None,
    layers: Mapping[str, Layers] = {},
    probe_transform: Transform | None = None,
    probe_split: Split | None = None,
) -> dict[str, tuple[dict[str, Any], Arrays]]:
    """Several results of `evaluate`, by name, whose views and floors are computed once.

    `columns` says of each result which of `encoders` stands in it under which name: {"care":
    {"trained": "care", "pixels": "pixels"}, …}. All else is as for `evaluate`.

    Raises:
      ValueError: as `evaluate`.
    """
    chosen = built_in() if cards is None else tuple(cards)
    if not encoders or not {"test", "validation"} & set(dataset.splits):
        raise ValueError(
            f"evaluate() needs encoders, and a split test or validation; found encoders "
            f"{list(encoders)} and splits {list(dataset.splits)} of {dataset.name}."
        )
    conditions = Conditions(
        {name: _subject(layers.get(name, encode)) for name, encode in encoders.items()},
        dataset,
        transform,
        key,
        preset(cards=chosen) if settings is None else settings,
        probe_transform=probe_transform,
        probe_split=probe_split,
    )
    for card in chosen:
        if card.check is not None:
            conditions.settings = conditions.settings._replace(**card.check(conditions) or {})
    measured: dict[str, dict[str, Measured]] = {
        name: {
            card.name: measure(card, seen)
            for card in chosen
            if all(KINDS[need](seen) for need in card.needs if need in KINDS)
        }
        for name in encoders
        for seen in [Seen(name, conditions)]
    }
    return {
        title: (_result(named, chosen, conditions), _arrays(named, chosen, conditions))
        for title, names in columns.items()
        for named in [{shown: measured[name] for shown, name in names.items()}]
    }


def measure(card: Card, seen: Seen) -> Measured:
    """What one card says of one encoder: its numbers, or why there are none.

    Raises:
      EncoderFault: for an encoder that gives NaN, fails, or changes with the batch.
    """
    why = next((why for need in card.needs if need in NEEDS and (why := NEEDS[need](seen))), "")
    if why:
        return Measured(missing=dict.fromkeys(card.absent_names(), why))
    try:
        output = card.measure(seen)
    except EncoderFault:
        raise
    except ValueError as error:
        if not _stated(error):
            raise
        why = str(error).strip().rstrip(".") or "it cannot be measured here"
        return Measured(missing=dict.fromkeys(card.absent_names(), why))
    measured = output if isinstance(output, Measured) else Measured(output)
    numbers, missing = {}, dict(measured.missing)
    for name, value in measured.numbers.items():
        number = value if isinstance(value, Number) else Number(float(value))
        if math.isfinite(number.value):
            numbers[name] = number
        else:
            missing.setdefault(name, "it is not a finite number here")
    return measured._replace(numbers=numbers, missing=missing)


def _stated(error: ValueError) -> bool:
    """Whether a `raise` made the error, as a refusal is; those of NumPy's own code are faults.

    Arrays that do not broadcast are a fault of the card and must not look like a fact of the data.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return True
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")


def _subject(encoder: Encode | Layers | Subject) -> Subject:
    return encoder if isinstance(encoder, Subject) else Subject(encoder)


def _result(
    measured: Measurements, cards: Sequence[Card], conditions: Conditions
) -> dict[str, Any]:
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


def _arrays(measured: Measurements, cards: Sequence[Card], conditions: Conditions) -> Arrays:
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
