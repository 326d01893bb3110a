"""Where else the numbers of a run go: TensorBoard, Weights & Biases, Trackio, or your own.

A tracker is `open(workdir, config, step)`, which returns `write(step, values)` and `close()`. What
one raises is said once and never ends a run: metrics.jsonl has every number.
"""

import copy
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eqssl_jax import storage
from eqssl_jax.names import resolve

PROJECT = "eqssl_jax"


class Tracker(NamedTuple):
    """An open tracker: `write(step, values)`, and `close()` at the end of the run."""

    write: Callable[[int, Mapping[str, float]], Any]
    close: Callable[[], Any]


Open = Callable[[Path, Mapping[str, Any], int], Tracker]


def tensorboard(workdir: Path, config: Mapping[str, Any], step: int) -> Tracker:
    """Event files in the workdir; TensorBoard hides what an interrupted run wrote after `step`.

    Written in this thread: tensorboardX's own writer waits for ever behind one that has failed.
    """
    del config
    # tensorboardX imports torch where it is installed: seconds, for nothing that is used here.
    absent = "torch" not in sys.modules
    if absent:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
    finally:
        if absent:
            del sys.modules["torch"]
    folder = workdir / "tensorboard"
    folder.mkdir(exist_ok=True)
    writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{step}")
    start = SessionLog(status=SessionLog.START)
    writer.write_event(Event(step=step + 1, session_log=start, wall_time=time.time()))
    # In a bucket the whole file is written again, and a single object at most once a second.
    pause, flushed = (30.0 if storage.is_remote(workdir) else 0.0), 0.0

    def write(step: int, values: Mapping[str, float]) -> None:
        nonlocal flushed
        numbers = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        summary = Summary(value=numbers)
        writer.write_event(Event(step=step, summary=summary, wall_time=time.time()))
        if time.monotonic() - flushed >= pause:
            writer.flush()
            flushed = time.monotonic()

    return Tracker(write, writer.close)


def wandb(workdir: Path, config: Mapping[str, Any], step: int) -> Tracker:
    """A run of Weights & Biases, the same when training goes on; WANDB_MODE=offline: on disk."""
    del step
    import wandb as service

    run = service.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT), name=workdir.resolve().name,
        id=_identity(workdir), dir=None if storage.is_remote(workdir) else str(workdir),
        config=dict(config), resume="allow",
    )  # fmt: skip
    return Tracker(lambda step, values: run.log(dict(values), step=step), run.finish)


def trackio(workdir: Path, config: Mapping[str, Any], step: int) -> Tracker:
    """A run of Trackio; its dashboard is `trackio show`."""
    del step
    import trackio as service

    name = f"{workdir.resolve().name}-{_identity(workdir)[:8]}"
    run = service.init(
        project=os.environ.get("TRACKIO_PROJECT", PROJECT), name=name, config=dict(config),
        resume="allow", embed=False,
    )  # fmt: skip
    return Tracker(lambda step, values: run.log(dict(values), step=step), run.finish)


TRACKERS: Mapping[str, Open] = {"tensorboard": tensorboard, "wandb": wandb, "trackio": trackio}
FIXES = {
    "tensorboard": "check the disk, or pip install tensorboardX",
    "wandb": "pip install 'eqssl_jax[wandb]', wandb login, or WANDB_MODE=offline without network",
    "trackio": "pip install 'eqssl_jax[trackio]'",
}


def find(names: Sequence[str]) -> dict[str, Open]:
    """The trackers that config.log names.

    Raises:
      ValueError: for a name that is no tracker.
    """
    return {name: resolve(name, "tracker", TRACKERS, setting="config.log") for name in names}


def _opened(opener: Open, *arguments: Any) -> Tracker:
    tracker = opener(*arguments)
    if not (callable(getattr(tracker, "write", 0)) and callable(getattr(tracker, "close", 0))):
        raise TypeError(f"it returned {type(tracker).__name__}, which has no write and close")
    return tracker


class Trackers:
    """Several trackers as one; each is left out from its first failure on, which is said."""

    def __init__(self, names: Sequence[str], workdir: Path, config: Any, step: int) -> None:
        self.open: dict[str, Tracker] = {}
        for name, opener in find(names).items():
            tracker = self._safely(name, _opened, opener, workdir, copy.deepcopy(config), step)
            if tracker is not None:
                self.open[name] = tracker

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Hand numbers to all trackers, to each a copy that is its own to change."""
        for name, tracker in list(self.open.items()):
            self._safely(name, tracker.write, step, dict(values))

    def close(self) -> None:
        """Close all trackers."""
        for name, tracker in list(self.open.items()):
            self._safely(name, tracker.close)

    def _safely(self, name: str, action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except (Exception, SystemExit) as error:  # of whatever service
            self.open.pop(name, None)
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            fix = FIXES.get(name, "correct it")
            print(
                f"Warning: the tracker {name} failed ({reason}). Training goes on without it, and "
                f"metrics.jsonl has every number. To have it: {fix}; or leave it out of "
                f"--config.log.",
                file=sys.stderr,
                flush=True,
            )
            return None


def _identity(workdir: Path) -> str:
    """By which a service knows the run again: drawn once, kept in the workdir."""
    path = workdir / "tracked_as.txt"
    if not path.exists():
        path.write_text(uuid.uuid4().hex[:16] + "\n")
    return path.read_text().strip()
