"""What is compared: the config's own table of roles, each of its roles changed in turn, and the
table as it is with one method more.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from eqssl_jax import views
from eqssl_jax.methods import ROLES, Card, Line, Method, Role, assemble, find, resolve
from eqssl_jax.methods.roles import SHARINGS
from eqssl_jax.tabular.advice import BASE, OBJECTIVES
from eqssl_jax.transforms.base import Transform


class Candidate(NamedTuple):
    """What is trained under a table of roles.

    Attributes:
      table: the role of every part.
      changed: the (part, role) that it differs from the base in, None for the base; with a method,
        `OBJECTIVES` and "with " and the method's title.
      method: of an entry that is added to config.objectives, as config.advice.methods names it.
    """

    table: dict[str, Role]
    changed: tuple[str, str] | None = None
    method: str = ""

    @property
    def name(self) -> str:
        if self.changed is None:
            return BASE
        return self.changed[1] if self.method else "{}_{}".format(*self.changed)

    def role(self, part: str) -> str:
        """The role of a part; "base" for `OBJECTIVES`, which are everyone's but for methods."""
        return BASE if part == OBJECTIVES else self.table[part].role


class Gates(NamedTuple):
    """Tables of roles as numbers, so that one program serves them all; K candidates, P parts.

    Attributes:
      sharing: what the contrast views see of a part, an index of `methods.roles.SHARINGS`, [K, P].
      off: 1 where the part is off, else 0, [K, P].
      order, turning, prediction: weight of the part's own objective, 0 without the role, [K, P].
    """

    sharing: Int[Array, "k p"]
    off: Int[Array, "k p"]
    order: Float[Array, "k p"]
    turning: Float[Array, "k p"]
    prediction: Float[Array, "k p"]


def candidates(config: ConfigDict, recipe: Transform) -> list[Candidate]:
    """The base (config.roles) first, then every other role of config.advice for every part, and the
    base with each of its methods.

    A part that has no magnitude is not tried as ordered.

    Raises:
      ValueError: for an unknown role, part or method, one that cannot be added, or if nothing is
        left to compare.
    """
    wanted = tuple(dict.fromkeys(config.advice.roles))  # each once
    chosen = tuple(dict.fromkeys(config.advice.parts))
    unknown = [role for role in wanted if role not in ROLES]
    if unknown:
        raise ValueError(f"config.advice.roles names {unknown}; choose from {', '.join(ROLES)}.")
    missing = [part for part in chosen if part not in recipe.identity]
    if missing:
        raise ValueError(
            f"config.advice.parts names {missing}, not among the recipe's parts "
            f"{list(recipe.identity)}."
        )
    base = resolve(config, recipe)
    able = views.ladder_parts(recipe)
    tried = [Candidate(base)]
    for part in chosen or tuple(recipe.identity):
        for role in wanted:
            if role != base[part].role and (role != "ordered" or part in able):
                changed = Role(role, ROLES[role][0])
                tried.append(Candidate({**base, part: changed}, (part, role)))
    for name, card in _added(config, base).items():
        tried.append(Candidate(base, (OBJECTIVES, f"with {card.title}"), name))
    if len(tried) < 2:
        raise ValueError(
            f"There is nothing to compare: config.advice.roles = {wanted} tries no role beside "
            f"those in config.roles for {list(chosen or recipe.identity)}, and "
            f"config.advice.methods names no method."
        )
    return tried


def _added(config: ConfigDict, base: Mapping[str, Role]) -> dict[str, Card]:
    """The cards of config.advice.methods, each of which must be new and have something to train."""
    added: dict[str, Card] = {}
    entries = config.objectives.items()
    trained = {
        *config.objectives,
        *(find(values.get("method", key)).name for key, values in entries),
    }
    given = {line.role for line in base.values()}
    for name in config.advice.methods:
        card = find(name, "config.advice.methods")
        setting = f"config.advice.methods names {name!r}"
        if not card.name.isidentifier():
            raise ValueError(f"{setting}, whose card is named {card.name!r}: use letters, 0–9, _.")
        if card.role and card.role not in given:
            raise ValueError(
                f"{setting}, which trains parts that are {card.role}, and config.roles has none: "
                f"try the role by config.advice.roles, or give it to a part of the base."
            )
        if card.name in trained:
            raise ValueError(
                f"{setting}, and config.objectives has an entry of {card.title} or one of that "
                f"name already, which every candidate trains: leave it out of one of them."
            )
        if any({card.title, card.name} & {other.title, other.name} for other in added.values()):
            raise ValueError(f"{setting}, and another card that is named {card.title}, too.")
        added[name] = card
    return added


def gates(tables: list[dict[str, Role]]) -> Gates:
    """The numbers of several tables."""

    def weights(role: str) -> Float[Array, "k p"]:
        rows = [[r.weight if r.role == role else 0.0 for r in t.values()] for t in tables]
        return jnp.asarray(np.array(rows, np.float32))

    sharing = [[SHARINGS.index(r.sharing) for r in table.values()] for table in tables]
    return Gates(
        jnp.asarray(np.array(sharing, np.int32)),
        (weights("off") > 0).astype(jnp.int32),
        weights("ordered"),
        weights("rotational"),
        weights("predicted"),
    )


def gated_method(
    config: ConfigDict, recipe: Transform, gate: Gates, used: Collection[tuple[str, str]]
) -> Method:
    """The method of one table, given as numbers [P] that may be traced.

    `used` are the (part, role) of all tables; roles that none has are left out. A weight of 0
    leaves a loss without effect but not without cost, and the running averages of BatchNorm see the
    view sets of all roles, also under tables without them.
    """
    by_role = {
        "rotational": gate.turning,
        "ordered": gate.order,
        "predicted": gate.prediction,
        "off": gate.off,
    }
    lines = {
        part: Line(
            gate.sharing[i],
            {role: numbers[i] for role, numbers in by_role.items() if (part, role) in used},
        )
        for i, part in enumerate(recipe.identity)
    }
    return assemble(config, recipe, lines)
