"""The transformation that a config names."""

import functools
import json
from collections.abc import Mapping

from eqssl_jax import names, transforms
from eqssl_jax.transforms.base import Transform


def build_recipe(
    name: str, options: Mapping[str, object], *, setting: str = "config.recipe.name"
) -> Transform:
    """The named recipe with its options.

    Args:
      name: a built-in one, or `module:attribute`: a function that returns a `Transform`.
      options: keyword arguments of that function.
      setting: where the name stands, for errors.

    Raises:
      ValueError: for an unknown recipe or option, for what is no `Transform`, and whatever the
        recipe itself refuses.
    """
    return _recipe(name, json.dumps(dict(options), sort_keys=True, default=dict), setting)


# Cached, so that equal recipes are the same functions and compiled code is found again.
@functools.cache
def _recipe(name: str, options: str, setting: str) -> Transform:
    function = names.resolve(name, "recipe", transforms.recipes.RECIPES, setting=setting)
    group = setting.removesuffix(".name") + "_options"
    if setting.endswith(".name"):
        group = setting.removesuffix(".name") + ".options"
    chosen = json.loads(options)
    expected = f"a function of {group} that returns a Transform"
    try:
        names.check_call(function, name, expected, **chosen)
        made = function(**chosen)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{group} does not fit the recipe {name}: {error}") from None
    if not isinstance(made, Transform):
        raise ValueError(
            f"{setting} is {name!r}, which returned {type(made).__name__}: it must be {expected}, "
            f"e.g. transforms.chain(crop=transforms.random_resized_crop())."
        )
    return made
