"""What a measurement is: a card that says all there is to know about it.

A card is a module-level `CARD` (several are `CARDS`) in a file of a topic's folder
(`measures/<topic>/<name>.py`), or any `module:attribute` outside the package, named in
`config.evaluation.measures`. The suite, tables, pages and notes read the cards; nothing else has to
be edited:

    def overlap(seen):  # my_parts.py
        before, after = seen.embeddings("test"), seen.under_draw(0)
        return {"topk_overlap": neighbour_change(before, after, seen.embeddings("train")).overlap}

    CARD = Card("topk_overlap", overlap, (Output("topk_overlap", "Top-k overlap", HIGHER, ".1%"),))
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from eqssl_jax import measures
from eqssl_jax.names import resolve, unknown
from eqssl_jax.settings import Setting

HIGHER, LOWER = "higher", "lower"
# What a card may need of data, encoder or method (`subjects.NEEDS` and `subjects.KINDS` tell).
NEEDS = (
    "train", "test", "labels", "labels to choose by", "labels to test", "clouds", "images",
    "classifier", "rotates",
)  # fmt: skip


class Number(NamedTuple):
    """A value, its standard deviation (None: unknown), and how many values it is the mean of."""

    value: float
    sd: float | None = None
    n: int | None = None


class Measured(NamedTuple):
    """What the function of a card may give, where numbers by name do not say it all.

    Attributes:
      numbers: by the names of the card's outputs; a number that is not finite is left out.
      missing: why a number is not there, by the same names.
      chance: what a number is without knowing the image, where only the measurement can tell.
      details: what the JSON holds beside the numbers: {section: value}, filed under the encoder.
      arrays: what figures need, by name.
    """

    numbers: Mapping[str, Number | float] = {}
    missing: Mapping[str, str] = {}
    chance: Mapping[str, float] = {}
    details: Mapping[str, Any] = {}
    arrays: Mapping[str, Any] = {}


class Output(NamedTuple):
    """One number of a card, and how it is shown.

    Attributes:
      name: in the JSON; of a family also what its names start with ("order_accuracy" of
        "order_accuracy_<part>" and "order_accuracy_<part>_embedding").
      title: a few words.
      better: HIGHER, LOWER, or None where neither is a virtue by itself.
      format: a format specification of Python; one that ends in "%" shows a share in percent.
      unit: "" for a pure number.
      chance: what it is without knowing the image, or `chance(conditions, name)`, None if unknown.
      family: whether there is one for each part of the transformation.
      headline: whether it stands in a short table.
    """

    name: str
    title: str
    better: str | None = None
    format: str = "#.3g"  # three significant digits, trailing zeros kept
    unit: str = ""
    chance: float | Callable[[Any, str], float | None] | None = None
    family: bool = False
    headline: bool = False


class Card(NamedTuple):
    """A measurement of encoders.

    Attributes:
      name: one word, unlike that of every other card.
      measure: `measure(seen)` gives numbers by the names of the outputs, or `Measured`; `seen` is a
        `subjects.Seen`. A ValueError that it raises is the reason why this card has no number; all
        other cards keep theirs.
      outputs: its numbers, in the order of tables.
      title: of the measurement; the first output's by default.
      needs: what of `NEEDS` the data, the encoder and its method must have.
      settings: its budgets, a schema; the names are those of `config.evaluation.options`.
      quick: what the preset "quick" makes of them.
      check: `check(conditions)` refuses what cannot be measured before anything is encoded, and may
        give settings that follow from the data or the transformation, by name.
      absent: names under which a reason for the whole card is filed; all outputs by default.
      figure: `module:function` that draws <step>_<name of the card>.png beside the numbers; called
        as `function(arrays, path)`, with what `Measured.arrays` held by encoder.
      rank: cards of a topic stand in tables in the order of rank, then of name.
      source: who proposed it.
    """

    name: str
    measure: Callable[[Any], Mapping[str, Number | float] | Measured]
    outputs: tuple[Output, ...]
    title: str = ""
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = {}
    quick: Mapping[str, Any] = {}
    check: Callable[[Any], Mapping[str, Any] | None] | None = None
    absent: tuple[str, ...] = ()
    figure: str = ""
    rank: int = 50
    source: str = ""

    def absent_names(self) -> tuple[str, ...]:
        """Names under which a reason for the whole card is filed."""
        return self.absent or tuple(output.name for output in self.outputs)


def over_draws(values: Any) -> Number:
    """Mean, sample standard deviation and number of the finite ones of several values.

    >>> over_draws([1.0, 3.0, float("nan")])
    Number(value=2.0, sd=1.4142135623730951, n=2)

    Raises:
      ValueError: if none is finite.
    """
    array = np.asarray(values, float)
    finite = array[np.isfinite(array)]
    if not len(finite):
        raise ValueError("not defined for embeddings that no augmentation moves")
    sd = float(np.std(finite, ddof=1)) if len(finite) > 1 else None
    return Number(float(finite.mean()), sd, len(finite))


class TooFew(ValueError):
    """A split is too small, or too uniform, for a measure: an evaluation leaves that one out."""


def check_finite(**arrays: Array | np.ndarray) -> None:
    """Refuse features or embeddings that hold NaN or infinite values.

    Args:
      arrays: by the name under which the error speaks of them; rows are examples.

    Raises:
      ValueError: naming the array, how many of its rows are affected, and the first of them.

    >>> check_finite(bank=np.array([[0.0], [np.nan]]))
    Traceback (most recent call last):
      ...
    ValueError: bank holds NaN or infinite values in 1 of 2 rows, the first of them row 1: the \
encoder diverged, or its input was not finite. Take an earlier checkpoint, or drop these rows.
    """
    for name, values in arrays.items():
        array = np.asarray(values)
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1) if array.ndim else None
        if bad is not None and bad.any():
            raise ValueError(
                f"{name} holds NaN or infinite values in {int(bad.sum())} of {len(bad)} rows, the "
                f"first of them row {int(bad.argmax())}: the encoder diverged, or its input was "
                f"not finite. Take an earlier checkpoint, or drop these rows."
            )


# The order of topics in tables; those that are not named here follow by name.
TOPICS = ("classes", "spread", "rotation", "clouds", "regression", "retrieval", "order", "steering")


@functools.cache
def built_in() -> tuple[Card, ...]:
    """The `CARD`, or the `CARDS`, of every module of every topic, in the order of tables."""
    placed = []
    for topic in pkgutil.iter_modules(measures.__path__):
        if not topic.ispkg:
            continue
        place = TOPICS.index(topic.name) if topic.name in TOPICS else len(TOPICS)
        package = importlib.import_module(f"{measures.__name__}.{topic.name}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            file = importlib.import_module(module.name)
            for card in (*getattr(file, "CARDS", ()), getattr(file, "CARD", None)):
                if isinstance(card, Card):
                    placed.append(((place, topic.name, card.rank, card.name), card))
    return tuple(card for _, card in sorted(placed, key=lambda pair: pair[0]))


def cards(outside: Sequence[str] = (), *, setting: str = "config.evaluation.measures") -> tuple[
    Card, ...
]:  # fmt: skip
    """The cards of this package and those named `module:attribute`.

    Raises:
      ValueError: for a name that does not lead to a card, a card whose name or outputs are those of
        another, or one with a need that there is not.
    """
    chosen = list(built_in())
    for name in outside:
        card: Any = resolve(name, "measure", {}, setting=setting)
        if not isinstance(card, Card) or not callable(card.measure) or not card.outputs:
            raise ValueError(
                f"{setting} names {name!r}, which is {type(card).__name__}: it must be an "
                f"eqssl_jax.measures.Card with a function and at least one Output."
            )
        if wrong := unknown("needs", card.needs, NEEDS):
            raise ValueError(f"{setting} names {name!r}, and of its card {wrong}.")
        taken = {output.name for earlier in chosen for output in earlier.outputs}
        twice = sorted(taken & {output.name for output in card.outputs})
        if twice or card.name in {earlier.name for earlier in chosen}:
            raise ValueError(
                f"{setting} names {name!r}, whose card {card.name!r} has a name or outputs "
                f"{twice} that are taken: give them others."
            )
        chosen.append(card)
    return tuple(chosen)


def outputs(chosen: Sequence[Card] | None = None) -> tuple[Output, ...]:
    """The outputs of cards (of the package by default), in the order of tables."""
    return tuple(output for card in chosen or built_in() for output in card.outputs)


def output_of(card: Card, name: str) -> Output | None:
    """The output that a number belongs to; of families the one with the longest name that fits."""
    fitting = [
        output
        for output in card.outputs
        if name == output.name or (output.family and name.startswith(f"{output.name}_"))
    ]
    return max(fitting, key=lambda output: len(output.name), default=None)
