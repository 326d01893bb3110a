"""A run in miniature that lasts long enough to be killed.

python tests/survivor.py WORKDIR STEPS [HOST:PORT PROCESSES PROCESS]

The last three may be flags, as launch/local_processes.sh appends them.
"""

import sys
import time

from tiny_loop import small

from eqssl_jax import storage
from eqssl_jax.training import loop, processes
from eqssl_jax.training.mesh import make_mesh, spread

PAUSE = 0.01  # seconds before each dispatch of three steps


def run(steps: int, **changes):
    """Checkpoints every 20 steps, the two latest kept."""
    return small(steps=steps, save_every=20, knn_every=40, log_every=1, **changes)


def main(workdir: str, steps: str, *cluster: str) -> None:
    changes = {}
    if cluster:
        cluster = tuple(word.rpartition("=")[2] for word in cluster)[:3]
        processes.join(processes.Cluster(cluster[0], *map(int, cluster[1:]), 60))
        mesh = make_mesh()
        split = small().split
        changes = {"mesh": mesh, "split": split._replace(pool=spread(mesh, split.pool))}
    inputs = loop.inputs

    def slow(*arguments):
        for batch in inputs(*arguments):
            time.sleep(PAUSE)
            yield batch

    loop.inputs = slow
    with processes.leaving():
        loop.train(run(int(steps), **changes), storage.path(workdir))


if __name__ == "__main__":
    main(*sys.argv[1:])
