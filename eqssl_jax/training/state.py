"""What training carries from step to step: arrays only, so that all of it can be saved."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key, PyTree

from eqssl_jax.compiled import once
from eqssl_jax.encoders import Network
from eqssl_jax.methods import Method
from eqssl_jax.objectives.base import Views, no_head
from eqssl_jax.training.forward import draw_views, forward, select_views


class TrainState(NamedTuple):
    """Everything a run is, whole on every device. Functions (network, method, …) live in closures.

    Attributes:
      step: steps done so far, int32.
      params: {"network": …, "heads": {objective: …}}.
      batch_stats: running averages of the network's BatchNorm.
      opt_state: moments of the optimiser.
      target: {"network", "batch_stats"} of the target network; () when the method has none.
      memory: {objective: its memory}, () for those without.
    """

    step: Int[Array, ""]
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    target: PyTree
    memory: PyTree


def init_state(
    key: Key[Array, ""],
    network: Network,
    method: Method,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, ...],
    batch_size: int,
    classes: int = 0,
) -> TrainState:
    """The state before the first step; the target network starts as a copy of the online one.

    `classes` is how many the labels tell apart, for methods that learn from them.
    """
    keys = jax.random.split(key, 1 + 2 * len(method.objectives))[1:]
    variables = network.init(network_key(key, method), image_shape)
    params, batch_stats = variables["params"], variables["batch_stats"]
    parts = [part for _, o in method.objectives.values() for part in (o.init, o.init_memory)]
    shapes: dict[str, Views] | None = None
    if any(part is not no_head for part in parts):  # to trace the views takes a second
        shapes = _abstract_views(network, method, params, batch_stats, (batch_size, *image_shape))
    if shapes and method.labelled:
        labels: Any = jax.ShapeDtypeStruct((batch_size, classes), jnp.float32)
        shapes = {name: seen._replace(labels=labels) for name, seen in shapes.items()}

    def beside_network(keys: Key[Array, " k"], params: PyTree, batch_stats: PyTree) -> PyTree:
        heads, memory = {}, {}
        for i, (name, (_, objective)) in enumerate(method.objectives.items()):
            seen = objective.select(shapes) if shapes else ()
            heads[name] = objective.init(keys[2 * i], *seen)
            memory[name] = objective.init_memory(keys[2 * i + 1], *seen)
        opt_state = optimizer.init({"network": params, "heads": heads})
        target: PyTree = ()
        if method.momentum:
            target = {"network": params, "batch_stats": batch_stats}
        return heads, memory, opt_state, target, jnp.zeros((), jnp.int32)

    # The training step donates its state, and no buffer may be given away twice: what a program
    # returns lies in buffers of its own, also the target network.
    heads, memory, opt_state, target, step = once(beside_network, keys, params, batch_stats)
    return TrainState(
        step=step,
        params={"network": params, "heads": heads},
        batch_stats=batch_stats,
        opt_state=opt_state,
        target=target,
        memory=memory,
    )


def network_key(key: Key[Array, ""], method: Method) -> Key[Array, ""]:
    """Of the weights of the network, when a state is drawn with `key`."""
    return jax.random.split(key, 1 + 2 * len(method.objectives))[0]


def _abstract_views(
    network: Network, method: Method, params: PyTree, batch_stats: PyTree, shape: tuple[int, ...]
) -> dict[str, Views]:
    """Shapes of every view set, found without computing anything."""

    def views(images: Array) -> dict[str, Views]:
        drawn, examples = draw_views(method, jax.random.key(0), images)
        online = {name: select_views(x, method.views[name].online) for name, x in examples.items()}
        key = jax.random.key(0) if network.stochastic else None
        outputs, _ = forward(network, params, batch_stats, online, method=method, key=key)
        return {
            name: Views(
                outputs[name].features,
                outputs[name].embeddings,
                drawn[name].params,
                drawn[name].magnitude,
                maps=outputs[name].maps,
            )
            for name in method.views
        }

    return jax.eval_shape(views, jax.ShapeDtypeStruct(shape, jnp.float32))
