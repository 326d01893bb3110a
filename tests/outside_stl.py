"""STL's pairing as a method from outside the package: two images share their draws, and a code read
from both views of one says which draws the other had (Yu et al. 2024, arXiv:2501.08712).

Only what pairing takes: the invariance and the transformation losses, with one head.
"""

import jax.numpy as jnp

from eqssl_jax import encoders, objectives, views
from eqssl_jax.methods import Addition, Card
from eqssl_jax.objectives import Objective, unit
from eqssl_jax.settings import number, wholes
from eqssl_jax.views import ViewSpec


def build(values, context):
    aligned = [part for part in context.recipe.identity if part not in ("flip", "blur")]
    pairs = {part: views.grouped(size=2) for part in aligned}
    pattern = views.mix(views.independent(2), **pairs)
    head = encoders.mlp(tuple(values.code))

    def init(key, seen):
        return head.init(key, 2 * seen.features.shape[-1])

    def loss(weights, seen):
        y1, y2 = seen.features
        codes = [
            head.apply(weights, jnp.concatenate(pair, axis=-1)) for pair in ((y1, y2), (y2, y1))
        ]
        even, odd = (unit(jnp.concatenate([c[start::2] for c in codes])) for start in (0, 1))
        aligned = objectives.info_nce(even, odd, temperature=values.temperature)
        z1, z2 = unit(seen.embeddings)
        invariant = objectives.info_nce(z1, z2, temperature=values.temperature)
        return invariant + values.alignment * aligned, {"code_alignment": aligned}

    sets = {"pairs": ViewSpec(context.recipe, pattern)}
    return Addition(sets, {context.key: (values.weight, Objective("pairs", loss, init))})


stl = Card(
    name="stl",
    title="STL's pairing",
    source="Yu et al. 2024, arXiv:2501.08712",
    settings={
        "temperature": number(0.2, "τ of all three", above=0),
        "alignment": number(0.1, "λ of the codes of partners", low=0),
        "code": wholes((16, 8), "widths of the head of codes", low=1, least=1),
    },
    build=build,
)
