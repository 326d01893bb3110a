"""Who takes part in the equivariance benchmark: cards with a row, and any other by its name."""

import difflib
import functools
from collections.abc import Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from eqssl_jax import names
from eqssl_jax.methods import entries
from eqssl_jax.methods.card import LABELS, TARGET, Card
from eqssl_jax.methods.row import Row
from eqssl_jax.settings import shown

REFERENCE = "simclr"  # what every method is compared with, seed by seed


class Entrant(NamedTuple):
    """A method that takes part: what entries name it, its card, and its row, complete."""

    method: str
    card: Card
    row: Row

    def key(self) -> str:
        """Where config.objectives has it: the usual key of its role, or a name like its own."""
        keys = (
            key
            for key, usual in entries.OF_ROLES.items()
            if entries.find(usual).role == self.card.role
        )
        plain = {"simclr": "info_nce"}.get(self.method, self.method)
        return next(keys, plain.replace(":", "_").replace(".", "_"))

    def tried(self) -> str:
        """The path of the setting that is tried for a choice on validation."""
        if not self.row.tried and not self.row.beside:
            return "optimizer.learning_rate"
        return f"objectives.{self.key()}.{self.row.tried or 'weight'}"


@functools.cache
def rows() -> dict[str, str]:
    """The cards with a row, by its name: what learns from labels, the reference, all by name."""
    cards = {card.benchmark.name or name: card
             for name, card in entries.cards().items() if card.benchmark}  # fmt: skip
    order = sorted(cards, key=lambda row: (LABELS not in cards[row].needs, row != REFERENCE, row))
    return {row: cards[row].name for row in order}


def find(name: str) -> Entrant:
    """The method of a row's name, of a card's, or of `module:attribute`.

    Raises:
      ValueError: for what is none of them, or a card whose row is not as `Row` says.
    """
    method = rows().get(name, name)
    if not (method in rows().values() or names.is_outside(method) or method in entries.cards()):
        near = difflib.get_close_matches(name, rows(), 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"There is no method {name!r}{hint}: the benchmark has the methods "
            f"{', '.join(rows())}, and takes your own as module:attribute, e.g. my_parts:mine."
        )
    card = entries.find(method, "the method of the benchmark")
    row = Row() if card.benchmark is None else card.benchmark
    if mistake := _mistake(row, card):
        raise ValueError(f"The card {name} has a wrong row in the benchmark: {mistake}.")
    if row.beside is None:
        alone = card.compares or {LABELS, TARGET} & set(card.needs)
        row = row._replace(beside=() if alone else (REFERENCE,))
    return Entrant(method, card, row)


def trains_projector(config: ConfigDict) -> bool:
    """Whether a loss of the run trains the network's projector: else its embeddings say nothing.

    They may even end as one point: weight decay meets no gradient there.
    """
    entries_used = (entry for entry in config.objectives.values() if entry.weight)
    return any(find(entry.method).row.projector for entry in entries_used)


def _mistake(row: object, card: Card) -> str:
    """What is wrong with the `benchmark` of a card, "" if nothing is."""
    if not isinstance(row, Row):
        return f"it is {shown(row)}, and must be a methods.Row, or None for the defaults"
    for group in ("small", "full", "recipes", "config", "cost"):
        if not isinstance(value := getattr(row, group), Mapping):
            return f"{group} is {shown(value)}, and must be a dict"
    if wrong := [c for c in row.cost.values() if not (isinstance(c, int | float) and 0 < c < 1e6)]:
        return f"cost has {shown(wrong[0])}, and must be numbers above 0, relative to two views"
    if not isinstance(row.beside, tuple | None):
        return f"beside is {shown(row.beside)}, and must be a tuple of cards, e.g. ('simclr',)"
    if row.tried not in ("", *card.settings):
        settings = ", ".join(card.settings) or "none"
        return f"tried is {shown(row.tried)}, and must be '' or one of its settings ({settings})"
    return ""
