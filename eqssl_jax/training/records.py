"""What a run writes down: metrics.jsonl always, and whatever trackers it has."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eqssl_jax import storage
from eqssl_jax.training.trackers import Trackers
from eqssl_jax.training.workdir import GoneError, WriteError


class Records:
    """Appends one JSON object a line to `metrics.jsonl`, and hands them to trackers.

    A resumed run drops the lines after its checkpoint first, so that no step is written twice.
    Without a workdir nothing is written: all but one process of a run.
    """

    def __init__(
        self,
        workdir: Path | None,
        *,
        resumed_at: int = 0,
        log: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.file, self.trackers = None, None
        if workdir is None:
            return
        self.path = workdir / "metrics.jsonl"
        kept: list[str] | None = None
        if self.path.exists() and not self.path.is_symlink():
            kept = [line for line, values in _lines(self.path) if values["step"] <= resumed_at]
        self.file = storage.growing(self.path, kept)
        self.trackers = Trackers(log, workdir, config or {}, resumed_at)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record named numbers at a step; they are on disk when this returns.

        Raises:
          WriteError: if they cannot be.
          GoneError: if the file was removed or moved.
        """
        self.check_there()
        if self.file:
            line = (json.dumps({"step": step, **values}) + "\n").encode()
            try:
                written = self.file.write(line)
            except OSError as error:
                raise WriteError(f"{self.path.name}: {error}") from error
            if written != len(line):
                raise WriteError(f"{self.path.name}: only {written} of {len(line)} bytes")
        if self.trackers:
            self.trackers.write(step, values)

    def check_there(self) -> None:
        """A removed file can be written to: nobody would ever see it.

        Raises:
          GoneError: if the file was removed or moved, most likely with its whole workdir.
        """
        if self.file and not self.file.there():
            raise GoneError(f"{self.path} was removed or moved")

    def close(self) -> None:
        if self.file:
            self.file.close()
        if self.trackers:
            self.trackers.close()


def read_records(workdir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; an unfinished last line is left out.

    Raises:
      ValueError: naming a line that is damaged.
    """
    path = workdir / "metrics.jsonl"
    return [values for _, values in _lines(path)] if path.exists() else []


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Lines that end in a newline (a killed run may leave half of one), and their values."""
    parsed = []
    for number, line in enumerate(_text(path).splitlines(True), start=1):
        if not line.endswith("\n"):
            continue
        try:
            values = json.loads(line)
            if type(values["step"]) is not int:
                raise ValueError("a step is a whole number")
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"Line {number} of {path} is damaged ({line.strip()[:80]!r}): remove that line."
            ) from None
        parsed.append((line[:-1], values))
    return parsed


def _text(path: Path) -> str:
    """What is no UTF-8 is kept as escapes: its line is damaged, and named."""
    return storage.read_log(path).decode("utf-8", errors="backslashreplace")
