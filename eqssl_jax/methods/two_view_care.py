"""CARE on the two views that are compared anyway: groups of images share their draws.

A step encodes two views of an image where the paper's form encodes four. Ours, not the paper's.
"""

from collections.abc import Mapping

from ml_collections import ConfigDict

from eqssl_jax import views
from eqssl_jax.methods.card import DRAWS, Addition, Card, Context
from eqssl_jax.methods.care import GROUPS, check_form, draws, gram_match
from eqssl_jax.methods.roles import SHARINGS, parts_with
from eqssl_jax.methods.row import TWO_VIEWS, Row
from eqssl_jax.views import Pattern


def sharing(values: ConfigDict, context: Context) -> Mapping[str, Pattern]:
    """Rotational parts are drawn once for each group and view."""
    turning = parts_with(context.lines, "rotational")
    for part in turning:
        index = context.lines[part].sharing
        if index != 0:
            raise ValueError(
                f"config.objectives.{context.key}.method is 'two_view_care': the contrast views "
                f"serve the Gram match too, so rotational parts must be drawn for each view, but "
                f"config.sharing.{part} is {SHARINGS[int(index)]!r}. Set it to 'auto', or use the "
                f"method 'care', which has views of its own."
            )
    return dict.fromkeys(turning, views.grouped(draws(values), 2))


def build(values: ConfigDict, context: Context) -> Addition:
    if not parts_with(context.lines, "rotational"):
        return Addition({}, {})
    check_form(values.form, context)
    geometry = context.config.model.geometry
    match = gram_match(values.splits, "contrast", form=values.form, geometry=geometry)
    return Addition({"contrast": context.contrast}, {context.key: (values.weight, match)})


CARD = Card(
    name="two_view_care",
    title="CARE's Gram match on the contrast views",
    source="ours, after Gupta et al. 2024, arXiv:2306.13924",
    settings=GROUPS,
    build=build,
    weight=0.1,
    role="rotational",
    needs=(DRAWS,),
    compares=False,
    geometries=("sphere", "hyperboloid"),
    sharing=sharing,
    benchmark=Row(cost=TWO_VIEWS),
)
