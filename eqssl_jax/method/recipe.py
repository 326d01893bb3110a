"""The transformation that a config names."""

import functools
import inspect
import json
from collections.abc import Mapping

from eqssl_jax import transforms
from eqssl_jax.settings import check, shown
from eqssl_jax.transforms.base import Transform


def build_recipe(
    name: str,
    options: Mapping[str, object],
    setting: str = "config.recipe.name",
    group: str = "config.recipe.options",
) -> Transform:
    """The named recipe with its options; `setting` and `group` are where a config has them.

    Raises:
      ValueError: for an unknown recipe or option, and whatever the recipe itself refuses.
    """
    known = transforms.recipes.RECIPES
    if name not in known:
        raise ValueError(
            f"{setting} is {shown(name)}, which is no recipe; choose from {sorted(known)}."
        )
    parameters = inspect.signature(known[name]).parameters
    schema = {name: transforms.recipes.OPTIONS[name] for name in parameters}
    values = check(dict(options), schema, group, partial=True)
    try:
        return _recipe(name, json.dumps(values, sort_keys=True))
    except ValueError as error:
        raise ValueError(f"{group} does not fit the recipe {name}: {error}") from None


# Cached, so that equal recipes are the same functions and compiled code is found again.
@functools.cache
def _recipe(name: str, options: str) -> Transform:
    return transforms.recipes.RECIPES[name](**json.loads(options))
