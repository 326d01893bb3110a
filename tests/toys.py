"""Small stand-ins that follow the library's contracts: a network, transformations, a method.

Each is made once, so that programs of the same functions are compiled once.
"""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp

from eqssl_jax.encoders import Network
from eqssl_jax.encoders.heads import MLP
from eqssl_jax.transforms import Transform, chain
from eqssl_jax.views import Draws, ViewSpec


def shift(limit: float = 0.3) -> Transform:
    """Adds a number to every pixel."""
    return Transform(
        sample=lambda key: {"by": jax.random.uniform(key, (), minval=-limit, maxval=limit)},
        apply=lambda params, x: x + params["by"],
        identity={"by": jnp.zeros(())},
    )


def scale() -> Transform:
    """Multiplies every pixel."""
    return Transform(
        sample=lambda key: {"factor": jax.random.uniform(key, (), minval=0.5, maxval=2.0)},
        apply=lambda params, x: x * params["factor"],
        identity={"factor": jnp.ones(())},
    )


@functools.cache
def recipe() -> Transform:
    return chain(shift=shift(), scale=scale())


@functools.cache
def linear_network(features: int = 6, dimension: int = 4) -> Network:
    """Two matrices; its only "BatchNorm" counts the views it has seen in training."""

    def init(key: jax.Array, shape: tuple[int, ...]) -> dict:
        first, second = jax.random.split(key)
        size = 1
        for side in shape:
            size *= side
        return {
            "params": {
                "encoder": jax.random.normal(first, (size, features)) / size**0.5,
                "projector": jax.random.normal(second, (features, dimension)),
            },
            "batch_stats": {"seen": jnp.zeros(())},
        }

    def apply(params, batch_stats, images, *, views=1, train):
        h = jnp.tanh(images.reshape(images.shape[0], -1) @ params["encoder"])
        stats = {"seen": batch_stats["seen"] + views} if train else batch_stats
        return (h, h @ params["projector"]), stats

    return Network(init, apply)


@functools.cache
def normed_network(dtype: str = "float32") -> Network:
    """The smallest network of the library's own parts: a projector and its BatchNorm alone."""
    normed = MLP((16, 8), dtype=jnp.dtype(dtype))

    def init(key: jax.Array, shape: tuple[int, ...]) -> dict:
        x = jnp.zeros((2, math.prod(shape)))
        variables = normed.init(key, x, train=False)
        return {"params": variables["params"], "batch_stats": variables["batch_stats"]}

    def apply(params, batch_stats, images, *, views=1, train):
        x = images.reshape(images.shape[0], -1)
        variables = {"params": params, "batch_stats": batch_stats}
        if not train:
            z = normed.apply(variables, x, train=False)
            return (z, z), batch_stats
        z, moved = normed.apply(variables, x, views=views, train=True, mutable=["batch_stats"])
        return (z, z), moved["batch_stats"]

    return Network(init, apply, local=True)


def drawn(spec: ViewSpec, count: int, seed: int = 0) -> Draws:
    """The draws of a view set for so many images, as one program."""
    draw = jax.jit(lambda key: spec.pattern.draw(key, spec.transform, count))
    return draw(jax.random.key(seed))


def read(pool: jax.Array, indices: jax.Array) -> jax.Array:
    return pool[indices]


_COUNTED: list[list[str]] = []


def _count(event: str, seconds: float, **_: object) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        for counted in _COUNTED:
            counted.append(event)


jax.monitoring.register_event_duration_secs_listener(_count)  # jax 0.7 cannot take it back


@contextmanager
def compilations() -> Iterator[list[str]]:
    """A list that gets an entry for each program that is compiled meanwhile, or read from disk."""
    counted: list[str] = []
    _COUNTED.append(counted)
    try:
        yield counted
    finally:
        _COUNTED.pop()
