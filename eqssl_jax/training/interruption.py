"""Being asked to stop: finish the step, save, and leave with a status that says so."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from eqssl_jax.training.mesh import cut, replicated
from eqssl_jax.training.processes import STATUS

_HEARD = b"\nAsked to stop: what is under way is finished and saved. Asked again: unsaved.\n"
_SIGNALS = [signal.SIGTERM, signal.SIGINT]
if hasattr(signal, "SIGHUP"):  # a closed terminal; not on Windows
    _SIGNALS.append(signal.SIGHUP)


class Interrupted(SystemExit):
    """Training was asked to stop, and has saved its state; left alone, it ends with status 75."""

    def __init__(self, message: str) -> None:
        super().__init__(STATUS)
        self.message = message

    def __str__(self) -> str:
        return self.message


@contextlib.contextmanager
def listening(mesh: Mesh) -> Iterator[Callable[..., bool]]:
    """A function that says whether to save and stop: call it after every dispatch, and with
    `last=True` at the end.

    SIGTERM, SIGINT (Ctrl-C) and SIGHUP (a closed terminal) ask; a second one ends the process at
    once, unsaved. A signal that the process ignores, as nohup makes it, stays ignored. Of several
    processes any can be asked: what each has heard goes around with a dispatch, and one dispatch
    later all stop after the same step; the last question is answered at once. Outside the main
    thread nothing is heard.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        os.write(2, _HEARD)  # print() is not for signal handlers
        _restore(before)  # the next one is not waited for

    before: dict[signal.Signals, object] = {}
    if threading.current_thread() is threading.main_thread():
        listened = [n for n in _SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
        before.update({number: signal.signal(number, hear) for number in listened})
    try:
        yield (lambda last=False: bool(heard)) if jax.process_count() == 1 else _agreed(mesh, heard)
    finally:
        _restore(before)


def _agreed(mesh: Mesh, heard: list[int]) -> Callable[..., bool]:
    """Whether any process had heard something at the call before: the same answer in all."""
    most = jax.jit(jnp.max, out_shardings=replicated(mesh))
    here = mesh.local_mesh.size
    sent: list[jax.Array] = []

    def any_heard(last: bool = False) -> bool:
        sent.append(most(cut(mesh, np.full(here, len(heard), np.int32))))
        if last:
            return bool(sent.pop())
        # That of this call is on its way while the device works; waiting for it would cost.
        return len(sent) > 1 and bool(sent.pop(0))

    return any_heard


def _restore(handlers: Mapping[signal.Signals, object]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
