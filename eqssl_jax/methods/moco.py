"""MoCo-v2: queries against keys of a slowly moving network and a queue of earlier keys."""

import jax
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import objectives
from eqssl_jax.methods.card import MEMORY, TARGET, Addition, Card, Context, temperature
from eqssl_jax.methods.target import target_embeddings
from eqssl_jax.objectives.base import Metrics, Objective, Views, mean_cosine, unit
from eqssl_jax.settings import flag, whole


def moco_loss(values: ConfigDict) -> Objective:
    """Queries of the online network against keys of the target network and a queue of them.

    The queue holds keys of the *target* network, as the paper has it. Batches are not shuffled
    between devices: BatchNorm's statistics are of the global batch, and a shuffle would change
    nothing. A query and its key still share the statistics of their batch, as under any SyncBN.
    """

    def init_memory(key: Key[Array, ""], seen: Views) -> Float[Array, "k d"]:
        return unit(jax.random.normal(key, (values.queue, seen.embeddings.shape[-1])))

    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        queries, keys = unit(seen.embeddings), unit(target_embeddings("moco", seen))

        def against(query: Array, key: Array) -> Array:
            return objectives.moco(query, key, seen.memory, temperature=values.temperature)

        value = against(queries[0], keys[-1])
        if values.symmetric:
            value = (value + against(queries[1], keys[0])) / 2
        return value, {"positive_cosine": mean_cosine(queries[0], keys[-1])}

    def remember(memory: PyTree, seen: Views) -> PyTree:
        keys = unit(target_embeddings("moco", seen))
        fresh = keys.reshape(-1, keys.shape[-1]) if values.symmetric else keys[-1]
        return objectives.enqueue(memory, fresh)

    return Objective("contrast", loss, init_memory=init_memory, remember=remember)


def build(values: ConfigDict, context: Context) -> Addition:
    """Not symmetric, view 0 is the query and view 1 the key: the other halves are not computed."""
    contrast = context.contrast
    if not values.symmetric:
        contrast = contrast._replace(online=(0,), target=(1,))
    return Addition({"contrast": contrast}, {context.key: (values.weight, moco_loss(values))})


CARD = Card(
    name="moco",
    title="MoCo-v2",
    source="He et al. 2020, arXiv:1911.05722; Chen, Fan, Girshick and He 2020, arXiv:2003.04297",
    settings={
        "temperature": temperature(0.2),
        "queue": whole(4096, "keys of earlier batches", low=1, high=2**24),
        "symmetric": flag(False, "True: either view is a query, at twice the cost"),
    },
    build=build,
    needs=(TARGET, MEMORY),
    published="MoCo-v2",
)
