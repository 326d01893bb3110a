"""What heads of equivariant objectives are made of, as functions of their weights."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from eqssl_jax.objectives.base import unit
from eqssl_jax.objectives.contrastive import info_nce

_FLOOR = 1e-5  # ε under the roots of both normalisations


class Layer(NamedTuple):
    """One layer: x Wᵀ + b, then a normalisation's own scale and shift where it is normalised.

    Attributes:
      weight: W, [outputs, inputs].
      bias: b, [outputs]; None: 0.
      scale, shift: of the normalised outputs, [outputs]; None: 1 and 0.
    """

    weight: Float[Array, "o i"]
    bias: Float[Array, " o"] | None = None
    scale: Float[Array, " o"] | None = None
    shift: Float[Array, " o"] | None = None


Head = Callable[[Float[Array, "n i"]], Float[Array, "n o"]]
"""A head with its weights: rows in, rows out, each call a batch of its own for BatchNorm."""

Normalise = Callable[[Float[Array, "n d"], Layer], Float[Array, "n d"]]


def dense(x: Float[Array, "n i"], layer: Layer) -> Float[Array, "n o"]:
    """x Wᵀ + b of rows x.

    Raises:
      ValueError: for rows of another width than the layer's inputs.
    """
    if x.ndim != 2 or x.shape[1] != layer.weight.shape[1]:
        raise ValueError(
            f"A layer with a weight of shape {layer.weight.shape} (outputs, inputs) takes rows "
            f"[N, {layer.weight.shape[1]}], found {x.shape}."
        )
    y = x @ layer.weight.T
    return y if layer.bias is None else y + layer.bias[None]


def batch_norm(x: Float[Array, "n d"], layer: Layer | None = None) -> Float[Array, "n d"]:
    """(x − mean) / √(var + 1e-5) over the rows, the variance biased, then scaled and shifted.

    The statistics are always those of the rows given: a head lives in training only.
    """
    return _normalised(x, 0, layer)


def layer_norm(x: Float[Array, "n d"], layer: Layer | None = None) -> Float[Array, "n d"]:
    """(x − mean) / √(var + 1e-5) over each row, the variance biased, then scaled and shifted."""
    return _normalised(x, 1, layer)


def _normalised(x: Float[Array, "n d"], axis: int, layer: Layer | None) -> Float[Array, "n d"]:
    centred = x - jnp.mean(x, axis=axis, keepdims=True)
    y = centred / jnp.sqrt(jnp.mean(centred**2, axis=axis, keepdims=True) + _FLOOR)
    if layer is not None and layer.scale is not None:
        y = y * layer.scale[None]
    if layer is not None and layer.shift is not None:
        y = y + layer.shift[None]
    return y


def perceptron(
    x: Float[Array, "n i"], layers: Sequence[Layer], *, normalise: Normalise = batch_norm
) -> Float[Array, "n o"]:
    """Layers with normalisation and ReLU between them; the last is linear.

    >>> import jax.numpy as jnp
    >>> last = Layer(jnp.array([[1.0, 1.0]]), jnp.array([0.5]))
    >>> perceptron(jnp.array([[1.0, 2.0]]), [last]).tolist()
    [[3.5]]
    """
    for layer in layers[:-1]:
        x = jax.nn.relu(normalise(dense(x, layer), layer))
    return dense(x, layers[-1])


def hypernetwork(
    weight: Float[Array, "dd k"], code: Float[Array, "n k"], x: Float[Array, "n d"]
) -> Float[Array, "n d"]:
    """A linear map of each row's own, M(g) x with M(g) = W g read row by row as [d, d]; no bias.

    Args:
      weight: W, [d·d, k]; entry i·d + j of W g maps input j to output i.
      code: g, one for each row, e.g. the quaternion of a rotation.
      x: embeddings.

    Raises:
      ValueError: for shapes that do not fit.

    Source: Garrido et al. 2023 (SIE), arXiv:2302.10283.

    >>> import jax.numpy as jnp
    >>> weight = jnp.array([[0.0], [1.0], [2.0], [0.0]])
    >>> hypernetwork(weight, jnp.ones((1, 1)), jnp.array([[3.0, 4.0]])).tolist()
    [[4.0, 6.0]]
    """
    count, width = x.shape
    if weight.shape != (width * width, code.shape[-1]) or code.shape[0] != count:
        raise ValueError(
            f"A hypernetwork for embeddings {x.shape} and codes {code.shape} has a weight of shape "
            f"({width * width}, {code.shape[-1]}) and a code for each row, found {weight.shape}."
        )
    maps = (code @ weight.T).reshape(count, width, width)
    return jnp.einsum("nij,nj->ni", maps, x)


def nt_xent(
    a: Float[Array, "n d"], b: Float[Array, "n d"], *, temperature: float
) -> Float[Array, ""]:
    """`info_nce` of rows that are projected onto the unit sphere first."""
    return info_nce(unit(a), unit(b), temperature=temperature)


def first_weight(key: Key[Array, ""], outputs: int, inputs: int) -> Float[Array, "o i"]:
    """A weight to start from, U(±1/√inputs), as torch.nn.Linear's."""
    start = jax.random.uniform(key, (outputs, inputs), jnp.float32, -1, 1)
    return start / inputs**0.5
