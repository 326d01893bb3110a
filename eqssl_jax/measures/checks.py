"""What every measure refuses: values that are not finite, and fewer examples than it needs."""

import numpy as np
from jaxtyping import Array


class TooFew(ValueError):
    """A split is too small, or too uniform, for a measure: an evaluation leaves that one out."""


def check_finite(**arrays: Array | np.ndarray) -> None:
    """Refuse features or embeddings that hold NaN or infinite values.

    Args:
      arrays: by the name under which the error speaks of them; rows are examples.

    Raises:
      ValueError: naming the array, how many of its rows are affected, and the first of them.

    >>> check_finite(bank=np.array([[0.0], [np.nan]]))
    Traceback (most recent call last):
      ...
    ValueError: bank holds NaN or infinite values in 1 of 2 rows, the first of them row 1: the \
encoder diverged, or its input was not finite. Take an earlier checkpoint, or drop these rows.
    """
    for name, values in arrays.items():
        array = np.asarray(values)
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1) if array.ndim else None
        if bad is not None and bad.any():
            raise ValueError(
                f"{name} holds NaN or infinite values in {int(bad.sum())} of {len(bad)} rows, the "
                f"first of them row {int(bad.argmax())}: the encoder diverged, or its input was "
                f"not finite. Take an earlier checkpoint, or drop these rows."
            )
