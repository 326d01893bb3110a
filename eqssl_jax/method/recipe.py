"""The transformation that a config names."""

import functools
import json
from collections.abc import Mapping

from eqssl_jax import transforms
from eqssl_jax.transforms.base import Transform


def build_recipe(name: str, options: Mapping[str, object]) -> Transform:
    """The named recipe with its options.

    Raises:
      ValueError: for an unknown recipe or option, and whatever the recipe itself refuses.
    """
    return _recipe(name, json.dumps(dict(options), sort_keys=True))


# Cached, so that equal recipes are the same functions and compiled code is found again.
@functools.cache
def _recipe(name: str, options: str) -> Transform:
    known = transforms.recipes.RECIPES
    if name not in known:
        raise ValueError(
            f"config.recipe.name is {name!r}, which is no recipe; choose from {sorted(known)}."
        )
    try:
        return known[name](**json.loads(options))
    except TypeError as error:
        raise ValueError(f"config.recipe.options does not fit the recipe {name}: {error}") from None
