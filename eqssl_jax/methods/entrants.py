"""Who takes part in the equivariance benchmark: cards with a row, and any other by its name."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from eqssl_jax import names
from eqssl_jax.methods import entries
from eqssl_jax.methods.card import LABELS, TARGET, Card
from eqssl_jax.methods.row import Row
from eqssl_jax.settings import shown
from eqssl_jax.transforms.recipes import RECIPES

REFERENCE = "simclr"  # what every method is compared with, seed by seed
# What no row sets of the whole config: the protocol, which is the same for all.
_SHARED = (
    "data", "evaluation", "knn", "model.encoder", "model.stem", "optimizer", "recipe", "seed",
    "train",
)  # fmt: skip


class Entrant(NamedTuple):
    """A method that takes part: what entries name it, its card, and its row, complete."""

    method: str
    card: Card
    row: Row

    def key(self) -> str:
        """Where config.objectives has it: the usual key of its role, or a name like its own."""
        return _key(self.method, self.card)

    def tried(self) -> str:
        """The path of the setting that is tried for a choice on validation."""
        if not self.row.tried and not self.row.beside:
            return "optimizer.learning_rate"
        return f"objectives.{self.key()}.{self.row.tried or 'weight'}"


def _key(method: str, card: Card) -> str:
    usual = (key for key, name in entries.OF_ROLES.items() if entries.find(name).role == card.role)
    plain = {"simclr": "info_nce"}.get(method, method)
    return next(usual, plain.replace(":", "_").replace(".", "_"))


@functools.cache
def rows() -> dict[str, str]:
    """The cards with a row, by its name: what learns from labels, the reference, all by name."""
    cards = {card.benchmark.name or name: card
             for name, card in entries.cards().items() if card.benchmark}  # fmt: skip
    order = sorted(cards, key=lambda row: (LABELS not in cards[row].needs, row != REFERENCE, row))
    return {row: cards[row].name for row in order}


def spelled(name: str) -> str:
    """The row, or the card without one, whose name or title this is in another spelling.

    What is none of them comes back as it is, and so does `module:attribute`.

    >>> spelled("Barlow-Twins"), spelled("seq-JEPA"), spelled("classify"), spelled("my_parts:Mine")
    ('barlow_twins', 'seqjepa', 'supervised', 'my_parts:Mine')
    """
    meant: dict[str, str] = {}
    for key, card in entries.cards().items():
        row = key if card.benchmark is None else card.benchmark.name or key
        meant |= {names.loose(text): row for text in (key, card.title, row)}
    return meant.get(names.loose(name), name)


def find(name: str) -> Entrant:
    """The method of a row's name, of a card's, or of `module:attribute`.

    Raises:
      ValueError: for what is none of them, or a card whose row is not as `Row` says.
    """
    method = rows().get(name, name)
    if not (method in rows().values() or names.is_outside(method) or method in entries.cards()):
        hint = names.nearest(name, (*rows(), *entries.cards()))
        raise ValueError(
            f"There is no method {name!r}{hint}: the benchmark has the methods "
            f"{', '.join(rows())}, and takes your own as module:attribute, e.g. my_parts:mine."
        )
    card = entries.find(method, "the method of the benchmark")
    row = Row() if card.benchmark is None else card.benchmark
    if mistake := _mistake(row, method, card):
        raise ValueError(f"The card {name} has a wrong row in the benchmark: {mistake}.")
    for values in (row.small, row.full, *row.recipes.values()):
        entries.entry(method, **values)
    if row.beside is None:
        alone = card.compares or {LABELS, TARGET} & set(card.needs)
        row = row._replace(beside=() if alone else (REFERENCE,))
    return Entrant(method, card, row)


def trains_projector(config: ConfigDict) -> bool:
    """Whether a loss of the run trains the network's projector: else its embeddings say nothing.

    They may even end as one point: weight decay meets no gradient there. Of a method that was built
    by hand no entry tells, and it is taken to do so.
    """
    used = [entry for entry in config.objectives.values() if entry.weight]
    return not used or any(find(entry.method).row.projector for entry in used)


def _mistake(row: object, method: str, card: Card) -> str:
    """What is wrong with the `benchmark` of a card, "" if nothing is."""
    if not isinstance(row, Row):
        return f"it is {shown(row)}, and must be a methods.Row, or None for the defaults"
    groups = {name: getattr(row, name) for name in ("small", "full", "recipes", "config", "cost")}
    if isinstance(row.recipes, Mapping):
        groups |= {f"recipes[{name!r}]": values for name, values in row.recipes.items()}
    for group, values in groups.items():
        if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
            return f"{group} is {shown(values)}, and must be a dict whose keys are names"
    for recipe in (*row.recipes, *filter(None, row.cost)):
        if recipe not in RECIPES and not names.is_outside(recipe):
            return f"it names the recipe {recipe!r}, and recipes are {', '.join(RECIPES)}"
    if wrong := [c for c in row.cost.values() if not (isinstance(c, int | float) and 0 < c < 1e6)]:
        return f"cost has {shown(wrong[0])}, and must be numbers above 0, relative to two views"
    if shared := [path for path in row.config if path.startswith(_SHARED)]:
        return f"config sets {shared[0]}, which is the same for all methods: leave it out"
    if not isinstance(row.projector, bool):
        return f"projector is {shown(row.projector)}, and must be True or False"
    if row.tried not in ("", *card.settings):
        settings = ", ".join(card.settings) or "none"
        return f"tried is {shown(row.tried)}, and must be '' or one of its settings ({settings})"
    return _mistake_beside(row.beside, method, card)


def _mistake_beside(beside: tuple[str, ...] | None, method: str, card: Card) -> str:
    """What is wrong with `Row.beside` of a card."""
    if not isinstance(beside, tuple | None) or not all(isinstance(b, str) for b in beside or ()):
        return f"beside is {shown(beside)}, and must be a tuple of cards, e.g. ('simclr',)"
    for name in beside or ():
        other = rows().get(name, name)
        key = _key(other, entries.find(other, "A card in `beside` of its methods.Row"))
        if key == _key(method, card):
            return f"beside has {name!r}, and both would be config.objectives.{key}: leave it out"
    return ""
