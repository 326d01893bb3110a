"""What an objective sees and what it answers: the contract between embeddings and the step."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

Metrics = Mapping[str, Array]


class Views(NamedTuple):
    """One computed view set, as objectives see it; float32 whatever the compute dtype.

    Attributes:
      features: encoder outputs before the projector, [V, N, H].
      embeddings: projector outputs, not normalised, [V, N, D]. Both hold the views that the online
        network encodes (`ViewSpec.online`), all of them as a rule.
      params: the draws that made the views, leaves [V, N, ...].
      magnitude: position of each view on its ladder, [V, N] in [0, 1]; None without a ladder.
      target: embeddings by the momentum (target) network, [V, N, D], of the views that it encodes
        (`ViewSpec.target`); None when the method has none.
      target_features: its features before the projector, [V, N, H], likewise.
      memory: this objective's own memory (e.g. a queue); () when it keeps none.
      labels: of the images, one-hot [N, K], for methods that learn from them; else None.
      maps: the feature map of the layer `ViewSpec.layer`, [V, N, height, width, channels], or
        [V, N, tokens, channels] of a vision transformer; None where no layer is named.
    """

    features: Float[Array, "v n h"]
    embeddings: Float[Array, "v n d"]
    params: Mapping[str, Any] = {}
    magnitude: Float[Array, "v n"] | None = None
    target: Float[Array, "v n d"] | None = None
    target_features: Float[Array, "v n h"] | None = None
    memory: PyTree = ()
    labels: Float[Array, "n k"] | None = None
    maps: Float[Array, "v n ..."] | None = None


def no_head(key: Key[Array, ""], *views: Views) -> PyTree:
    """The `init` of an objective without parameters or memory of its own."""
    del key, views
    return ()


def keep_memory(memory: PyTree, *views: Views) -> PyTree:
    """The `remember` of an objective without memory."""
    del views
    return memory


class Objective(NamedTuple):
    """A loss on view sets, with the parameters of its heads and, if it needs one, a memory.

    The functions take one `Views` for each named set, in that order.

    Attributes:
      views: name of the view set it consumes, or the names of several.
      loss: `loss(head_params, *views) -> (scalar, metrics)`; the first views hold the memory.
      init: `init(key, *views) -> head_params`; `views` hold shapes (`jax.ShapeDtypeStruct`).
      init_memory: `init_memory(key, *views) -> memory`, likewise.
      predict: `predict(head_params, *views)` gives embeddings after, predicted and before the
        augmentations, [V, N, D] (or [1, N, D]); None for an objective that predicts none.
      classify: `classify(head_params, features)` gives class scores [N, K] of features [N, H]; None
        for an objective that does not classify.
      remember: `remember(memory, *views) -> memory`, called once a step after the gradient; no
        gradient flows through it.
    """

    views: str | tuple[str, ...]
    loss: Callable[..., tuple[Float[Array, ""], Metrics]]
    init: Callable[..., PyTree] = no_head
    init_memory: Callable[..., PyTree] = no_head
    remember: Callable[..., PyTree] = keep_memory
    predict: Callable[..., tuple[Array, Array, Array]] | None = None
    classify: Callable[[PyTree, Array], Array] | None = None

    def names(self) -> tuple[str, ...]:
        """The view sets it consumes."""
        return (self.views,) if isinstance(self.views, str) else self.views

    def select(self, seen: Mapping[str, Views], memory: PyTree = ()) -> tuple[Views, ...]:
        """What this objective sees, of all computed sets: the arguments of its functions."""
        first, *others = (seen[name] for name in self.names())
        return (first._replace(memory=memory), *others)


def unit(z: Float[Array, "*batch d"], *, epsilon: float = 1e-12) -> Float[Array, "*batch d"]:
    """Project onto the unit sphere, z / max(‖z‖, ε), in float32; the gradient at z = 0 is finite.

    >>> import jax.numpy as jnp
    >>> unit(jnp.array([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    z = z.astype(jnp.float32)
    square = jnp.sum(z * z, axis=-1, keepdims=True)
    # The floor is inside the root: the derivative of sqrt at 0 is infinite.
    return z / jnp.sqrt(jnp.maximum(square, epsilon**2))


def mean_cosine(a: Float[Array, "n d"], b: Float[Array, "n d"]) -> Float[Array, ""]:
    """The mean of aᵢᵀbᵢ; of unit vectors, their mean cosine."""
    return jnp.mean(jnp.sum(a * b, axis=1))
