"""A data set from a function of the user: config.data.name = "module:function"."""

import contextlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax import names
from eqssl_jax.data import arrays, checks
from eqssl_jax.data.base import Source, Split

_CONTRACT = (
    "a function that is called with config.data.options (and directory, seed, if it has parameters "
    "of these names) and returns a mapping of named splits, train among them: each an array of "
    "images, uint8 [N, H, W, 3], or (images, labels)"
)


def read_outside(
    name: str,
    directory: str | Path | None,
    seed: int,
    options: Mapping[str, Any],
) -> Source:
    """What a user's own function returns, brought to a `Source`.

    The function takes the options of config.data.options (and `directory` and `seed`, if it has
    parameters of these names) and returns a mapping of named splits: "train", and if there are any
    "test" and "unlabeled", each an array of images, uint8 [N, H, W, 3], [N, H, W, 1] or [N, H, W],
    or a pair (images, labels) with integers [N]; and "classes", names, if it likes:

        def moons(count=100):
            return {"train": (draw(count), labels(count)), "classes": ["new", "full"]}

    Raises:
      ValueError: for a name that does not import, and a function that cannot be called so, fails or
        returns something else.
    """
    function = names.resolve(name, "data set", {}, setting="config.data.name")
    offered = {"directory": None if directory is None else str(directory), "seed": seed}
    parameters: Mapping[str, Any] = {}
    if callable(function):
        with contextlib.suppress(TypeError, ValueError):  # a function of C gets the options only
            parameters = inspect.signature(function).parameters
    passed = {key: value for key, value in offered.items() if key in parameters} | {**options}
    names.check_call(function, name, _CONTRACT, **passed)
    try:
        returned = function(**passed)
    except Exception as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"config.data.name is {name!r}, and that function failed ({problem}). It must be "
            f"{_CONTRACT}."
        ) from error
    if not isinstance(returned, Mapping) or "train" not in returned:
        kind = list(returned) if isinstance(returned, Mapping) else type(returned).__name__
        raise ValueError(f"{name} returned {kind}, but it must be {_CONTRACT}.")
    strange = sorted(map(str, set(returned) - {"train", "test", "unlabeled", "classes"}))
    if strange:
        raise ValueError(
            f"{name} returned {strange}, and splits are called train, test and unlabeled: it must "
            f"be {_CONTRACT}."
        )
    content = dict(returned)
    classes = checks.texts(content.pop("classes", ()), f"{name}['classes']")
    splits = {key: _outside_split(value, name, key) for key, value in content.items()}
    return Source(splits, classes)


def _outside_split(value: Any, name: str, key: str) -> Split:
    pair = value if isinstance(value, tuple | list) and len(value) == 2 else (value, None)
    try:
        images, labels = pair[0], pair[1]
        return arrays.make_split(np.asarray(images), labels, f"{name}[{key!r}]", key)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error} {name} must be {_CONTRACT}.") from error
