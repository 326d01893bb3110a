"""What a pattern of sharing is, what it draws, and how draws become views."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Key

from eqssl_jax.transforms.base import Params, Transform


class Draws(NamedTuple):
    """Parameters of every view: leaves [V, N, ...], and how far each is along its ladder.

    `magnitude` is [V, N] in [0, 1] (0 the identity, 1 the full draw) for ladders, None otherwise;
    it is 0 on every rung of an image whose draw is the identity: there is nothing to order.
    """

    params: Params
    magnitude: Float[Array, "v n"] | None = None


class Pattern(NamedTuple):
    """A way of sharing draws: `draw(key, transform, count)` gives `Draws` for `views` × `count`."""

    views: int
    draw: Callable[[Key[Array, ""], Transform, int], Draws]


class ViewSpec(NamedTuple):
    """One set of views: what is applied, who shares a draw, and to how many images of the batch.

    `images` limits the set to the first so many images of the batch (None: all). `joint` gives all
    views of the set one BatchNorm, where each view has its own otherwise: what is compared across
    views, as the rungs of a ladder are, must not have its mean taken away view by view. `online`
    and `target` are the numbers of the views that the online and the target network encode (None:
    all): a queue of keys asks the one for the queries and the other for the keys alone. `layer`
    names a layer of the encoder whose feature map the set's objectives see ("": none).
    """

    transform: Transform
    pattern: Pattern
    images: int | None = None
    joint: bool = False
    online: tuple[int, ...] | None = None
    target: tuple[int, ...] | None = None
    layer: str = ""


def render(
    transform: Transform, params: Params, examples: Float[Array, "n ..."]
) -> Float[Array, "v n ..."]:
    """Apply drawn parameters (leaves [V, N, ...]) to N examples: views [V, N, ...]."""
    return jax.vmap(jax.vmap(transform.apply), in_axes=(0, None))(params, examples)


def check_views(name: str, views: int) -> None:
    if views < 1:
        raise ValueError(f"{name}() needs at least one view, found views={views}.")
