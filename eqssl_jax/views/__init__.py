"""Who shares a draw: the patterns that turn one transformation into the views of a batch.

A pattern decides only how parameters are drawn; applying them is always the same double vmap
(`render`). All methods of the library are combinations of these patterns.

| pattern          | one draw per ...                       | serves                              |
|------------------|----------------------------------------|-------------------------------------|
| `independent(v)` | image and view                         | InfoNCE and other invariances       |
| `grouped(g)`     | group of images and view               | CARE's Gram match                   |
| `ladder(rungs)`  | image, walked from identity to the draw| order preservation, sweeps          |
| `paired(v)`      | image, shared by its views             | what must not become an invariance  |
| `still(v)`       | (always the identity)                  | what a view set leaves out          |
| `mix(base, ...)` | as each named part says                | a role for each transformation      |
| `choose(i, ...)` | as pattern number i says               | many roles in one compiled program  |
"""

from eqssl_jax.views.base import Draws, Pattern, ViewSpec, render
from eqssl_jax.views.ladders import ladder, ladder_parts
from eqssl_jax.views.mixing import choose, mix
from eqssl_jax.views.sharing import grouped, independent, paired, still

__all__ = [
    "Draws",
    "Pattern",
    "ViewSpec",
    "choose",
    "grouped",
    "independent",
    "ladder",
    "ladder_parts",
    "mix",
    "paired",
    "render",
    "still",
]
