"""The transformation that a config names."""

import functools
import inspect
import json
from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from eqssl_jax import names, transforms
from eqssl_jax.settings import check, shown
from eqssl_jax.transforms.base import Transform


def build_recipe(
    name: str,
    options: Mapping[str, object],
    setting: str = "config.recipe.name",
    group: str = "config.recipe.options",
) -> Transform:
    """The named recipe with its options; `setting` and `group` are where a config has them.

    The name is a built-in one, or `module:attribute`: a function that takes the options as keywords
    and returns a `Transform`.

    Raises:
      ValueError: for an unknown recipe or option, for what is no `Transform`, and whatever the
        recipe itself refuses.
    """
    function = names.resolve(name, "recipe", transforms.recipes.RECIPES, setting=setting)
    if name in transforms.recipes.RECIPES:
        parameters = inspect.signature(function).parameters
        schema = {option: transforms.recipes.OPTIONS[option] for option in parameters}
        options = check(dict(options), schema, group, partial=True)
        for option, value in options.items():
            if value == () and parameters[option].default != ():
                raise ValueError(
                    f"{group}.{option} is (), which the recipe {name} cannot do without; give it "
                    f"numbers, e.g. {shown(parameters[option].default)}."
                )
    else:
        expected = f"a function of {group} that returns a Transform"
        names.check_call(function, f"{setting} = {name}", expected, **options)
    try:
        made = _recipe(function, json.dumps(dict(options), sort_keys=True, default=dict))
    except ValueError as error:
        raise ValueError(f"{group} does not fit the recipe {name}: {error}") from None
    if not isinstance(made, Transform):
        raise ValueError(
            f"{setting} is {name!r}, which returned {type(made).__name__}: it must be a function "
            f"of {group} that returns a Transform, e.g. transforms.chain(flip=…)."
        )
    return made


def at_same_size(name: str, options: Mapping[str, object], config: ConfigDict) -> dict[str, object]:
    """The options of a second recipe of a config: its views are as large as all others, unless it
    has a size of its own."""
    function, shared = transforms.recipes.RECIPES.get(name), config.recipe.options.get("size")
    sized = function is not None and "size" in inspect.signature(function).parameters
    return {**({"size": shared} if sized and shared else {}), **options}


# Cached, so that equal recipes are the same functions and compiled code is found again, whatever
# setting named them.
@functools.cache
def _recipe(function: Callable[..., object], options: str) -> object:
    return function(**json.loads(options))
