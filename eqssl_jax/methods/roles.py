"""What the representation shall do with each transformation of the recipe: the table of roles.

| role         | the two contrast views see | objective of its own                                 |
|--------------|----------------------------|------------------------------------------------------|
| `invariant`  | independent draws          | none: the contrast itself                            |
| `rotational` | independent draws (paper), | CARE's Gram match, each draw shared by many images   |
|              | shared ones, or none       | (Gupta et al. 2024, arXiv:2306.13924)                |
| `ordered`    | one draw for both, or none | a ladder whose order is preserved, after Xie et al.  |
|              |                            | 2022 (CVPRW); loss and sharing are ours              |
| `predicted`  | independent draws          | a head reads how their parameters differ, as AugSelf |
|              |                            | does (Lee et al. 2021, arXiv:2111.09613)             |
| `off`        | nothing                    | none                                                 |
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from eqssl_jax import views
from eqssl_jax.transforms.base import Transform
from eqssl_jax.views import Pattern

SHARINGS = INDEPENDENT, SHARED, FIXED = ("independent", "shared", "fixed")

# Role -> what the contrast views may see of it, the usual one first.
ROLES: Mapping[str, tuple[str, ...]] = {
    "invariant": (INDEPENDENT,),
    "rotational": (INDEPENDENT, SHARED, FIXED),
    "ordered": (SHARED, FIXED),
    "predicted": (INDEPENDENT,),
    "off": (FIXED,),
}
# Roles whose parts each have an objective, which `config.role_weights` can weigh.
WEIGHTED = ("ordered", "predicted")


class Role(NamedTuple):
    """One line of the table, in words.

    Attributes:
      role: a key of `ROLES`.
      sharing: what the two contrast views see: "independent", "shared" or "fixed".
      weight: factor on the objective that this part has for itself.
    """

    role: str
    sharing: str
    weight: float = 1.0


class Line(NamedTuple):
    """One line of the table as numbers, which may be traced: so one program serves many tables.

    Attributes:
      sharing: what the two contrast views see, an index of `SHARINGS`.
      weights: by role, the factor on the objective that the part has for itself; a role that is
        missing is one that the part never has, a traced 0 one that it has not in this table.
    """

    sharing: int | Int[Array, ""]
    weights: Mapping[str, float | Float[Array, ""]]


def resolve(config: ConfigDict, recipe: Transform) -> dict[str, Role]:
    """The role of every part of the recipe; parts without an entry are invariant.

    Raises:
      ValueError: for an unknown role or sharing, an entry for a part the recipe does not have, and
        contradictions: an ordered or shared transformation that is drawn independently, an ordered
        one without a magnitude, a weight where nothing is weighed.
    """
    for setting in ("roles", "role_weights", "sharing"):
        for part in config[setting]:
            if part not in recipe.identity:
                raise ValueError(
                    f"config.{setting} names {part!r}, which is not a part of the recipe; its "
                    f"parts are {sorted(recipe.identity)}. (A part whose strength is 0 is left out "
                    f"of some recipes: to do without one, give it a strength and the role 'off'.)"
                )
    table = {}
    for part in recipe.identity:
        role = config.roles.get(part, "invariant")
        if role not in ROLES:
            raise ValueError(f"config.roles.{part} is {role!r}; choose from {', '.join(ROLES)}.")
        sharing = config.sharing.get(part, "auto")
        weight = config.role_weights.get(part, 1.0)
        table[part] = Role(role, _sharing(part, role, sharing), _weight(part, role, weight))
    _check_magnitudes(table, recipe)
    return table


def check_contrast(lines: Mapping[str, Line]) -> None:
    """Two views that are compared must be able to differ.

    Raises:
      ValueError: if no part is drawn independently.
    """
    if all(isinstance(line.sharing, int) and line.sharing for line in lines.values()):
        named = ", ".join(f"{part} {'/'.join(line.weights)}" for part, line in lines.items())
        raise ValueError(
            f"Both contrast views of an image would be the same, since no part of the recipe is "
            f"drawn independently ({named}): make at least one part invariant, rotational or "
            f"predicted."
        )


def lines(table: Mapping[str, Role]) -> dict[str, Line]:
    """The table as the builder reads it: numbers by part."""
    return {
        part: Line(SHARINGS.index(entry.sharing), {entry.role: entry.weight})
        for part, entry in table.items()
    }


def parts_with(lines: Mapping[str, Line], role: str) -> list[str]:
    """The parts that have a role, or may have it where weights are traced."""
    return [part for part, line in lines.items() if role in line.weights]


def is_zero(weight: float | Array) -> bool:
    """Whether a weight is known to be 0 before anything is computed."""
    return isinstance(weight, int | float) and weight == 0


def amount(weight: float | Array) -> int | Array:
    """1 where the role is given, else 0: a number of `views.choose`."""
    return int(weight > 0) if isinstance(weight, int | float) else (weight > 0).astype(jnp.int32)


def strength(lines: Mapping[str, Line], role: str) -> float | Array:
    """1 if any part has the role, else 0."""
    weights = [lines[part].weights[role] for part in parts_with(lines, role)]
    if all(isinstance(weight, int | float) for weight in weights):
        return float(any(weight > 0 for weight in weights))
    return jnp.any(jnp.stack([jnp.asarray(weight) for weight in weights]) > 0).astype(jnp.float32)


def contrast_pattern(
    lines: Mapping[str, Line], others: Mapping[str, Pattern] = MappingProxyType({})
) -> Pattern:
    """Two views of each image, whose draws are independent, shared or left out part by part.

    `others` are the patterns of parts that a method shares in its own way.
    """
    kinds = views.independent(2), views.paired(2), views.fixed(2)
    special = {
        part: views.choose(line.sharing, *kinds)
        for part, line in lines.items()
        if not is_zero(line.sharing)
    }
    return views.mix(views.independent(2), **{**special, **others})


def _sharing(part: str, role: str, sharing: str) -> str:
    allowed = ROLES[role]
    if sharing == "auto":
        return allowed[0]
    if sharing not in SHARINGS:
        renamed = " ('rest' is now called 'fixed')" if sharing == "rest" else ""
        raise ValueError(
            f"config.sharing.{part} is {sharing!r}; choose from auto, {', '.join(SHARINGS)}"
            f"{renamed}."
        )
    if sharing not in allowed:
        why = {
            "ordered": "InfoNCE would pull together the views that the order loss keeps apart",
            "invariant": "nothing would ask for the invariance",
            "predicted": "the two views would not differ in what is to be predicted",
            "off": "it takes part in no view",
        }[role]
        raise ValueError(
            f"config.roles.{part} is {role!r} and config.sharing.{part} is {sharing!r}, which "
            f"contradict each other: {why}. Set the sharing to {' or '.join(allowed)} (or auto), "
            f"or choose another role."
        )
    return sharing


def _weight(part: str, role: str, weight: float) -> float:
    if not weight >= 0:  # NaN too
        raise ValueError(f"config.role_weights.{part} is {weight}; it must not be negative.")
    if weight != 1 and role not in WEIGHTED:
        setting = {
            "rotational": "all rotational parts turn together: weigh them by "
            "config.objectives.equivariance.weight",
            "invariant": "the contrast weighs all parts alike: see the weight of its entry in "
            "config.objectives, or the strength of the part in the recipe",
            "off": "it has no objective",
        }[role]
        raise ValueError(
            f"config.role_weights.{part} is {weight}, but {part} is {role} and has no objective "
            f"for itself: {setting}. Leave the weight at 1, or make the part ordered or predicted."
        )
    return float(weight)


def _check_magnitudes(table: Mapping[str, Role], recipe: Transform) -> None:
    ordered = [part for part, line in table.items() if line.role == "ordered"]
    if not ordered:
        return
    able = views.ladder_parts(recipe)
    for part in ordered:
        if part not in able:
            raise ValueError(
                f"config.roles.{part} is 'ordered', but a draw of {part} has no magnitude (it is "
                f"all or nothing, or its strength is 0). Choose another role for it, or order one "
                f"of {', '.join(able) or 'none: no part of this recipe has a magnitude'}."
            )
