"""What a transformation is: one draw, how to apply it, and the draw that does nothing."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from eqssl_jax.settings import accept
from eqssl_jax.transforms.checks import PROBABILITY

Params = Mapping[str, Any]  # a draw: names to arrays, nested for a chain


class Transform(NamedTuple):
    """A random transformation of one example, with its randomness written as data.

    Attributes:
      sample: `sample(key)` draws parameters: a dict of arrays whose names are listed in the README.
      apply: `apply(params, x)` transforms one example `x` (an image [H, W, C] in [0, 1], or a point
        cloud [n, 3]); deterministic, takes no key.
      identity: the parameters that do nothing, `apply(identity, x) == x`; the same tree, shapes and
        dtypes as a draw.
    """

    sample: Callable[[Key[Array, ""]], Params]
    apply: Callable[[Params, Array], Array]
    identity: Params


def chain(**parts: Transform) -> Transform:
    """Apply named transformations from left to right; the draw is a dict of their draws.

    >>> import jax
    >>> from eqssl_jax import transforms
    >>> both = chain(flip=transforms.horizontal_flip(), gray=transforms.grayscale())
    >>> sorted(both.sample(jax.random.key(0)))
    ['flip', 'gray']

    Raises:
      ValueError: without any part.
    """
    if not parts:
        raise ValueError(
            "chain() needs at least one named transformation, e.g. chain(flip=horizontal_flip())."
        )

    def sample(key: Key[Array, ""]) -> Params:
        keys = jax.random.split(key, len(parts))
        return {name: part.sample(k) for (name, part), k in zip(parts.items(), keys, strict=True)}

    def apply(params: Params, x: Array) -> Array:
        for name, part in parts.items():
            x = part.apply(params[name], x)
        return x

    return Transform(sample, apply, {name: part.identity for name, part in parts.items()})


def maybe(probability: float, transform: Transform) -> Transform:
    """Use `transform` with a probability, its identity otherwise: the draw alone says which.

    Raises:
      ValueError: if `probability` is not in [0, 1].
    """
    probability = accept("The probability of maybe()", probability, PROBABILITY)

    def sample(key: Key[Array, ""]) -> Params:
        key_use, key_draw = jax.random.split(key)
        use = jax.random.bernoulli(key_use, probability)
        # Leaf by leaf rather than lax.cond: under vmap a cond becomes a select anyway.
        return jax.tree.map(
            lambda drawn, still: jnp.where(use, drawn, still),
            transform.sample(key_draw),
            transform.identity,
        )

    return Transform(sample, transform.apply, transform.identity)
