"""Which cards there are: those of this folder, found by listing it, and those from outside."""

import functools
import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any

from eqssl_jax import measures
from eqssl_jax.measures.cards import Card, Output
from eqssl_jax.names import resolve

# The order of topics in tables; those that are not named here follow by name.
TOPICS = ("classes", "spread", "rotation", "clouds", "regression", "retrieval", "order", "steering")


@functools.cache
def built_in() -> tuple[Card, ...]:
    """The `CARD` of every module of every topic, in the order of tables."""
    placed = []
    for topic in pkgutil.iter_modules(measures.__path__):
        if not topic.ispkg:
            continue
        place = TOPICS.index(topic.name) if topic.name in TOPICS else len(TOPICS)
        package = importlib.import_module(f"{measures.__name__}.{topic.name}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            card = getattr(importlib.import_module(module.name), "CARD", None)
            if isinstance(card, Card):
                placed.append(((place, topic.name, card.rank, card.name), card))
    return tuple(card for _, card in sorted(placed, key=lambda pair: pair[0]))


def cards(outside: Sequence[str] = (), *, setting: str = "config.evaluation.measures") -> tuple[
    Card, ...
]:  # fmt: skip
    """The cards of this package and those named `module:attribute`.

    Raises:
      ValueError: for a name that does not lead to a card, or a card whose name or outputs are those
        of another.
    """
    found = list(built_in())
    for name in outside:
        card: Any = resolve(name, "measure", {}, setting=setting)
        if not isinstance(card, Card) or not callable(card.measure) or not card.outputs:
            raise ValueError(
                f"{setting} names {name!r}, which is {type(card).__name__}: it must be an "
                f"eqssl_jax.measures.Card with a function and at least one Output."
            )
        taken = {output.name for other in found for output in other.outputs}
        twice = sorted(taken & {output.name for output in card.outputs})
        if twice or card.name in {other.name for other in found}:
            raise ValueError(
                f"{setting} names {name!r}, whose card {card.name!r} has a name or outputs "
                f"{twice} that are taken: give them others."
            )
        found.append(card)
    return tuple(found)


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
