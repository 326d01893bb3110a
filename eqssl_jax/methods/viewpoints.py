"""Methods on stored views of objects: which of an object's views stands where, and what cannot."""

from jaxtyping import Array
from ml_collections import ConfigDict

from eqssl_jax import views
from eqssl_jax.methods.base import Method
from eqssl_jax.transforms.base import Params, Transform
from eqssl_jax.views import ViewSpec

RECIPE = "stored_views"
_ALONE = {"drawn for each image and each view", "drawn for each image, in one view"}
_STILL = {"at its identity"}


class NotStoredError(ValueError):
    """A method wants views that no stored ones can be."""


def on_stored_views(method: Method, config: ConfigDict, recipe: Transform) -> Method:
    """The method, whose views come as they are to be seen.

    Raises:
      NotStoredError: for a view set whose draws are shared, ordered or of other transformations,
        naming its objectives.
    """
    for name, spec in method.views.items():
        where = f"the view set {name} (of config.objectives: {entries_of(method, name, config)})"
        if set(spec.transform.identity) != set(recipe.identity):
            raise NotStoredError(
                f"config.recipe.name is {RECIPE!r}, whose views are read as they were rendered, "
                f"and {where} makes pictures of its own of them (by "
                f"{', '.join(spec.transform.identity)}): of a picture that is turned, flipped or "
                f"cropped no pose is stored. Leave that entry out, or train it on config.data.name "
                f"= 'solids', whose views are rendered in the step."
            )
        words = _words(spec, config.train.batch_size)
        if set(words.values()) <= _STILL or set(words.values()) <= _ALONE:
            continue
        wanted = next(f"{part} {text}" for part, text in words.items() if text not in _ALONE)
        raise NotStoredError(
            f"config.recipe.name is {RECIPE!r}: each stored view of an object has a pose and hues "
            f"of its own, which no other object shares and nothing changes, but {where} wants "
            f"{wanted}. Leave that entry out, and give every part a role that draws it for each "
            f"view, invariant or predicted; or train on config.data.name = 'solids'."
        )
    shown = {
        name: spec._replace(transform=spec.transform._replace(apply=_as_it_is))
        for name, spec in method.views.items()
    }
    return method._replace(views=shown)


def entries_of(method: Method, views: str, config: ConfigDict) -> str:
    """The entries of config.objectives that read a view set, for messages.

    Some add several objectives, by longer names than their own.
    """
    readers = [key for key, (_, loss) in method.objectives.items() if views in loss.names()]
    entries: dict[str, None] = {}
    for reader in readers:
        keys = [key for key in config.objectives if f"{reader}_".startswith(f"{key}_")]
        entries[max(keys, key=len, default=reader)] = None
    return ", ".join(entries)


def places(method: Method, batch: int) -> tuple[list[int], bool]:
    """Which of an object's drawn views stands in each place, set by set; and whether one is still.

    Every view of a set is another one. A set at the identity, such as the original image of
    EquiMod, shows view 0, from which draws then lead to the others.
    """
    still = {name: set(_words(s, batch).values()) <= _STILL for name, s in method.views.items()}
    taken: list[int] = []
    following = int(any(still.values()))
    for name, spec in method.views.items():
        count = spec.pattern.views
        taken += [0] * count if still[name] else range(following, following + count)
        following += 0 if still[name] else count
    return taken, any(still.values())


def _words(spec: ViewSpec, batch: int) -> dict[str, str]:
    """Who shares a draw; of at least two images, or one draw could be that of all."""
    return views.describe(spec.pattern, spec.transform.identity, max(spec.images or batch, 2))


def _as_it_is(params: Params, x: Array) -> Array:
    del params
    return x
