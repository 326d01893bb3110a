"""What a person sees while a run goes on: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text


class Progress:
    """Step, images per second, time left, losses and kNN: `with Progress(...) as progress: …`.

    Without a name (None; "" is one) nothing is shown: all but one process of a run.
    """

    def __init__(self, name: str | None, total: int, batch: int, *, start: int = 0) -> None:
        self.name, self.total, self.batch = name, total, batch
        self.values: dict[str, float] = {}
        self.mark, self.marked = time.perf_counter(), start
        self.rate = 0.0  # steps per second
        console = Console(file=sys.stderr)
        live = name is not None and console.is_terminal
        self.live = Live(console=console, refresh_per_second=4) if live else None

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.stop()

    def tick(self, step: int) -> None:
        """All steps up to `step` are done now: the rate is theirs since the tick before."""
        now = time.perf_counter()
        if not self.rate and self.name is not None:
            count = step - self.marked
            first = "first step" if count == 1 else f"first {count} steps"
            seconds = f"{now - self.mark:.0f} s"
            print(f"{self.name}The {first} took {seconds}, with compiling.", flush=True)
        self.rate = (step - self.marked) / (now - self.mark)
        self.mark, self.marked = now, step

    def report(self, step: int, values: Mapping[str, float], *, later: bool = False) -> None:
        """Show the newest numbers; earlier ones (the last kNN, with its step) stay in the line.

        `later`: more numbers of this step follow, and are shown with these.
        """
        kinds = {name.split(" (step")[0] for name in values}
        kept = {n: v for n, v in self.values.items() if n.split(" (step")[0] not in kinds}
        self.values = kept | dict(values)
        if later:
            return
        line = self._line(step)
        if self.live:
            self.live.update(Text(line, overflow="ellipsis", no_wrap=True))
        elif self.name is not None:
            print(line, flush=True)

    def pause(self) -> None:
        """Leave the time since the last tick out of the rate (evaluation, checkpoints)."""
        self.mark = time.perf_counter()

    def _line(self, step: int) -> str:
        left = (self.total - step) / self.rate if self.rate else float("nan")
        shown = [f"{self.name or ''}{step}/{self.total}"]
        if self.rate:
            shown += [f"{self.rate * self.batch:,.0f} images/s", f"{clock(left)} left"]
        shown += [f"{name} {value:.4g}" for name, value in self.values.items()]
        return "  ".join(shown)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss.

    >>> clock(3725)
    '1:02:05'
    """
    minutes, seconds_left = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds_left:02d}"
