"""What a transformation is: one draw, how to apply it, and the draw that does nothing."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from eqssl_jax.settings import accept
from eqssl_jax.transforms.checks import PROBABILITY

Params = Mapping[str, Any]  # a draw: names to arrays, nested for a chain
Sample = Callable[[Key[Array, ""]], Params]


class Transform(NamedTuple):
    """A random transformation of one example, with its randomness written as data.

    Attributes:
      sample: `sample(key)` draws parameters: a dict of arrays whose names are listed in the README.
      apply: `apply(params, x)` transforms one example `x` (an image [H, W, C] in [0, 1], or a point
        cloud [n, 3]); deterministic, takes no key.
      identity: the parameters that do nothing, `apply(identity, x) == x`; the same tree, shapes and
        dtypes as a draw.
    """

    sample: Sample
    apply: Callable[[Params, Array], Array]
    identity: Params


@dataclasses.dataclass(frozen=True, eq=False)
class FromUniform:
    """A `sample` that is a function of so many independent numbers, uniform in [0, 1).

    What draws in this form shares one call of the generator with all parts of its chain and all
    images of its views: XLA takes longer to compile such a call than to compile a transformation.

    Attributes:
      numbers: how many it takes.
      read: `read(u)` makes parameters of u [numbers].
    """

    numbers: int
    read: Callable[[Float[Array, " n"]], Params]

    def __call__(self, key: Key[Array, ""]) -> Params:
        return self.read(jax.random.uniform(key, (self.numbers,)))


def draw_many(sample: Sample, key: Key[Array, ""], shape: tuple[int, ...]) -> Params:
    """Independent draws, leaves [*shape, ...]: one call of the generator where `sample` allows."""
    if isinstance(sample, FromUniform):
        read, many = sample.read, jax.random.uniform(key, (*shape, sample.numbers))
    else:
        read, many = sample, jax.random.split(key, shape)
    for _ in shape:
        read = jax.vmap(read)
    return read(many)


def then(sample: Sample, change: Callable[[Params], Params]) -> Sample:
    """The same draws after `change`."""
    if isinstance(sample, FromUniform):
        read = sample.read
        return FromUniform(sample.numbers, lambda u: change(read(u)))
    return lambda key: change(sample(key))


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

    def apply(params: Params, x: Array) -> Array:
        for name, part in parts.items():
            x = part.apply(params[name], x)
        return x

    sample = _together({name: part.sample for name, part in parts.items()})
    return Transform(sample, apply, {name: part.identity for name, part in parts.items()})


def _together(samples: Mapping[str, Sample]) -> Sample:
    """One sample for several: a call for all that are `FromUniform`, a key for each other one."""
    uniform = {name: part for name, part in samples.items() if isinstance(part, FromUniform)}

    def read(u: Float[Array, " n"]) -> Params:
        drawn, start = dict[str, Any](), 0
        for name, part in uniform.items():
            drawn[name] = part.read(u[start : start + part.numbers])
            start += part.numbers
        return drawn

    shared = FromUniform(sum(part.numbers for part in uniform.values()), read)
    if len(uniform) == len(samples):
        return shared

    def sample(key: Key[Array, ""]) -> Params:
        keys = dict(zip(samples, jax.random.split(key, len(samples)), strict=True))
        drawn = shared(keys[next(iter(uniform))]) if uniform else {}
        others = {name: part(keys[name]) for name, part in samples.items() if name not in uniform}
        return {name: {**drawn, **others}[name] for name in samples}

    return sample


def maybe(probability: float, transform: Transform) -> Transform:
    """Use `transform` with a probability, its identity otherwise: the draw alone says which.

    Raises:
      ValueError: if `probability` is not in [0, 1].
    """
    probability = accept("The probability of maybe()", probability, PROBABILITY)

    use = FromUniform(1, lambda u: {"use": u[0] < probability})

    def choose(draws: Params) -> Params:
        # Leaf by leaf rather than lax.cond: under vmap a cond becomes a select anyway.
        return jax.tree.map(
            lambda drawn, still: jnp.where(draws["use"]["use"], drawn, still),
            draws["draw"],
            transform.identity,
        )

    sample = then(_together({"use": use, "draw": transform.sample}), choose)
    return Transform(sample, transform.apply, transform.identity)
