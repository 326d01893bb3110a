"""Every measurement of several encoders on one data set: one loop over the cards that apply."""

import dis
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Array, Key

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures.budget import Settings
from eqssl_jax.measures.budget import settings as preset
from eqssl_jax.measures.cards import Card, Measured, Number, built_in
from eqssl_jax.measures.features import Encode, EncoderFault, Layers
from eqssl_jax.measures.results import Arrays, arrays, result
from eqssl_jax.measures.subjects import KINDS, NEEDS, Conditions, Seen, Subject
from eqssl_jax.transforms.base import Transform


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
        title: (
            result(named, chosen, conditions),
            arrays(named, chosen, conditions),
        )
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
