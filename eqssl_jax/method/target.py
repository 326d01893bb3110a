"""The target network of MoCo and BYOL: which views it sees, and how slowly it follows."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from eqssl_jax.method.base import Method
from eqssl_jax.method.bases import TARGETED


def with_target(method: Method, config: ConfigDict) -> Method:
    """The method with a target network if one of its objectives needs it.

    MoCo alone, not symmetric, asks view 0 of the online network and view 1 of the target: the
    other halves are not computed.

    Raises:
      ValueError: for a momentum out of [0, 1].
    """
    if not set(TARGETED) & set(method.objectives):
        return method
    for name in ("momentum", "final"):
        if not 0 <= config.target[name] <= 1:
            raise ValueError(f"config.target.{name} is {config.target[name]}; it lies in [0, 1].")
    readers = [name for name, (_, one) in method.objectives.items() if "contrast" in one.names()]
    sets = dict(method.views)
    if readers == ["moco"] and not config.objectives.moco.symmetric:
        sets["contrast"] = sets["contrast"]._replace(online=(0,), target=(1,))
    # Until the length of training is known: `scheduled`.
    return scheduled(method._replace(views=sets, target_views=("contrast",)), config, steps=1)


def scheduled(method: Method, config: ConfigDict, steps: int) -> Method:
    """The method with its momentum rising from config.target.momentum to .final over `steps`.

    m(t) = final − (final − start) · (1 + cos(π t / steps)) / 2, as BYOL has it (Grill et al. 2020,
    arXiv:2006.07733); constant where the two are equal, as MoCo has it.
    """
    if not method.target_views:
        return method
    start, final = config.target.momentum, config.target.final

    def momentum(step: Int[Array, ""]) -> Float[Array, ""]:
        progress = jnp.minimum(step.astype(jnp.float32) / steps, 1.0)
        return final - (final - start) * (1 + jnp.cos(math.pi * progress)) / 2

    return method._replace(momentum=momentum)
