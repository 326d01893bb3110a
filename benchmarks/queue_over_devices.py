"""MoCo's queue whole on every device, or cut over them: what is sent, held and moved.

    python benchmarks/queue_over_devices.py [KEYS]     # 4096 on CIFAR-10, 65536 on ImageNet-100

The loss of 512 queries, its gradient and the next queue are compiled over 8 virtual devices; up to
8,192 keys they also run, and are compared. docs/launching.md has the numbers.
"""

import os
import sys
from collections import Counter
from typing import Any

os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)

import jax
import jax.numpy as jnp
import numpy as np
from cost.collectives import collectives
from jax.sharding import PartitionSpec

from eqssl_jax.objectives import enqueue, moco
from eqssl_jax.training.mesh import AXIS, batched, make_mesh, replicated

DEVICES, QUERIES, DIMENSION, TEMPERATURE = 8, 512, 128, 0.2
MESH = make_mesh(DEVICES)
CUT = PartitionSpec(AXIS)


def whole(query: jax.Array, key: jax.Array, queue: jax.Array) -> Any:
    """As training has it: the queue is whole on every device, which is sent the new keys."""
    with jax.sharding.use_abstract_mesh(MESH.abstract_mesh):
        value, gradient = jax.value_and_grad(moco)(query, key, queue, temperature=TEMPERATURE)
        return value, gradient, enqueue(queue, key)


def by_compiler(query: jax.Array, key: jax.Array, queue: jax.Array) -> Any:
    """The same without a word on where the keys shall lie."""
    value, gradient = jax.value_and_grad(moco)(query, key, queue, temperature=TEMPERATURE)
    return value, gradient, jnp.concatenate([key, queue])[: len(queue)]


def by_hand(query: jax.Array, key: jax.Array, queue: jax.Array) -> Any:
    """Each device holds its own last keys, and compares the queries of all with them."""

    def on_device(query: jax.Array, key: jax.Array, part: jax.Array) -> Any:
        def loss(query: jax.Array) -> jax.Array:
            every = jax.lax.all_gather(query, AXIS, tiled=True)
            logits = jnp.matmul(every, part.T, precision="highest") / TEMPERATURE
            sums = jax.nn.logsumexp(logits, axis=1).reshape(DEVICES, -1)
            negative = jax.nn.logsumexp(jax.lax.all_to_all(sums, AXIS, 0, 0), axis=0)
            positive = jnp.sum(query * key, axis=1) / TEMPERATURE
            return jnp.sum(jnp.logaddexp(positive, negative) - positive) / QUERIES

        value, gradient = jax.value_and_grad(loss)(query)
        return jax.lax.psum(value, AXIS), gradient, jnp.concatenate([key, part])[: len(part)]

    specs = (PartitionSpec(), CUT, CUT)
    return jax.shard_map(
        on_device, mesh=MESH, in_specs=(CUT,) * 3, out_specs=specs, check_vma=False
    )(query, key, queue)


def unit(rng: np.random.Generator, rows: int) -> np.ndarray:
    x = rng.standard_normal((rows, DIMENSION)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def main() -> None:
    keys, rng = int(sys.argv[1]) if len(sys.argv) > 1 else 65_536, np.random.default_rng(0)
    arrays = [unit(rng, rows) for rows in (QUERIES, QUERIES, keys)]
    over, everywhere = batched(MESH), replicated(MESH)
    expected = None
    for way, place in ((whole, everywhere), (by_compiler, over), (by_hand, over)):
        jitted = jax.jit(
            way, in_shardings=(over, over, place), out_shardings=(everywhere, over, place),
            donate_argnums=2,
        )  # fmt: skip
        program = jitted.lower(*arrays).compile()
        sent = collectives(program.as_text())
        memory, kinds = program.memory_analysis(), Counter(c.kind for c in sent)
        print(f"{way.__name__}: {dict(kinds)}, {sum(c.size for c in sent) / 1e6:.2f} MB sent")
        print(f"  {memory.argument_size_in_bytes / 1e6:.1f} MB of arguments, "
              f"{memory.temp_size_in_bytes / 1e6:.1f} MB of working memory, "
              f"{program.cost_analysis()['bytes accessed'] / 1e9:.3f} GB moved")  # fmt: skip
        if keys <= 8_192:
            value, gradient, _ = jitted(*arrays)
            found = np.append(np.asarray(gradient), value)
            expected = found if expected is None else expected
            print(f"  loss {value:.6f}; differs by {np.abs(found - expected).max():.1e}")


if __name__ == "__main__":
    main()
