"""Configs that older versions stored: objectives without cards, all of them, most of weight 0."""

from collections.abc import Mapping
from typing import Any

from eqssl_jax.methods.entries import OF_ROLES

_CARDS = {"info_nce": "simclr", "equivariance": "care"}


def converted(values: Any) -> Any:
    """A stored config as this version writes it; one that already is comes back as it is.

    Before version 0.2 `config.objectives` held every objective and the geometry. Those with a
    weight are kept, under the same keys, with the names of their cards.
    """
    if not isinstance(values, Mapping) or not isinstance(values.get("objectives"), Mapping):
        return values
    if "geometry" not in values["objectives"]:
        return values
    new = {**values, "model": {**values.get("model", {})}, "objectives": {}}
    for key, entry in values["objectives"].items():
        if key == "geometry":
            new["model"]["geometry"] = entry
        elif (
            not isinstance(entry, Mapping) or entry.get("weight", 0) or key in OF_ROLES
        ):  # a role's 0 would become its default
            new["objectives"][key] = _entry(key, entry)
    care = values["objectives"].get("equivariance")
    if recipe := care.get("recipe") if isinstance(care, Mapping) else None:
        new["evaluation"] = {**values.get("evaluation", {}), "recipe": recipe}
    new["sharing"] = {
        part: "fixed" if kind == "rest" else kind
        for part, kind in values.get("sharing", {}).items()
    }
    new["runs"] = {}  # a stored run is one of them
    return new


def _entry(key: str, entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry  # the check of the config names it
    new = {"method": _CARDS.get(key, key), **entry}
    if new.pop("views", "own") == "contrast":
        new["method"] = "two_view_care"
        for setting in ("images", "recipe", "recipe_options", "reference"):
            new.pop(setting, None)
    return new
