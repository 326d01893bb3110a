"""Objectives that keep what a transformation did: one file a method, after its authors' formulas.

Pure functions of embeddings, parameters of draws and weights of heads. Where a paper, its README
and its code differ, the docstring says so; a default is the code's, at the commit named.
"""

from eqssl_jax.objectives.equivariant import (
    augself,
    augself_targets,
    context,
    equimod,
    essl,
    layers,
    sen,
    seqjepa,
    ser,
    sie,
    stl,
)

__all__ = [
    "augself",
    "augself_targets",
    "context",
    "equimod",
    "essl",
    "layers",
    "sen",
    "seqjepa",
    "ser",
    "sie",
    "stl",
]
