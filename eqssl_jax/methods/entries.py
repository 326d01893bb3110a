"""Entries of config.objectives: which card each of them is of, complete and in range."""

import functools
import importlib.util
import pkgutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from eqssl_jax import names, settings
from eqssl_jax.config import copied
from eqssl_jax.methods.card import LABELS, Card, mistake

# The usual entries of roles, as key: card. They count where a part has the role.
OF_ROLES = {"equivariance": "care", "order": "order", "prediction": "prediction"}


@functools.cache
def _builtin(name: str) -> Card | None:
    if not name.isidentifier() or not importlib.util.find_spec(f"eqssl_jax.methods.{name}"):
        return None
    return getattr(importlib.import_module(f"eqssl_jax.methods.{name}"), "CARD", None)


def cards() -> dict[str, Card]:
    """The built-in cards by name: one of each file of this folder that has a `CARD`."""
    modules = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return {name: card for name in modules if (card := _builtin(name))}


def find(name: str, setting: str = "") -> Card:
    """The card of a built-in name or of `module:attribute`.

    Raises:
      ValueError: for a name that is neither, an attribute that is no `Card`, or a card that names
        needs, geometries or a role which there are not.
    """
    card = _builtin(name) or names.resolve(name, "method", cards(), setting=setting)
    if not isinstance(card, Card):
        raise ValueError(
            f"{setting or 'the method'} is {name!r}, which is of type {type(card).__name__}: it "
            f"must be an eqssl_jax.methods.Card."
        )
    if wrong := mistake(card):
        raise ValueError(f"{setting or 'the method'} is {name!r}, and of its card {wrong}.")
    return card


def schema(card: Card) -> settings.Schema:
    """What an entry of a card may hold, beside the name of its method."""
    weight = settings.number(
        card.weight, "in the sum of all objectives; 0 leaves it out", low=0, high=1e6
    )
    return {"weight": weight, **card.settings}


def entry(method: str, **changes: Any) -> dict[str, Any]:
    """An entry of config.objectives: the defaults of a card, with changes.

    >>> entry("simclr", temperature=0.2)
    {'method': 'simclr', 'weight': 1.0, 'temperature': 0.2}

    Raises:
      ValueError: for an unknown method or setting, or a value out of range.
    """
    described = schema(find(method))
    values = {**settings.defaults(described), **changes}
    return {"method": method, **settings.check(values, described, method)}


def role_entries(**changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The usual entries of the three roles that have objectives, with changes by key.

    Config files whose roles can be changed hold them, so that --config.roles.rotate=ordered and
    --config.objectives.order.margin=0.2 fit on one command line; `resolved` leaves out what the
    roles of a run do not use.
    """
    return {key: entry(card, **changes.get(key, {})) for key, card in OF_ROLES.items()}


def resolved(config: ConfigDict, *, roles: Collection[str] = ()) -> ConfigDict:
    """The config as it is trained and stored: its objectives are complete and all in use.

    An entry without `method` is of the card its key names. Settings that are missing get the
    card's defaults. An entry of weight 0 is left out, and so is one whose role no part has (nor is
    among `roles`); the usual entry is added for a role that a part has and no entry is about.

    Raises:
      ValueError: for an unknown method or setting, or a value out of its range.
    """
    wanted = {*config.roles.values(), *roles}
    complete, covered = {}, set()
    for key, values in config.objectives.items():
        card, filled = _complete(key, values)
        covered.add(card.role)
        # One of weight 0 whose role is given stays: it would be added again with its default.
        if card.role in wanted if card.role else filled["weight"]:
            complete[key] = filled
    for key, method in OF_ROLES.items():
        role = find(method).role
        if role in wanted - covered:
            complete[key] = entry(method)
    copy = copied(config)
    copy.objectives = copied(complete)
    return copy.lock()


def _complete(key: str, values: Any) -> tuple[Card, dict[str, Any]]:
    setting = f"config.objectives.{key}"
    if not isinstance(values, Mapping | ConfigDict):
        raise ValueError(
            f"{setting} is {settings.shown(values)}; it must be a group of settings, e.g. "
            f"dict(method='simclr', weight=1.0)."
        )
    values_of = copied(values).to_dict()
    method = values_of.pop("method", key)
    if not isinstance(method, str):
        raise ValueError(f"{setting}.method is {settings.shown(method)}; it must be a name.")
    card = find(method, f"{setting}.method")
    described = schema(card)
    if (usual := OF_ROLES.get(key, method)) != method:
        # A flag named another method: what is left of the usual one's defaults goes with it.
        before = settings.defaults(find(usual).settings)
        values_of = {
            k: v for k, v in values_of.items() if k in described or v != before.get(k, values_of)
        }
    values = settings.check({**settings.defaults(described), **values_of}, described, setting)
    return card, {"method": method, **values}


def learns_from_labels(config: ConfigDict) -> bool:
    """Whether a method of a complete config needs labels: of one without labels it is a ceiling."""
    entries = config.get("objectives", {}).values()
    return any(LABELS in find(values.method).needs for values in entries)
