"""What a bucket lacks of a disk: locks that end with their holder, and files that grow."""

import contextlib
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from eqssl_jax.buckets import Remote

BEAT = 10.0  # seconds between two signs of life of a holder
PATIENCE = 60.0  # seconds without one after which it is dead
MERGED = 100  # lines of a log that become one object

_HELD: dict[str, "Lease"] = {}


class Lease:
    """A lock in a bucket, as objects FOLDER/1, FOLDER/2, …: the last one counts.

    Only one process can create an object (if-generation-match: 0). Its holder writes it again every
    `BEAT` seconds; who finds it unchanged for `PATIENCE` seconds creates the next. No clocks of
    machines are compared.
    """

    def __init__(self, folder: Remote) -> None:
        self.folder, self.term, self.beats = folder, 0, 0
        self.token = uuid.uuid4().hex
        self.lost, self.ended = False, threading.Event()
        self.beating = threading.Thread(target=self._beat, daemon=True)

    def terms(self) -> list[int]:
        try:
            return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())
        except FileNotFoundError:
            return []

    def take(self) -> bool:
        """Whether it is this process's now; waits where its holder may be dead."""
        while True:
            terms = self.terms()
            if terms and not self._abandoned(terms[-1]):
                return False
            if terms != self.terms():  # its holder has ended meanwhile
                continue
            self.term = (terms or [0])[-1] + 1
            if (self.folder / str(self.term)).create(self._sign()):
                for term in terms:
                    (self.folder / str(term)).unlink(missing_ok=True)
                self.beating.start()
                return True

    def _sign(self) -> bytes:
        self.beats += 1
        holder = {"host": socket.gethostname(), "space": _space(), "process": os.getpid()}
        return json.dumps({**holder, "token": self.token, "beats": self.beats}).encode()

    def _abandoned(self, term: int) -> bool:
        """Whether its holder is dead, or has just ended."""
        path, seen, since, announced = self.folder / str(term), b"", time.monotonic(), False
        while time.monotonic() - since < PATIENCE:
            try:
                now = path.read_bytes()
            except FileNotFoundError:
                return True
            if seen and now != seen:
                return False
            if _dead(now):
                return True
            if not announced:
                print(_waiting(self.folder, now), file=sys.stderr, flush=True)
            seen, announced = now, True
            time.sleep(BEAT / 5)
        return True

    def _beat(self) -> None:
        path, alive = self.folder / str(self.term), time.monotonic()
        while not self.ended.wait(BEAT):
            try:
                if self.terms()[-1:] != [self.term]:
                    self.lost = True
                    return
                path.write_bytes(self._sign())
                alive = time.monotonic()
            except OSError:  # the storage does not answer: others see no sign of life either
                if time.monotonic() - alive > PATIENCE:
                    self.lost = True
                    return

    def release(self) -> None:
        self.ended.set()
        if self.beating.is_alive():  # or a last sign of life could follow the removal
            self.beating.join(PATIENCE)
        with contextlib.suppress(OSError):  # then it counts as dead after a while
            for term in () if self.lost else self.terms():
                if term <= self.term:
                    (self.folder / str(term)).unlink(missing_ok=True)


def _space() -> str:
    """In which numbers of processes are comparable: a start of a machine, or of a container."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{started} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return ""


def _dead(content: bytes) -> bool:
    """Whether the holder was a process of this machine, and is no longer."""
    try:
        holder = json.loads(content)
        if not _space() or holder["space"] != _space():
            return False
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return False


def _waiting(folder: Remote, content: bytes) -> str:
    try:
        holder = json.loads(content)
        who = f"process {holder['process']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        who = "a process"
    return (
        f"{folder.parent} is locked by {who}: waiting up to {PATIENCE:.0f} seconds for a sign of "
        f"life of it; without one its place is taken. If you know that it is dead, take its place "
        f"at once: gcloud storage rm --recursive {folder}"
    )


@contextlib.contextmanager
def leased(folder: Remote) -> Iterator[bool]:
    """Whether this process alone holds the lock `folder`, until the context ends."""
    lease = Lease(folder)
    if not lease.take():
        yield False
        return
    _HELD[str(folder)] = lease
    try:
        yield True
    finally:
        del _HELD[str(folder)]
        lease.release()


def is_leased(folder: Remote) -> bool:
    """Whether a process seems to hold a lock: it wrote it lately, by the clock of the storage."""
    terms = Lease(folder).terms()
    try:
        written = (folder / str(terms[-1])).stat().st_mtime if terms else 0.0
    except FileNotFoundError:
        return False
    return time.time() - written < 2 * PATIENCE


def check_held(workdir: PurePath) -> None:
    """Stop a process whose place another has taken, before it writes.

    Raises:
      OSError: if its lock is another's now.
    """
    for lease in [held for held in _HELD.values() if held.lost and held.folder.parent == workdir]:
        raise OSError(
            f"This process gave no sign of life in {lease.folder} for {PATIENCE:.0f} seconds or "
            f"more (it was paused, or the storage did not answer), and another may have taken its "
            f"place in {workdir}: it stops without writing. Started again, a run goes on from its "
            f"last checkpoint."
        )


class Pieces:
    """A log of lines that is written as numbered objects, since an object cannot grow.

    LOG itself holds the first lines; LOG.pieces/N those from line N on. Every `MERGED` lines become
    one object, which takes the place of the first of them, so that at every moment each line can be
    read: an object whose lines were read before is passed over.
    """

    def __init__(self, log: Remote, lines: Sequence[str]) -> None:
        self.log, self.folder = log, _folder(log)
        old = _numbers(self.folder)
        log.write_text("".join(line + "\n" for line in lines))
        for number in old:
            (self.folder / number).unlink(missing_ok=True)
        self.count, self.recent, self.looked = len(lines), list[bytes](), time.monotonic()

    def write(self, line: bytes) -> int:
        self.recent.append(line)
        first = self.count - len(self.recent) + 1
        if len(self.recent) < MERGED:
            (self.folder / f"{self.count:09d}").write_bytes(line)
        else:
            (self.folder / f"{first:09d}").write_bytes(b"".join(self.recent))
            for number in range(first + 1, self.count):
                (self.folder / f"{number:09d}").unlink(missing_ok=True)
            self.recent = []
        self.count += 1
        return len(line)

    def there(self) -> bool:
        """Whether the log is still there, and this process the one that writes it."""
        check_held(self.log.parent)
        if time.monotonic() - self.looked < BEAT:  # each look is a request
            return True
        self.looked = time.monotonic()
        return self.log.exists()

    def close(self) -> None:
        """Nothing: each line is in its place."""


def joined(log: Remote) -> bytes:
    """All lines of a log that `Pieces` wrote, or of one that was copied there whole."""
    content = log.read_bytes()
    count, folder = content.count(b"\n"), _folder(log)
    names = _numbers(folder)
    pieces = folder.ask("cat", [str(folder / name) for name in names]) if names else {}
    for name, piece in sorted((PurePath(key).name, value) for key, value in pieces.items()):
        if int(name) >= count:
            content, count = content + piece, int(name) + piece.count(b"\n")
    return content


def _folder(log: Remote) -> Remote:
    return log.with_name(f"{log.name}.pieces")


def _numbers(folder: Remote) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.name.isdigit())
    except FileNotFoundError:
        return []
