"""What the class of a shape is: its outline, its hue or its angle."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from eqssl_jax.data.base import Split
from eqssl_jax.data.outlines import CLASSES

BINS = 6
# Ranges of the factors in training; see the table of `shapes`.
_STOPS = {"hue": 0.75, "angle": 1.5 * math.pi}


def kinds(task: str, outlines: int | None) -> int:
    """How many outlines are drawn.

    Raises:
      ValueError: for an unknown task, more outlines than there are, or one to be told from none.
    """
    if task not in ("outline", *_STOPS):
        raise ValueError(f'The task of shapes is "outline", "hue" or "angle", found {task!r}.')
    if outlines is None:
        return len(CLASSES)
    least = 2 if task == "outline" else 1
    if type(outlines) is not int or outlines not in range(least, len(CLASSES) + 1):
        raise ValueError(
            f"shapes with task={task!r} draws {least} to {len(CLASSES)} outlines (or None: all), "
            f"found outlines={outlines!r}."
        )
    return outlines


def labelled(
    splits: Mapping[str, Split], task: str, kinds: int
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """The splits with the labels of a task, and the names of its classes.

    | task      | label                                                    | classes |
    |-----------|----------------------------------------------------------|---------|
    | "outline" | which outline                                            | kinds   |
    | "hue"     | ⌊hue / 0.125⌋: sixths of [0, 0.75) turns                 | 6       |
    | "angle"   | ⌊angle / (π/4)⌋: sixths of [0, 3π/2) rad                 | 6       |

    So the same images can be classified by what a colour jitter changes, by what a rotation
    changes, or by neither. The hue and angle of an "out_of_range" image lie in no class: with these
    tasks that split has no labels (None), only its factors. An angle is well defined for all ten
    outlines, as none looks the same after less than a full turn; but each outline's zero is its
    own, so one or two outlines make "angle" easier to learn.
    """
    if task == "outline":
        return dict(splits), CLASSES[:kinds]
    stop = _STOPS[task]
    factors = {
        name: split._replace(
            labels=None if name == "out_of_range" else bins(split.factors[task], stop)
        )
        for name, split in splits.items()
    }
    if task == "hue":
        return factors, tuple(f"hue {b * stop / BINS:.3f}" for b in range(BINS))
    return factors, tuple(f"{math.degrees(b * stop / BINS):.0f}°" for b in range(BINS))


def bins(values: Float[np.ndarray, " n"], stop: float) -> Int[np.ndarray, " n"]:
    """Which of `BINS` equal parts of [0, stop) each value lies in; `stop` itself is in the last.

    >>> bins(np.array([0.0, 0.2, 0.75]), 0.75).tolist()
    [0, 1, 5]
    """
    # A float32 draw can round up to the end of its range.
    return np.minimum(np.asarray(values, np.float64) * (BINS / stop), BINS - 1).astype(np.int32)
