"""Several processes of one run: joining them, agreeing, and stopping together.

A run on several hosts is one program started once on each. JAX's own runtime connects them; a run
of one process needs none of this, and every function here then does the obvious thing.
"""

import contextlib
import hashlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from eqssl_jax.config import differences

Result = TypeVar("Result")

HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead


class Cluster(NamedTuple):
    """Which processes a run has; without a coordinator they are found by themselves.

    Attributes:
      coordinator: HOST:PORT of process 0, reachable from all others.
      processes: how many there are.
      process: which one this is, from 0.
      timeout: seconds to wait for the others at the start.
    """

    coordinator: str = ""
    processes: int = 0
    process: int = -1
    timeout: int = 300


def join(cluster: Cluster = Cluster()) -> None:  # noqa: B008  (immutable)
    """Connect this process to the others of its run; before any computation, from `main` alone.

    With a coordinator, as told. Without one, the processes of a SLURM job step and the hosts of a
    Cloud TPU slice find each other; anywhere else the run has one process.

    Raises:
      ValueError: for flags that do not belong together.
      SystemExit: with status 1, if the coordinator or other processes do not answer in time.
    """
    _check(cluster)
    told = bool(cluster.coordinator)
    if told and cluster.processes == 1:
        return
    method = None if told else _detected()
    if not told and method is None:
        return
    with _deadline(cluster):
        jax.distributed.initialize(
            coordinator_address=cluster.coordinator or None,
            num_processes=cluster.processes or None,
            process_id=cluster.process if told else None,
            cluster_detection_method=method,
            initialization_timeout=cluster.timeout + 60,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=HEARTBEAT,
        )


def _check(cluster: Cluster) -> None:
    flags = f"--processes={cluster.processes} --process={cluster.process}"
    if not cluster.coordinator:
        if cluster.processes or cluster.process >= 0:
            raise ValueError(f"{flags} need --coordinator=HOST:PORT, the address of process 0.")
        return
    host, _, port = cluster.coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(
            f"--coordinator is {cluster.coordinator!r}; give the address of process 0 as HOST:PORT."
        )
    if not 0 <= cluster.process < cluster.processes:
        raise ValueError(
            f"{flags}: with --coordinator, say how many processes there are and which one this is, "
            f"from 0 to one less than that."
        )
    if cluster.timeout < 1:
        raise ValueError(f"--coordinator_timeout is {cluster.timeout}; at least 1 second.")


def _detected() -> str | None:
    """What JAX calls the cluster that this process was started in, if it has several."""
    several = int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_NODELIST" in os.environ
    if several and "SLURM_PROCID" in os.environ:
        return "slurm"
    # The hosts of a TPU slice: on one host the list has one name, or there is none.
    return "tpu" if "," in os.environ.get("TPU_WORKER_HOSTNAMES", "") else None


@contextlib.contextmanager
def _deadline(cluster: Cluster) -> Iterator[None]:
    """End the process with a paragraph if the others do not come: JAX would abort with a stack."""

    def end() -> None:
        where = cluster.coordinator or "process 0"
        print(
            f"\nError: the processes of this run did not come together within {cluster.timeout} "
            f"seconds. Check that all {cluster.processes or ''} of them were started, each with a "
            f"--process of its own, that --coordinator is the address of process 0, and that no "
            f"firewall closes {where} to the other hosts. --coordinator_timeout gives them longer.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    timer = threading.Timer(cluster.timeout, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """Ends a process of several at its first error, without waiting for those it has failed.

    Raises:
      what is raised inside, in a run of one process.
    """
    try:
        yield
    except Exception as error:
        if jax.process_count() == 1:
            raise
        known = isinstance(error, ValueError | OSError | FloatingPointError)
        text = str(error) if known else traceback.format_exc()
        print(f"\nError (process {jax.process_index()}): {text}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # JAX would wait at exit for all processes to arrive, the dead ones too.
        os._exit(1)


def first() -> bool:
    """Whether this is the process that writes: the only one, or process 0."""
    return jax.process_index() == 0


def gathered(text: str) -> list[str]:
    """The texts of all processes, by process."""
    if jax.process_count() == 1:
        return [text]
    own = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(own)], np.int32)).ravel()
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(own)] = own
    every = multihost_utils.process_allgather(padded).reshape(len(sizes), -1)
    return [bytes(row[:size]).decode() for row, size in zip(every, sizes, strict=True)]


def together(action: Callable[[], Result]) -> Result:
    """`action()` on every process; if it fails on one, all of them end with its message.

    Raises:
      ValueError, OSError, FloatingPointError: what it raised here; OSError: what it raised on
        another process.
    """
    own: Exception | None = None
    try:
        result = action()
    except (ValueError, OSError, FloatingPointError) as error:
        own = error
    texts = gathered("" if own is None else f"{own}" or type(own).__name__)
    if own is not None:
        raise own
    for process, text in enumerate(texts):
        if text:
            raise OSError(f"Process {process} of {len(texts)} cannot go on: {text}")
    return result


def check_equal(facts: Mapping[str, Any]) -> None:
    """Refuse processes that would not compute the same: of another config, code or data.

    Args:
      facts: nested, fit for JSON; what must be equal everywhere.

    Raises:
      ValueError: on every process, naming what differs from process 0.
    """
    if jax.process_count() == 1:
        return
    every = [json.loads(text) for text in gathered(json.dumps(facts, sort_keys=True))]
    found = []
    for process, other in enumerate(every):
        changed = differences(every[0], other)
        found += [f"{key}: {old!r} in process 0, {new!r} in process {process}"
                  for key, (old, new) in changed.items()]  # fmt: skip
    if found:
        more = f" (and {len(found) - 12} more)" if len(found) > 12 else ""
        raise ValueError(
            f"The processes of this run differ, so they would not train one model: "
            f"{'; '.join(found[:12])}{more}. Start all of them with the same command, code and "
            f"data."
        )


def code_digest() -> str:
    """A digest of the package's source: equal on hosts that run the same code."""
    root = Path(__file__).parent.parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]
