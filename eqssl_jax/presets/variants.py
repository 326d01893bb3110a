"""What stands after the colon of a config: a data set, whose values, and what is added."""

from typing import NamedTuple

from ml_collections import ConfigDict

from eqssl_jax.config import ADDITIONS, DATASETS, VALUES


class Variant(NamedTuple):
    """A data set, whose values where sources differ, and what is added to the base method."""

    dataset: str
    values: str = "paper"
    additions: tuple[str, ...] = ()


def parse(argument: str) -> Variant:
    """A variant from words between commas: the data set first, the others in any order.

    >>> parse("stl10,care,authors")
    Variant(dataset='stl10', values='authors', additions=('care',))

    Raises:
      ValueError: for an unknown word, or two sources of values.
    """
    dataset, *words = argument.split(",")
    values = [word for word in words if word in VALUES]
    additions = tuple(word for word in ADDITIONS if word in words)
    unknown = [word for word in words if word not in (*VALUES, *ADDITIONS)]
    if dataset not in DATASETS or unknown or len(values) > 1:
        raise ValueError(
            f"The config variant {argument!r} is unknown: write :DATASET, then any of "
            f"{', '.join(ADDITIONS)} and one of {', '.join(VALUES)}, between commas, with DATASET "
            f"one of {', '.join(DATASETS)}."
        )
    return Variant(dataset, values[0] if values else "paper", additions)


def set_roles(config: ConfigDict, parts: tuple[str, ...]) -> None:
    """Every part invariant, of weight 1 and shared as its role says: all of it can be changed."""
    config.roles = ConfigDict(dict.fromkeys(parts, "invariant"))
    config.role_weights = ConfigDict(dict.fromkeys(parts, 1.0))
    config.sharing = ConfigDict(dict.fromkeys(parts, "auto"))
