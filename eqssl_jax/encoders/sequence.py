"""A transformer that makes one vector of a sequence of tokens: a head of objectives."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from eqssl_jax.encoders.heads import Head


class Aggregator(nn.Module):
    """A learned token, zero at first, attends to the sequence in layers with LayerNorm behind."""

    layers: int
    heads: int

    @nn.compact
    def __call__(self, tokens: Float[Array, "n l d"]) -> Float[Array, "n d"]:
        count, _, width = tokens.shape
        token = self.param("token", nn.initializers.zeros_init(), (1, 1, width))
        x = jnp.concatenate([jnp.broadcast_to(token, (count, 1, width)), tokens], axis=1)
        for _ in range(self.layers):
            attended = nn.MultiHeadDotProductAttention(self.heads)(x)
            x = nn.LayerNorm(epsilon=1e-5)(x + attended)
            y = nn.Dense(width)(nn.relu(nn.Dense(4 * width)(x)))
            x = nn.LayerNorm(epsilon=1e-5)(x + y)
        return nn.LayerNorm(epsilon=1e-5)(x)[:, 0]


def aggregator(layers: int, heads: int) -> Head:
    """An `Aggregator` as a pair of pure functions; `apply` takes [N, L, D] and gives [N, D]."""
    module = Aggregator(layers, heads)

    def init(key: Key[Array, ""], inputs: int) -> PyTree:
        return module.init(key, jnp.zeros((1, 1, inputs)))["params"]

    def apply(params: PyTree, x: Float[Array, "n l d"]) -> Float[Array, "n d"]:
        # Flax adds Python numbers to what strict promotion would refuse.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return jnp.asarray(module.apply({"params": params}, x))

    return Head(init, apply)
