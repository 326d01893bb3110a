"""Heads for objectives: multi-layer perceptrons, which projectors are too, and a transformer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from eqssl_jax.encoders.norm import BatchNorm


class Dense(nn.Module):
    """x W + b with torch.nn.Linear's start, both U(±1/√inputs); the sum is kept in float32.

    Attributes:
      features: outputs.
      bias: whether there is a b.
      dtype: what x and W are cast to.
    """

    features: int
    bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
        inputs = x.shape[-1]

        def uniform(key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
            return jax.random.uniform(key, shape, jnp.float32, -1, 1) / jnp.sqrt(inputs)

        kernel = self.param("kernel", uniform, (inputs, self.features))
        y = jnp.matmul(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            preferred_element_type=jnp.float32,
        )
        if self.bias:
            bias = self.param("bias", uniform, (self.features,))
            y = y + jnp.expand_dims(bias, range(y.ndim - 1))
        return y


class MLP(nn.Module):
    """Dense layers with (BatchNorm and) ReLU between them; float32 out.

    With BatchNorm the hidden layers have no bias, as BatchNorm brings its own. CARE and SimCLR on
    CIFAR use widths (512, 128) with BatchNorm; on ImageNet (2048, 128) without.

    Attributes:
      widths: outputs of each layer; the last is the result's. Empty: the identity.
      batch_norm: BatchNorm after every hidden layer.
      bias: a bias in the last layer.
      last_batch_norm: a BatchNorm without scale and bias after the last layer, which has no bias
        then.
      norm: constructor of BatchNorm.
      dtype: what products are computed in.
    """

    widths: tuple[int, ...]
    batch_norm: bool = True
    bias: bool = True
    last_batch_norm: bool = False
    norm: Callable[..., Any] = BatchNorm
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "m i"], *, views: int = 1, train: bool
    ) -> Float[Array, "m o"]:
        for i, width in enumerate(self.widths):
            last = i == len(self.widths) - 1
            bias = self.bias and not self.last_batch_norm if last else not self.batch_norm
            x = Dense(width, bias=bias, dtype=self.dtype, name=f"dense{i + 1}")(x)
            if not last:
                if self.batch_norm:
                    x = self.norm(name=f"bn{i + 1}")(x, views=views, train=train)
                x = nn.relu(x)
        if self.widths and self.last_batch_norm:
            x = self.norm(name="bn_last", affine=False)(x, views=views, train=train)
        return x


class Head(NamedTuple):
    """A head of an objective: `init(key, inputs) -> params` and `apply(params, x) -> y`.

    `inputs` is the width of x; x is [..., N, inputs] and y [..., N, outputs].
    """

    init: Callable[[Key[Array, ""], int], PyTree]
    apply: Callable[[PyTree, Float[Array, "*v n i"]], Float[Array, "*v n o"]]


def mlp(
    widths: Sequence[int],
    *,
    batch_norm: bool = True,
    bias: bool = True,
    last_batch_norm: bool = False,
) -> Head:
    """An MLP as a pair of pure functions, e.g. the predictor of BYOL: mlp((4096, 256)).

    A head lives only in training, so its BatchNorm always uses the statistics of the batch (of
    each leading index on its own) and keeps no running averages.

    >>> import jax
    >>> head = mlp((16, 4))
    >>> params = head.init(jax.random.key(0), 8)
    >>> head.apply(params, jax.numpy.ones((2, 5, 8))).shape
    (2, 5, 4)

    Raises:
      ValueError: for a width below 1.
    """
    module = MLP(
        check_widths("mlp", widths),
        batch_norm=batch_norm,
        bias=bias,
        last_batch_norm=last_batch_norm,
    )

    def init(key: Key[Array, ""], inputs: int) -> PyTree:
        return module.init(key, jnp.zeros((2, inputs)), train=False).get("params", {})

    def once(params: PyTree, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
        return module.apply({"params": params}, x, train=True, mutable=["batch_stats"])[0]

    def apply(params: PyTree, x: Float[Array, "*v n i"]) -> Float[Array, "*v n o"]:
        for_each = once
        for _ in range(x.ndim - 2):
            for_each = jax.vmap(for_each, in_axes=(None, 0))
        return for_each(params, x)

    return Head(init, apply)


def check_widths(name: str, widths: Sequence[int]) -> tuple[int, ...]:
    """The widths as a tuple.

    Raises:
      ValueError: for a width below 1.
    """
    if any(width < 1 for width in widths):
        raise ValueError(f"{name} takes widths of at least 1, found {tuple(widths)}.")
    return tuple(int(width) for width in widths)


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
