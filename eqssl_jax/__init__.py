"""Equivariant self-supervised learning in JAX.

Every transformation of the input has a role: the representation may be invariant to it, turn with
it, keep its order, or predict it. The rooms of the package answer one question each; see the
table in the README.

`eqssl_jax.load(...)` gives the encoder of a run, a weights file, an exported program or a function
(`eqssl_jax.experiment.load`). It is imported when it is asked for: `import eqssl_jax` is instant.
"""

from typing import Any

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name == "load":
        from eqssl_jax.experiment.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
