"""Who shares a draw: the patterns that turn one transformation into the views of a batch.

A pattern decides only how parameters are drawn; applying them is always the same double vmap
(`render`). All methods of the library are combinations of these patterns.

| pattern          | one draw per ...                       | serves                              |
|------------------|----------------------------------------|-------------------------------------|
| `independent(v)` | image and view                         | InfoNCE and other invariances       |
| `grouped(...)`   | group of images and view               | CARE's Gram match, pairs of images  |
| `ladder(rungs)`  | image, approached from the identity    | order preservation, sweeps          |
| `paired(v)`      | image, shared by its views             | what must not become an invariance  |
| `fixed(v)`       | (always the identity)                  | what a view set leaves out          |
| `mix(base, ...)` | as the pattern of each named part      | a role for each transformation      |
| `choose(i, ...)` | as pattern number i                    | many roles in one compiled program  |

Who shares a draw in a pattern, of whatever author, is told in words by `describe`.
"""

from eqssl_jax.views.base import Draws, Pattern, ViewSpec, describe, render
from eqssl_jax.views.ladders import ladder, ladder_parts
from eqssl_jax.views.sharing import choose, fixed, grouped, independent, mix, paired

__all__ = [
    "Draws",
    "Pattern",
    "ViewSpec",
    "choose",
    "describe",
    "fixed",
    "grouped",
    "independent",
    "ladder",
    "ladder_parts",
    "mix",
    "paired",
    "render",
]
