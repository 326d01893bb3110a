"""Several processes of one run: joining them, agreeing, and stopping together.

A run on several hosts is one program started once on each. JAX's own runtime connects them; a run
of one process needs none of this, and every function here then does the obvious thing.
"""

import contextlib
import glob
import hashlib
import importlib.util
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

from eqssl_jax.settings import differences

Result = TypeVar("Result")

STATUS = 75  # EX_TEMPFAIL: start the same command again, and it goes on
HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead


class LostError(RuntimeError):
    """Another process of the run did not do its part."""


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

    With a coordinator, as `cluster` names it. Without one, the processes of a SLURM job step and
    the hosts of a Cloud TPU slice find each other; anywhere else the run has one process.

    Raises:
      ValueError: for flags that do not belong together.
      SystemExit: with status 1, if the coordinator or other processes do not answer in time.
    """
    _check(cluster)
    arguments: dict[str, Any] = {}
    if cluster.coordinator:
        arguments = {
            "coordinator_address": cluster.coordinator,
            "num_processes": cluster.processes,
            "process_id": cluster.process,
            "cluster_detection_method": "deactivate",  # it would add what SLURM says of devices
        }
    if cluster.processes == 1 or not (arguments or _detected()):
        return
    # Orbax asks this service at steps of its own choice; `interruption` has another way to agree.
    jax.config.update("jax_enable_preemption_service", False)
    with _deadline(cluster):
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=cluster.timeout + 60,  # the deadline comes first
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


def _detected() -> bool:
    """Whether this is a task of a SLURM step of several, or a TPU machine.

    JAX itself then finds the others; on a TPU machine there may be none.
    """
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_NODELIST" in os.environ:
        return "SLURM_PROCID" in os.environ
    chips = glob.glob("/dev/accel*") + glob.glob("/dev/vfio/[0-9]*")
    return bool(chips) and importlib.util.find_spec("libtpu") is not None


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

    With status 75 if it is the runtime's, which is what the loss of another process looks like: the
    same command then goes on from the last checkpoint. Else with 1.

    Raises:
      what is raised inside, in a run of one process.
    """
    try:
        yield
    except Exception as error:
        if jax.process_count() == 1:
            raise
        lost = _looks_lost(error)
        expected = isinstance(error, ValueError | OSError | FloatingPointError)
        text = str(error) if expected else traceback.format_exc()
        if lost:
            text += (
                "\nThe runtime failed, most likely because another process of the run ended. Start "
                "all processes again: they go on from the last checkpoint."
            )
        print(f"\nError (process {jax.process_index()}): {text}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # JAX would wait at exit for all processes to arrive, the dead ones too.
        os._exit(STATUS if lost else 1)


def _looks_lost(error: Exception) -> bool:
    """Whether the runtime failed in a way that a program without fault can meet."""
    if isinstance(error, LostError) or of_a_collective(error):
        return True
    ours = ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNIMPLEMENTED")
    return isinstance(error, jax.errors.JaxRuntimeError) and not str(error).startswith(ours)


def of_a_collective(error: Exception) -> bool:
    """Whether an error is of a collective operation that another process did not take part in.

    A collective that failed is raised where its result is read, of which type depends on the reader
    (a ValueError where an array is copied to the host).
    """
    return any(word in str(error) for word in ("Gloo", "NCCL", "Barrier", "CoordinationService"))


def first() -> bool:
    """Whether this is the process that writes: the only one, or process 0."""
    return jax.process_index() == 0


def gathered(text: str) -> list[str]:
    """The texts of all processes, by process."""
    if jax.process_count() == 1:
        return [text]
    encoded = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(encoded)], np.int32)).ravel()
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(encoded)] = encoded
    texts = multihost_utils.process_allgather(padded).reshape(len(sizes), -1)
    return [bytes(row[:size]).decode() for row, size in zip(texts, sizes, strict=True)]


def together(action: Callable[[], Result]) -> Result:
    """`action()` on every process; if it fails on one, all of them end with its message.

    Raises:
      ValueError, OSError, FloatingPointError: what it raised here; OSError: what it raised on
        another process.
    """
    failure: Exception | None = None
    try:
        result = action()
    except (ValueError, OSError, FloatingPointError) as error:
        failure = error
    texts = gathered("" if failure is None else f"{failure}" or type(failure).__name__)
    if failure is not None:
        raise failure
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
    all_facts = [json.loads(text) for text in gathered(json.dumps(facts, sort_keys=True))]
    unequal = []
    for process, theirs in enumerate(all_facts):
        changed = differences(all_facts[0], theirs)
        unequal += [f"{key}: {old!r} in process 0, {new!r} in process {process}"
                  for key, (old, new) in changed.items()]  # fmt: skip
    if unequal:
        more = f" (and {len(unequal) - 12} more)" if len(unequal) > 12 else ""
        raise ValueError(
            f"The processes of this run differ, so they would not train one model: "
            f"{'; '.join(unequal[:12])}{more}. Start all of them with the same command, code and "
            f"data."
        )


def code_digest(root: Path = Path(__file__).parent.parent) -> str:
    """A digest of the package's source: equal on hosts that run the same code."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
