"""Signs that a training goes wrong without a single number that is not finite."""

import math
from collections.abc import Collection, Mapping

from eqssl_jax.training.monitor import SHARE

COLLAPSED = 1e-4  # spread of unit embeddings over a batch; 0: all are equal
GROWN = 100.0  # times the first loss that was logged, or the least since
SPREAD = "embedding_spread"


class Alarms:
    """`look(step, numbers)` gives a warning the first time that there is reason for one.

    Args:
      silent: kinds that are not warned of: collapse, growth, monitors.
    """

    def __init__(self, silent: Collection[str] = ()) -> None:
        self.first: tuple[int, float] | None = None
        self.least: tuple[int, float] | None = None
        self.warned = set(silent)
        self.monitored: tuple[int, float] | None = None  # step and end of the last monitors

    def look(self, step: int, numbers: Mapping[str, float]) -> list[str]:
        """Warnings about the numbers of one step; each kind comes once."""
        warnings = {
            "collapse": self._collapse(step, numbers),
            "growth": self._growth(step, numbers),
        }
        new = {kind: text for kind, text in warnings.items() if text and kind not in self.warned}
        self.warned |= set(new)
        return list(new.values())

    def look_at_monitors(self, step: int, begun: float, ended: float) -> list[str]:
        """A warning where monitors took twice their share of the training before them.

        Args:
          step: when they were measured.
          begun, ended: in seconds of one clock; the first time, which compiles, is passed over.
        """
        last, self.monitored = self.monitored, (step, ended)
        if last is None or last[0] == step or "monitors" in self.warned:
            return []
        before, share = last[0], (ended - begun) / (begun - last[1])
        if share <= 2 * SHARE:
            return []
        self.warned.add("monitors")
        return [
            f"Monitors took {ended - begun:.1f} s at step {step:,}, {share:.1%} of the training "
            f"since step {before:,}. They take {SHARE:.0%} with config.train.knn_every and "
            f"config.train.save_every of {math.ceil((step - before) * share / SHARE):,} steps; or "
            f"name fewer in config.train.monitors."
        ]

    def _collapse(self, step: int, numbers: Mapping[str, float]) -> str:
        spread = numbers.get(SPREAD)
        if spread is None or spread > COLLAPSED:
            return ""
        return (
            f"The embeddings have collapsed at step {step}: all images of the batch have the same "
            f"direction (spread {spread:.1g}). Such an encoder tells nothing apart: try a lower "
            f"config.optimizer.learning_rate, a longer warm-up, or other weights of the objectives."
        )

    def _growth(self, step: int, numbers: Mapping[str, float]) -> str:
        loss = numbers.get("loss", 0.0)
        if self.first is None or self.least is None:
            self.first = self.least = (step, loss)
        if loss < self.least[1]:
            self.least = (step, loss)
        # Of a loss that has been below 0 the least says nothing of its scale, and beside the first
        # one a thousandth is as good as 0, where the batches' noise is large in proportion.
        start, before = self.least if self.least[1] > 0 else (self.first[0], abs(self.first[1]))
        loss = abs(loss)
        if loss <= GROWN * max(before, 1e-3 * max(1, abs(self.first[1]))):
            return ""
        return (
            f"The loss has grown from {before:.3g} at step {start} to {loss:.3g} at step {step}: "
            f"training diverges. Try a lower config.optimizer.learning_rate or a longer warm-up."
        )
