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

from ml_collections import ConfigDict

from eqssl_jax import views
from eqssl_jax.transforms.base import Transform
from eqssl_jax.views import Pattern, ViewSpec

INDEPENDENT, SHARED, REST = "independent", "shared", "rest"

# Role -> what the contrast views may see of it, the usual one first.
ROLES: Mapping[str, tuple[str, ...]] = {
    "invariant": (INDEPENDENT,),
    "rotational": (INDEPENDENT, SHARED, REST),
    "ordered": (SHARED, REST),
    "predicted": (INDEPENDENT,),
    "off": (REST,),
}
# Roles whose parts each have an objective, which `config.role_weights` can weigh.
WEIGHTED = ("ordered", "predicted")


class Role(NamedTuple):
    """One line of the table.

    Attributes:
      role: a key of `ROLES`.
      sharing: what the two contrast views see: "independent", "shared" or "rest".
      weight: factor on the objective that this part has for itself.
    """

    role: str
    sharing: str
    weight: float = 1.0


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


def parts(table: Mapping[str, Role], role: str) -> list[str]:
    """The parts with a role, in the order of the recipe."""
    return [part for part, line in table.items() if line.role == role]


def check_contrast(table: Mapping[str, Role], *, compared: bool) -> None:
    """Two views that are compared must be able to differ.

    Raises:
      ValueError: if the views are compared and no part is drawn independently.
    """
    if compared and not any(line.sharing == INDEPENDENT for line in table.values()):
        named = ", ".join(f"{part} {line.role}" for part, line in table.items())
        raise ValueError(
            f"Both contrast views of an image would be the same, since no part of the recipe is "
            f"drawn independently ({named}): make at least one part invariant, rotational or "
            f"predicted."
        )


def contrast_pattern(
    table: Mapping[str, Role], others: Mapping[str, Pattern] = MappingProxyType({})
) -> Pattern:
    """Two views of each image, whose draws are independent, shared or left out part by part.

    `others` are the patterns of parts that are shared in a way of their own.
    """
    kinds = {SHARED: views.paired(2), REST: views.still(2)}
    special = {part: kinds[line.sharing] for part, line in table.items() if line.sharing in kinds}
    return views.mix(views.independent(2), **{**special, **others})


def ladder_views(
    part: str,
    table: Mapping[str, Role],
    recipe: Transform,
    *,
    rungs: int,
    spacing: str,
    images: int,
) -> ViewSpec:
    """A ladder of one part; all else is drawn once for each image, so that only the part changes.

    What is off stays at rest.
    """
    still = {other: views.still(rungs) for other in parts(table, "off")}
    ladder = views.ladder(rungs, spacing=spacing)
    pattern = views.mix(views.paired(rungs), **still, **{part: ladder})
    return ViewSpec(recipe, pattern, images or None, joint=True)


def rotational_views(
    turning: list[str], recipe: Transform, shared: Pattern, images: int
) -> ViewSpec:
    """Views whose rotational parts are shared within groups; other parts stay at the identity."""
    rest = {part: views.still(shared.views) for part in recipe.identity if part not in turning}
    return ViewSpec(recipe, views.mix(shared, **rest), images or None)


def _sharing(part: str, role: str, sharing: str) -> str:
    allowed = ROLES[role]
    if sharing == "auto":
        return allowed[0]
    if sharing not in (INDEPENDENT, SHARED, REST):
        raise ValueError(
            f"config.sharing.{part} is {sharing!r}; choose from auto, independent, shared and rest."
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
            "invariant": "the contrast weighs all parts alike: see "
            "config.objectives.info_nce.weight, or the strength of the part in the recipe",
            "off": "it has no objective",
        }[role]
        raise ValueError(
            f"config.role_weights.{part} is {weight}, but {part} is {role} and has no objective "
            f"for itself: {setting}. Leave the weight at 1, or make the part ordered or predicted."
        )
    return float(weight)


def _check_magnitudes(table: Mapping[str, Role], recipe: Transform) -> None:
    ordered = parts(table, "ordered")
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
