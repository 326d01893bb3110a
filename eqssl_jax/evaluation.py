"""The former name of `eqssl_jax.measures`, kept for one release."""

from eqssl_jax.measures import *  # noqa: F403
