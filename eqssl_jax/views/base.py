"""What a pattern of sharing is, how its draws become views, and who shares them, in words."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from eqssl_jax.transforms.base import FromUniform, Params, Transform


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


def describe(pattern: Pattern, parts: Iterable[str], count: int) -> dict[str, str]:
    """How a pattern shares the draws of each part among its views and `count` images.

    The pattern draws a transformation whose parts are one number each, different in every draw, so
    that two equal numbers are one draw.

    >>> from eqssl_jax import views
    >>> mixed = views.mix(views.grouped(2), hue=views.paired(2), flip=views.fixed(2))
    >>> for part, words in describe(mixed, ["crop", "hue", "flip"], 8).items():
    ...     print(part, words)
    crop drawn for every 4 images and each view
    hue drawn for each image, shared by its views
    flip at its identity

    Raises:
      ValueError: if the pattern cannot draw for so many images.
    """
    probe = _probe(tuple(parts))
    drawn = pattern.draw(jax.random.key(0), probe, count)
    ladder = drawn.magnitude is not None
    return {part: _words(np.asarray(drawn.params[part]), ladder) for part in probe.identity}


def _probe(parts: tuple[str, ...]) -> Transform:
    # The identity, 0, is never drawn.
    sample = FromUniform(len(parts), lambda u: {p: 1.0 + u[i] for i, p in enumerate(parts)})
    return Transform(sample, lambda params, x: x, {part: jnp.zeros(()) for part in parts})


def _words(values: np.ndarray, ladder: bool) -> str:
    """From the numbers of one part, [V, N]; 0 is the identity."""
    if not values.any():
        return "at its identity"
    views = len(values)
    alike = bool((values == values[:1]).all())
    if ladder and not alike:
        return f"drawn for each image, approached in {views} steps from its identity"
    still = [v + 1 for v in range(views) if not values[v].any()]
    size = _group(values)
    shared_by = {1: "each image", values.shape[1]: "all images"}
    images = shared_by.get(size, f"every {size} images")
    if alike:
        return f"drawn for {images}, " + ("shared by its views" if views > 1 else "in one view")
    text = f"drawn for {images} and each view"
    return text + (f", view {still[0]} at its identity" if still else "")


def _group(values: np.ndarray) -> int:
    """How many neighbouring images share a draw."""
    changes = np.flatnonzero((values[:, 1:] != values[:, :-1]).any(axis=0))
    return int(changes[0]) + 1 if len(changes) else values.shape[1]
