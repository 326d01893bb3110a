"""What is being trained? Roles and weights of a config become view sets and objectives."""

from eqssl_jax.method.base import Method
from eqssl_jax.method.build import build
from eqssl_jax.method.recipe import build_recipe
from eqssl_jax.method.roles import ROLES, Role, resolve
from eqssl_jax.method.target import scheduled

__all__ = ["ROLES", "Method", "Role", "build", "build_recipe", "resolve", "scheduled"]
