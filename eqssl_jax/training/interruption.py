"""Being asked to stop: finish the step, save, and leave with a status that says so."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

import jax
from jax.experimental import multihost_utils

STATUS = 75  # EX_TEMPFAIL: stopped after saving; the same command goes on
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """Training was asked to stop, and has saved its state; left alone, it ends with status 75."""

    def __init__(self, message: str) -> None:
        super().__init__(STATUS)
        self.message = message

    def __str__(self) -> str:
        return self.message


@contextlib.contextmanager
def listening() -> Iterator[Callable[[int], bool]]:
    """`asked(n)`, called after the n-th dispatch: whether to save and stop now.

    SIGTERM and SIGINT (Ctrl-C) ask; a second one ends the process at once, unsaved. In a run of
    several processes a SIGTERM to any of them stops all after the same dispatch (JAX's preemption
    service agrees on it), and Ctrl-C is not caught. Outside the main thread nothing is heard.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
        return
    if threading.current_thread() is not threading.main_thread():
        yield lambda count: False
        return
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        _restore(before)  # the next one is not waited for

    before = {number: signal.signal(number, hear) for number in _SIGNALS}
    try:
        yield lambda count: bool(heard)
    finally:
        _restore(before)


def _restore(handlers: Mapping[signal.Signals, object]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
