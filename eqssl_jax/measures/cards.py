"""What a measurement is: a card that says all there is to know about it.

A card is a module-level `CARD` in a file of a topic's folder (`measures/<topic>/<name>.py`), or any
`module:attribute` outside the package, named in `config.evaluation.measures`. The suite, tables,
pages and notes read the cards; nothing else has to be edited:

    def overlap(seen):  # my_parts.py
        before, after = seen.embeddings("test"), seen.under_draw(0)
        return {"topk_overlap": neighbour_change(before, after, seen.embeddings("train")).overlap}

    CARD = Card("topk_overlap", overlap, (Output("topk_overlap", "Top-k overlap", HIGHER, ".1%"),))
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from eqssl_jax.settings import Setting

HIGHER, LOWER = "higher", "lower"


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


def free_of_charge(conditions: Any) -> int:
    """The cost of what reads features that are there already."""
    del conditions
    return 0


class Card(NamedTuple):
    """A measurement of encoders.

    Attributes:
      name: one word, unlike that of every other card.
      measure: `measure(seen)` gives numbers by the names of the outputs, or `Measured`; `seen` is a
        `subjects.Seen`. A ValueError that it raises is the reason why this card has no number; all
        other cards keep theirs.
      outputs: its numbers, in the order of tables.
      title: of the measurement; the first output's by default.
      needs: what of `subjects.NEEDS` the data and the encoder must have.
      settings: its budgets, a schema; the names are those of `config.evaluation.options`.
      quick: what the preset "quick" makes of them.
      cost: `cost(conditions)`, how many images each encoder has to encode for it alone.
      check: `check(conditions)` refuses what cannot be measured before anything is encoded, and may
        give settings that follow from the data or the transformation, by name.
      absent: names under which a reason for the whole card is filed; all outputs by default.
      figure: `module:function` called as `function(arrays, path)`, arrays by name and encoder.
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
    cost: Callable[[Any], int] = free_of_charge
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
