"""Losses against the embeddings of a slowly moving copy of the network: MoCo and BYOL."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from eqssl_jax.objectives.contrastive import check_pair, check_temperature
from eqssl_jax.objectives.geometry import HIGHEST


def moco(
    query: Float[Array, "n d"],
    key: Float[Array, "n d"],
    queue: Float[Array, "k d"],
    *,
    temperature: float = 0.2,
) -> Float[Array, ""]:
    """InfoNCE of queries against their keys, the negatives being keys of earlier batches.

    mean over i of −log( e^{q_i·k_i/τ} / (e^{q_i·k_i/τ} + Σ_j e^{q_i·queue_j/τ}) ).

    Args:
      query: unit embeddings of one view by the online network.
      key: unit embeddings of the other view by the target network; no gradient is wanted.
      queue: unit embeddings of earlier keys (`enqueue`).
      temperature: τ > 0.

    Raises:
      ValueError: if the shapes do not fit, there are fewer than two images, or τ ≤ 0.

    Source: He et al. 2020, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297 (v2).

    >>> import jax.numpy as jnp
    >>> z = jnp.eye(3)[:2]
    >>> round(float(moco(z, z, jnp.eye(3)[2:], temperature=1.0)), 4)  # log(e + 1) - 1
    0.3133
    """
    check_pair(query, key)
    check_temperature(temperature)
    if queue.ndim != 2 or queue.shape[1] != query.shape[1] or not queue.shape[0]:
        raise ValueError(
            f"The queue must hold keys [K, {query.shape[1]}], at least one, found {queue.shape}."
        )
    query, key, queue = (x.astype(jnp.float32) for x in (query, key, queue))
    positive = jnp.sum(query * key, axis=1, keepdims=True)  # [N, 1]
    negative = jnp.matmul(query, queue.T, precision=HIGHEST)  # [N, K]
    logits = jnp.concatenate([positive, negative], axis=1) / temperature
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - logits[:, 0])


def enqueue(queue: Float[Array, "k d"], keys: Float[Array, "n d"]) -> Float[Array, "k d"]:
    """First in, first out: the keys in front, the oldest dropped; the size stays.

    Within a mesh every device has the whole queue, and is sent the keys: were they left cut over
    devices, the new queue would be cut as they are, and then all of it be gathered.

    >>> import jax.numpy as jnp
    >>> enqueue(jnp.array([[1.0], [2.0], [3.0]]), jnp.array([[4.0], [5.0]]))[:, 0].tolist()
    [4.0, 5.0, 1.0]
    """
    if not jax.sharding.get_abstract_mesh().empty:
        keys = jax.lax.with_sharding_constraint(keys, PartitionSpec())
    return jnp.concatenate([keys.astype(queue.dtype), queue])[: queue.shape[0]]


def negative_cosine(
    predicted: Float[Array, "n d"], target: Float[Array, "n d"]
) -> Float[Array, ""]:
    """−mean of the inner products of unit rows; BYOL's squared distance is 2 + 2 times it.

    Args:
      predicted: unit predictions of the target's embeddings, from the other view.
      target: unit embeddings by the target network; no gradient is wanted.

    Raises:
      ValueError: if the shapes differ or there are fewer than two images.

    Source: Grill et al. 2020 (BYOL), arXiv:2006.07733.

    >>> import jax.numpy as jnp
    >>> float(negative_cosine(jnp.eye(2), jnp.eye(2)))
    -1.0
    """
    check_pair(predicted, target)
    products = predicted.astype(jnp.float32) * target.astype(jnp.float32)
    return -jnp.mean(jnp.sum(products, axis=1))
