"""Where inputs come from: data sets as named splits that are read by index."""

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.data.pipeline import batch_indices, place_ahead, resident, streamed
from eqssl_jax.data.sources import from_arrays, load
from eqssl_jax.data.streaming import stream

__all__ = [
    "Dataset",
    "Split",
    "batch_indices",
    "from_arrays",
    "load",
    "place_ahead",
    "resident",
    "stream",
    "streamed",
]
