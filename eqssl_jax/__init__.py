"""Equivariant self-supervised learning in JAX.

Every transformation of the input has a role: the representation may be invariant to it, turn with
it, keep its order, or predict it. The rooms of the package answer one question each; see the
table in the README.
"""

__version__ = "0.1.0"
