"""The target network, as of MoCo and BYOL: which views it sees, and how slowly it follows."""

import math
from collections.abc import Iterable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from eqssl_jax.methods.base import Method
from eqssl_jax.objectives.base import Views


def target_embeddings(name: str, seen: Views) -> Float[Array, "v n d"]:
    """What the target network makes of a view set.

    Raises:
      ValueError: without a target network.
    """
    if seen.target is None:
        raise ValueError(f"The method {name} needs a target network, and there is none.")
    return seen.target


def with_target(method: Method, config: ConfigDict, readers: Iterable[str]) -> Method:
    """The method with a target network, which sees the view sets of the objectives `readers`.

    Raises:
      ValueError: for a momentum out of [0, 1].
    """
    for name in ("momentum", "final"):
        if not 0 <= config.target[name] <= 1:
            raise ValueError(f"config.target.{name} is {config.target[name]}; it lies in [0, 1].")
    names = dict.fromkeys(n for key in readers for n in method.objectives[key][1].names())
    # Until the length of training is known: `scheduled`.
    return scheduled(method._replace(target_views=tuple(names)), config, steps=1)


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
