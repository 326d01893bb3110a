"""From images to what objectives see: draws, rendered views, features and embeddings."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Key, PyTree

from eqssl_jax.data.views_of_objects import StoredViews
from eqssl_jax.encoders import Network
from eqssl_jax.methods import Method
from eqssl_jax.training.mesh import AXIS
from eqssl_jax.views import Draws, ViewSpec, render


class Outputs(NamedTuple):
    """What the network gives for the views of a set; `maps` of the layer that the set names."""

    features: Float[Array, "v n h"]
    embeddings: Float[Array, "v n d"]
    maps: Float[Array, "v n ..."] | None = None


def draw_views(
    method: Method, key: Key[Array, ""], images: Float[Array, "n ..."] | StoredViews
) -> tuple[dict[str, Draws], dict[str, Float[Array, "v n ..."]]]:
    """Draws and rendered examples of every view set of the method."""
    drawn, examples = {}, {}
    if isinstance(images, StoredViews):
        start = 0
        for name, spec in method.views.items():
            mine = jax.tree.map(functools.partial(_places, spec, start), images)
            drawn[name], examples[name] = Draws(mine.params), mine.views
            start += spec.pattern.views
        return drawn, examples
    for name, sub in zip(method.views, jax.random.split(key, len(method.views)), strict=True):
        spec = method.views[name]
        chosen = images[: spec.images or images.shape[0]]
        drawn[name] = spec.pattern.draw(sub, spec.transform, chosen.shape[0])
        examples[name] = render(spec.transform, drawn[name].params, chosen)
    return drawn, examples


def _places(spec: ViewSpec, start: int, stored: Float[Array, "n w ..."]) -> Float[Array, "v n ..."]:
    """What belongs to a view set, of what is stored of the views of all sets in their order."""
    return jnp.swapaxes(stored[: spec.images, start : start + spec.pattern.views], 0, 1)


def select_views(
    examples: Float[Array, "v n ..."], chosen: tuple[int, ...] | None
) -> Float[Array, "w n ..."]:
    """The views of these numbers; None: all."""
    return examples if chosen is None else jnp.stack([examples[v] for v in chosen])


def forward(
    network: Network,
    params: PyTree,
    batch_stats: PyTree,
    examples: dict[str, Float[Array, "v n ..."]],
    *,
    method: Method,
    key: Key[Array, ""] | None = None,
) -> tuple[dict[str, Outputs], PyTree]:
    """Features and embeddings of every view set, and the new BatchNorm averages.

    Neighbouring sets of equal shape, whose maps are of the same layer, share one forward. Every
    view still has its own BatchNorm statistics, in the stated order, unless `method.joint_views`; a
    set that is `joint` has a forward and statistics for itself. Images lead views in the batch, so
    that a batch sharded over devices stays so. `key` is for encoders that draw in training; None:
    they draw nothing.

    Within a mesh (`jax.sharding.use_abstract_mesh`) each device encodes its images by itself, where
    the network is `local`, draws nothing and the images of each set can be shared equally. What
    several forwards give for a parameter is then added before it is summed over devices, once, and
    BatchNorm sends one array each way.
    """

    def run(params: PyTree, batch_stats: PyTree, examples: dict[str, Array]) -> Any:
        return _forward(network, params, batch_stats, examples, method, key)

    devices = jax.sharding.get_abstract_mesh().shape.get(AXIS, 1)
    equal = all(x.shape[1] % devices == 0 for x in examples.values())
    if devices > 1 and network.local and key is None and equal:
        whole, part = PartitionSpec(), PartitionSpec(None, AXIS)
        run = jax.shard_map(
            run, in_specs=(whole, whole, part), out_specs=(part, whole), check_vma=False
        )
    return run(params, batch_stats, examples)


def _forward(
    network: Network,
    params: PyTree,
    batch_stats: PyTree,
    examples: dict[str, Float[Array, "v n ..."]],
    method: Method,
    key: Key[Array, ""] | None,
) -> tuple[dict[str, Outputs], PyTree]:
    outputs: dict[str, Outputs] = {}
    names = list(examples)
    kinds = {name: (examples[name].shape[1:], method.views[name].layer) for name in names}
    joint = {name for name in names if method.views[name].joint}
    while names:
        together = [names.pop(0)]
        kind = kinds[together[0]]
        while names and kinds[names[0]] == kind and not joint & {names[0], *together}:
            together.append(names.pop(0))
        x = jnp.concatenate([examples[name] for name in together])  # [V, N, ...]
        count = x.shape[0]
        flat = jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])  # [N·V, ...]
        separate = not method.joint_views and not joint & set(together)
        # Each forward draws for itself: as many sets are left before each, so many are its number.
        options: dict[str, Any] = (
            {} if key is None else {"key": jax.random.fold_in(key, len(names))}
        )
        options |= {"layer": kind[1]} if kind[1] else {}
        found, batch_stats = network.apply(
            params, batch_stats, flat, views=count if separate else 1, train=True, **options
        )
        each = [jnp.swapaxes(y.reshape(*x.shape[1::-1], *y.shape[1:]), 0, 1) for y in found]
        start = 0
        for name in together:
            stop = start + examples[name].shape[0]
            outputs[name] = Outputs(*(y[start:stop] for y in each))  # [V, N, ...] again
            start = stop
    return outputs, batch_stats
