"""CARE: augmentations act on embeddings as rotations, by matching Gram matrices within groups."""

from collections.abc import Iterable

from jaxtyping import Array, Float
from ml_collections import ConfigDict

from eqssl_jax import objectives, views
from eqssl_jax.methods.card import DRAWS, Addition, Card, Context, first_images
from eqssl_jax.methods.recipe import at_same_size, build_recipe
from eqssl_jax.methods.roles import Line, amount, parts_with, strength
from eqssl_jax.methods.row import Row
from eqssl_jax.objectives.base import Metrics, Objective, Views
from eqssl_jax.settings import choice, free, shown, text, whole
from eqssl_jax.transforms.base import Transform
from eqssl_jax.views import Pattern, ViewSpec

SOURCE = "Gupta, Robinson, Lim, Villar and Jegelka 2024, arXiv:2306.13924"
GROUPS = {
    "splits": whole(16, "groups of images that are compared", low=1, high=2**20),
    "form": choice(
        "euclidean",
        "what a group's views keep, and so how augmentations act: euclidean (rotations) and "
        "symplectic on the sphere, minkowski (Lorentz maps) on the hyperboloid",
        tuple(objectives.FORMS),
    ),
    # Algorithm 1 draws anew for every group; the authors' code takes one draw for all of them.
    "variant": choice(
        "paper", "paper: a draw for each group; code: one draw for all groups", ("paper", "code")
    ),
}


def draws(values: ConfigDict) -> int:
    """How many distinct draws a view of the equivariance set holds."""
    return values.splits if values.variant == "paper" else 1


def gram_match(
    groups: int,
    views: str = "equivariance",
    *,
    form: str = "euclidean",
    geometry: str = "sphere",
) -> Objective:
    """CARE's Gram match of the two views of a set whose groups share their draws.

    The diagonal, constant for forms that fit the geometry, is left out.
    """
    place = objectives.GEOMETRIES[geometry].place

    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        z1, z2 = place(seen.embeddings)
        if form == "euclidean":  # the same value without a multiplication by I
            return objectives.orthogonal_equivariance(z1, z2, groups=groups), {}
        b = objectives.FORMS[form](z1.shape[-1])
        value = objectives.form_equivariance(z1, z2, form=b, groups=groups, diagonal=False)
        return value, {}

    return Objective(views, loss)


def turning_pattern(
    lines: dict[str, Line], parts: Iterable[str], groups: int, reference: str
) -> Pattern:
    """Two views whose rotational parts are shared within groups; the others at the identity."""
    shared = views.grouped(groups, 2, reference=reference)
    kinds = views.fixed(2), shared
    others = {}
    for part in parts:
        weight = lines[part].weights.get("rotational", 0.0) if part in lines else 0.0
        if not isinstance(weight, float) or not weight:
            others[part] = views.choose(amount(weight), *kinds)
    return views.mix(shared, **others)


def build(values: ConfigDict, context: Context) -> Addition:
    turning = parts_with(context.lines, "rotational")
    if not turning:
        return Addition({}, {})
    recipe = _recipe(values, context, turning)
    pattern = turning_pattern(dict(context.lines), recipe.identity, draws(values), values.reference)
    geometry = context.config.model.geometry
    check_form(values.form, context)
    match = gram_match(values.splits, context.key, form=values.form, geometry=geometry)
    weight = values.weight * strength(context.lines, "rotational")
    sets = {context.key: ViewSpec(recipe, pattern, values.images or None)}
    return Addition(sets, {context.key: (weight, match)})


def _recipe(values: ConfigDict, context: Context, turning: list[str]) -> Transform:
    """The recipe of the equivariance views: its own if it has one, else that of the contrast."""
    if not values.recipe:
        if values.recipe_options:
            raise ValueError(
                f"config.objectives.{context.key}.recipe_options is "
                f"{shown(values.recipe_options.to_dict())}, and recipe is '': name the recipe that "
                f"these options are of, or leave them out."
            )
        return context.recipe
    setting = f"config.objectives.{context.key}.recipe"
    options = at_same_size(values.recipe, values.recipe_options, context.config)
    recipe = build_recipe(values.recipe, options, setting, f"{setting}_options")
    missing = [part for part in turning if part not in recipe.identity]
    if missing:
        raise ValueError(
            f"{missing} are rotational, but {setting} = {values.recipe!r} has only the parts "
            f"{sorted(recipe.identity)}: give them another role, or set that recipe to '' to use "
            f"config.recipe."
        )
    return recipe


def check_form(form: str, context: Context) -> None:
    """The form of the Gram match must belong to the geometry.

    Raises:
      ValueError: for a form whose diagonal is not constant on the geometry, or a symplectic form
        on an odd number of dimensions.
    """
    geometry, setting = context.config.model.geometry, f"config.objectives.{context.key}.form"
    fitting = objectives.GEOMETRIES[geometry].forms
    if form not in fitting:
        homes = [name for name, place in objectives.GEOMETRIES.items() if form in place.forms]
        raise ValueError(
            f"{setting} is {form!r} and config.model.geometry is {geometry!r}, which do not fit: "
            f"zᵀBz of that form differs from point to point there, and the Gram match does not "
            f"look at it. Set the geometry to {' or '.join(map(repr, homes))}, or the form to "
            f"{' or '.join(map(repr, fitting))}."
        )
    projector = context.config.model.projector
    width = projector[-1] if projector else 0
    if form == "symplectic" and width % 2:
        raise ValueError(
            f"{setting} is 'symplectic', which needs embeddings of even width, and "
            f"config.model.projector ends in {width}: let it end in {width + 1}."
        )


CARD = Card(
    name="care",
    title="CARE's Gram match",
    source=SOURCE,
    settings={
        **GROUPS,
        "reference": choice(
            "augmented",
            "augmented: two draws; identity: a draw and no draw",
            ("augmented", "identity"),
        ),
        "images": first_images(),
        "recipe": text("", "another recipe for these views; '': the same", longest=200),
        "recipe_options": free("options of that recipe, by name"),
    },
    build=build,
    weight=0.1,
    role="rotational",
    needs=(DRAWS,),
    compares=False,
    geometries=("sphere", "hyperboloid"),
    published="CARE-SimCLR",
    benchmark=Row(cost={"": 2.0}),
)
