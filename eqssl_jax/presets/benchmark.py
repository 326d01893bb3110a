"""The equivariance benchmark: a method on one of its data sets, as a small recipe.

What a method needs that others do not (a target network, wide heads, a method beside it) is in its
card (`methods.Row`); batch, steps, encoder and optimiser are the same for all.
"""

from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.config import base
from eqssl_jax.methods.entrants import find
from eqssl_jax.methods.entries import OF_ROLES

DATA = ("solids", "shapes", "cifar10", "fruits360", "3diebench")
# The parts that an ordered role is for, the first that the recipe has: all else still differs
# between the views that a base method compares.
_ORDERED = ("turn", "crop")


def benchmark(data: str, method: str, *, small: bool = True) -> ConfigDict:
    """A method on a data set, unlocked; without `small`, with its settings for a large encoder.

    `method` is what `methods.entrants.find` takes: a row's name, a card's, or `module:attribute`.

    Raises:
      ValueError: for an unknown data set or method, and a row that does not fit its card.
    """
    if data not in DATA:
        raise ValueError(f"The benchmark has the data {', '.join(DATA)}; found {data!r}.")
    entrant = find(method)
    config = base()
    config.data.name = data
    config.model.encoder, config.model.stem = "conv_tiny", "imagenet"
    config.model.projector = (256, 64) if small else (512, 128)
    _views(config, data)
    train, optimizer = config.train, config.optimizer
    train.batch_size, train.steps, train.log_every = 128, 400, 50
    train.save_every = train.knn_every = 200
    optimizer.learning_rate, optimizer.schedule = 2e-3, "cosine"
    config.knn.bank, config.knn.queries = 2_000, 500
    config.evaluation.preset = "quick"
    # Those of roles are there for --config.roles.…; `methods.resolved` leaves out what none uses.
    for used in map(find, (*OF_ROLES.values(), *(entrant.row.beside or ()), entrant.method)):
        values = used.row.small if small else used.row.full
        values = {**values, **used.row.recipes.get(config.recipe.name, {})}
        config.objectives[used.key()] = ConfigDict(methods.entry(used.method, **values))
    if role := entrant.card.role:
        parts = tuple(methods.build_recipe(config.recipe.name, config.recipe.options).identity)
        first = tuple(part for part in _ORDERED if part in parts)[:1]
        config.roles = ConfigDict(dict.fromkeys(first if role == "ordered" else parts, role))
    try:
        config.lock().update_from_flattened_dict(dict(entrant.row.config))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The row of {method} sets the config to {dict(entrant.row.config)}: {error}. Give "
            f"settings by path, of their type, e.g. {{'target.momentum': 0.996}}."
        ) from None
    return config.unlock()


def _views(config: ConfigDict, data: str) -> None:
    if data == "solids":  # no other augmentation than the choice of two views, as SIE's
        config.data.split, config.data.size = "objects", 32
        config.recipe.name, config.recipe.options = "solids", ConfigDict({})
        config.evaluation.options = ConfigDict({"queries": 0, "ladder_images": 0})
    elif data == "3diebench":  # pairs of stored views; images of 256 pixels
        config.data.size, config.recipe.name = 64, "stored_views"
        config.recipe.options = ConfigDict({})
        config.evaluation.options = ConfigDict({"queries": 0, "ladder_images": 0})
    elif data == "shapes":
        config.recipe.name, config.recipe.options = "shapes", ConfigDict({"size": 32})
    else:
        config.recipe.name, config.recipe.options = "simclr_cifar", ConfigDict({"size": 32})
