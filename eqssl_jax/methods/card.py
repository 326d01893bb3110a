"""What a method's card says, and what the builder tells it: adding a method is writing one card."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from eqssl_jax import names, settings
from eqssl_jax.methods.roles import ROLES, Line
from eqssl_jax.methods.row import Row
from eqssl_jax.objectives.base import Objective
from eqssl_jax.objectives.geometry import GEOMETRIES
from eqssl_jax.objectives.prediction import parameter_differences
from eqssl_jax.transforms.base import Params, Transform
from eqssl_jax.views import Pattern, ViewSpec

TARGET, MEMORY, DRAWS, LABELS = "target", "memory", "draws", "labels"
NEEDS = (TARGET, MEMORY, DRAWS, LABELS)
WIDEST = 65_536  # of a layer


class Context(NamedTuple):
    """What a card is told of the run, beside its own settings.

    Attributes:
      key: its entry's name in config.objectives: what its objective is called in logs.
      recipe: the transformation of config.recipe.
      lines: the table of roles, a line for each part of the recipe.
      contrast: two views of each image, drawn as the roles say.
      config: all settings.
    """

    key: str
    recipe: Transform
    lines: Mapping[str, Line]
    contrast: ViewSpec
    config: ConfigDict


class Addition(NamedTuple):
    """What a card adds to a `Method`.

    Attributes:
      views: view sets by name; "contrast" is `Context.contrast`, which several cards share. A card
        that reads only some of its views says so (`ViewSpec.online`, `ViewSpec.target`).
      objectives: (weight, objective) by name.
    """

    views: Mapping[str, ViewSpec]
    objectives: Mapping[str, tuple[Any, Objective]]


def no_sharing(values: ConfigDict, context: Context) -> Mapping[str, Pattern]:
    """The `Card.sharing` of a card that leaves the contrast views to the roles."""
    del values, context
    return {}


class Card(NamedTuple):
    """All there is to know about a method.

    Attributes:
      name: short, as its file is named.
      title: as tables and figures show it.
      source: author, year, arXiv.
      settings: what it can be told, by name (`eqssl_jax.settings`); the groups `weight` and
        `method` are every entry's and are not listed.
      build: `build(values, context)` gives its view sets and objectives; `values` are its settings,
        in their ranges, with `values.weight`.
      weight: default of its entry.
      role: the role of the parts that it is about ("rotational", "ordered", "predicted"); it is
        left out where no part has that role. "": it is always used.
      needs: some of `NEEDS`: a target network, a memory, the parameters of draws, labels.
      compares: whether it compares the two contrast views, which must then be able to differ.
      geometries: where embeddings may lie.
      sharing: `sharing(values, context)` gives patterns of parts whose draws the two contrast views
        share in a way of the card's own; `context.contrast` is what the roles alone say.
      published: the key of its numbers in `tabular/published.json`, "" without.
      benchmark: its row in the equivariance benchmark; None: it has a row only where `--only` of
        `eqssl_jax.tables` names it.
    """

    name: str
    title: str
    source: str
    settings: settings.Schema
    build: Callable[[ConfigDict, Context], Addition]
    weight: float = 1.0
    role: str = ""
    needs: tuple[str, ...] = ()
    compares: bool = True
    geometries: tuple[str, ...] = ("sphere",)
    sharing: Callable[[ConfigDict, Context], Mapping[str, Pattern]] = no_sharing
    published: str = ""
    benchmark: Row | None = None


def mistake(card: Card) -> str:
    """What names what there is not, in what a card needs, or of its role or geometries; or ""."""
    groups = {"needs": (card.needs, NEEDS), "geometries": (card.geometries, (*GEOMETRIES,))}
    for field, (values, possible) in groups.items():
        if wrong := names.unknown(field, values, possible):
            return wrong
    if card.role not in ("", *ROLES):
        return f"role is {card.role!r}, and must be '' or one of {', '.join(ROLES)}"
    return ""


def on_contrast(values: ConfigDict, context: Context, objective: Objective) -> Addition:
    """One objective on the two contrast views."""
    views = {"contrast": context.contrast}
    return Addition(views, {context.key: (values.weight, objective)})


def code_of_draw(identity: Params, draws: Params) -> Float[Array, "n k"]:
    """The code of the change from an image to its view, of draws [1, N, …]: from the identity."""

    def beside(still: Any, drawn: Array) -> Array:
        return jnp.stack([jnp.broadcast_to(jnp.asarray(still), drawn[0].shape), drawn[0]])

    return parameter_differences(jax.tree.map(beside, dict(identity), dict(draws)))


def temperature(default: float, doc: str = "τ of the softmax") -> settings.Setting:
    """A temperature: never 0, which embeddings would be divided by."""
    return settings.number(default, doc, low=1e-4, high=1e4)


def widths(default: tuple[int, ...], doc: str, *, least: int = 0) -> settings.Setting:
    """Widths of the layers of a head."""
    return settings.wholes(default, doc, low=1, high=WIDEST, least=least, most=16)


def first_images() -> settings.Setting:
    """How many images of a batch a view set is of."""
    return settings.whole(0, "only the first so many images of the batch; 0: all", high=2**20)
