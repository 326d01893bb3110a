"""What is being trained? One file for each method: its card; roles and cards become a `Method`."""

from eqssl_jax.methods.base import Method
from eqssl_jax.methods.build import assemble, build
from eqssl_jax.methods.card import Addition, Card, Context, on_contrast
from eqssl_jax.methods.entries import (
    cards,
    entry,
    find,
    learns_from_labels,
    resolved,
    role_entries,
)
from eqssl_jax.methods.recipe import at_same_size, build_recipe
from eqssl_jax.methods.roles import ROLES, Line, Role, resolve
from eqssl_jax.methods.row import Row, relative_cost
from eqssl_jax.methods.target import scheduled
from eqssl_jax.methods.viewpoints import RECIPE as STORED_VIEWS
from eqssl_jax.methods.viewpoints import NotStoredError, entries_of, places

__all__ = [
    "ROLES",
    "STORED_VIEWS",
    "Addition",
    "Card",
    "Context",
    "Line",
    "Method",
    "NotStoredError",
    "Role",
    "Row",
    "assemble",
    "at_same_size",
    "build",
    "build_recipe",
    "cards",
    "entry",
    "find",
    "learns_from_labels",
    "on_contrast",
    "places",
    "relative_cost",
    "resolve",
    "resolved",
    "role_entries",
    "scheduled",
]
