"""One training step, and several of them in one program.

No method edits this file: view sets, objectives with heads, memories and target networks all come
from `Method`. The order inside a step is: read images, draw and render each view set, one forward
for all sets of equal shape, the weighted objectives, the update, the target network, the memories.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Array, Float, Key, PyTree

from eqssl_jax.compiled import often
from eqssl_jax.encoders import Network
from eqssl_jax.methods import Method
from eqssl_jax.objectives.base import Views
from eqssl_jax.training.alarms import SPREAD
from eqssl_jax.training.forward import Outputs, draw_views, forward, select_views
from eqssl_jax.training.mesh import batched, cut, replicated
from eqssl_jax.training.state import TrainState

Inputs = np.ndarray | jax.Array  # K batches of indices or of images, [K, B, ...]
Metrics = dict[str, Any]  # numbers by name
Step = Callable[[TrainState, PyTree, Array], tuple[TrainState, Metrics]]
# Folded into the key of a step for what the encoder draws; draws of views are numbered from 0.
ENCODER = 2**31 - 1


def make_step(
    network: Network,
    method: Method,
    optimizer: optax.GradientTransformation,
    read: Callable[[PyTree, Array], Float[Array, "n ..."]],
    root: Key[Array, ""],
) -> Step:
    """`step(state, pool, inputs) -> (state, metrics)` for one batch: pure, and not jitted yet.

    A `Partial` that holds the root key as an array: programs take the step as an argument, so that
    another seed compiles nothing anew.
    """

    def step(
        root: Key[Array, ""], state: TrainState, pool: PyTree, inputs: Array
    ) -> tuple[TrainState, Metrics]:
        images, labels = _read(read, method.labelled, pool, inputs)
        key = jax.random.fold_in(root, state.step)
        drawn, examples = draw_views(method, key, images)
        drops = jax.random.fold_in(key, ENCODER) if network.stochastic else None
        (total, (metrics, seen, stats, target_stats)), gradient = jax.value_and_grad(
            partial(_evaluate, network, method), has_aux=True
        )(state.params, state, drawn, examples, labels, drops)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": total, **metrics, "gradient_norm": optax.tree.norm(gradient)}
        metrics[SPREAD] = embedding_spread(next(iter(seen.values())).embeddings[0])
        return state._replace(
            step=state.step + 1,
            params=params,
            batch_stats=stats,
            opt_state=opt_state,
            target=_follow(method, state, params, target_stats),
            memory=_remembered(method, state.memory, seen),
        ), metrics

    return Partial(step, root)


def _evaluate(
    network: Network,
    method: Method,
    params: PyTree,
    state: TrainState,
    drawn: Any,
    examples: Any,
    labels: Any,
    key: Any,
) -> tuple[Float[Array, ""], tuple[Metrics, dict[str, Views], PyTree, PyTree]]:
    """The loss; and metrics, what the objectives saw, new BatchNorm averages and the target's."""
    online = {name: select_views(x, method.views[name].online) for name, x in examples.items()}
    outputs, stats = forward(
        network, params["network"], state.batch_stats, online, method=method, key=key
    )
    target, target_stats = _target_outputs(network, method, state, examples)
    seen = {
        name: Views(
            features=outputs[name].features,
            embeddings=outputs[name].embeddings,
            params=drawn[name].params,
            magnitude=drawn[name].magnitude,
            target=target[name].embeddings if name in target else None,
            target_features=target[name].features if name in target else None,
            labels=None if labels is None else labels[: method.views[name].images],
            maps=outputs[name].maps,
        )
        for name in method.views
    }
    total, metrics = _weighted(method, seen, params["heads"], state.memory)
    return total, (metrics, seen, stats, target_stats)


def _weighted(
    method: Method, seen: dict[str, Views], heads: PyTree, memory: PyTree
) -> tuple[Float[Array, ""], Metrics]:
    """The weighted sum of the objectives, and each of them with what else it says, by name."""
    total, metrics = jnp.zeros(()), dict[str, Any]()
    for name, (weight, objective) in method.objectives.items():
        value, extra = objective.loss(heads[name], *objective.select(seen, memory[name]))
        total = total + weight * value
        # Two objectives may name a metric alike: the second one's is told apart.
        extra = {key if key not in metrics else f"{name}_{key}": v for key, v in extra.items()}
        metrics |= {name: value, **extra}
    return total, metrics


def _remembered(method: Method, memory: PyTree, seen: dict[str, Views]) -> PyTree:
    """The memory of each objective after this step."""
    return {
        name: objective.remember(memory[name], *objective.select(seen, memory[name]))
        for name, (_, objective) in method.objectives.items()
    }


def _read(read: Callable[..., Any], labelled: bool, pool: PyTree, inputs: Array) -> tuple[Any, Any]:
    """Images, and one-hot labels for a method that learns from them (`data.pipeline.labelled`)."""
    return read(pool, inputs) if labelled else (read(pool, inputs), None)


def embedding_spread(z: Float[Array, "n d"]) -> Float[Array, ""]:
    """1 − |mean of z/|z||²: 0 where all embeddings of a batch have one direction, a collapse.

    Up to 1; N unit embeddings in independent directions of many dimensions have 1 − 1/N.
    """
    # The floor is inside the root, so that embeddings of length 0, which are equal too, stay 0.
    units = z / jnp.sqrt(jnp.sum(z**2, axis=1, keepdims=True) + 1e-12)
    return jnp.mean(jnp.sum(units**2, axis=1)) - jnp.sum(jnp.mean(units, axis=0) ** 2)


def _target_outputs(
    network: Network, method: Method, state: TrainState, examples: dict[str, Array]
) -> tuple[dict[str, Outputs], PyTree]:
    """Those by the target network, without gradient, and its new BatchNorm averages."""
    if not method.momentum:
        return {}, ()
    chosen = {
        name: select_views(examples[name], method.views[name].target)
        for name in method.target_views
    }
    outputs, stats = forward(
        network,
        state.target["network"],
        state.target["batch_stats"],
        chosen,
        method=method,
    )
    outputs, stats = jax.lax.stop_gradient((outputs, stats))
    return outputs, stats


def _follow(method: Method, state: TrainState, params: PyTree, target_stats: PyTree) -> PyTree:
    """target ← m·target + (1−m)·online, after the update."""
    if not method.momentum:
        return ()
    follow = 1 - method.momentum(state.step)
    network = optax.incremental_update(params["network"], state.target["network"], follow)
    return {"network": network, "batch_stats": target_stats}


def make_dispatch(
    step: Step, mesh: Mesh, *, looped: bool | None = None
) -> Callable[[TrainState, PyTree, Inputs, int], tuple[TrainState, Metrics]]:
    """Run several steps at one call over a device mesh; the state is donated.

    The result is `dispatch(state, pool, inputs, count)`: `inputs` holds K batches [K, B, ...] (of
    several processes, each its `rows` of them), of which the first `count` are trained on; metrics
    come back by name, one number for each of them.

    Args:
      step: from `make_step`.
      mesh: the batch is cut over it, all else is replicated.
      looped: one program loops over the steps (True), or one program a step is called for each
        (False). By default a loop except on CPU, where XLA computes convolutions inside a loop
        many times slower than outside, and where a call costs next to nothing.
    """
    if looped is None:
        looped = mesh.devices.flat[0].platform != "cpu"
    return _looped(step, mesh) if looped else _called(step, mesh)


class Program(NamedTuple):
    """A jitted function of a step and what it is called with, and the step."""

    jitted: Any
    step: Step

    def __call__(self, *arguments: Any) -> Any:
        return self.jitted(self.step, *arguments)

    def lower(self, *arguments: Any) -> Any:
        """As `jax.jit` lowers."""
        return self.jitted.lower(self.step, *arguments)


def compile_step(step: Step, mesh: Mesh) -> Program:
    """One step as a program over a device mesh: the batch is cut over it, all else replicated."""

    def call(step: Step, state: TrainState, pool: PyTree, inputs: Array) -> Any:
        return step(state, pool, inputs)

    return _program(call, step, mesh, batched(mesh))


def _program(function: Callable[..., Any], step: Step, mesh: Mesh, *shardings: Any) -> Program:
    """`function(step, state, pool, inputs, …)`, compiled; `shardings` of inputs and after."""
    everywhere = replicated(mesh)

    def within(*arguments: Any) -> Any:  # so that `forward` finds the mesh
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*arguments)

    jitted = jax.jit(
        within,
        donate_argnums=1,
        in_shardings=(everywhere, everywhere, everywhere, *shardings),
        out_shardings=(everywhere, everywhere),
        compiler_options=often(),
    )
    held = step if isinstance(step, Partial) else Partial(step)
    # Made on all devices of all processes, as an argument of their common program must be.
    return Program(jitted, jax.jit(lambda: held, out_shardings=everywhere)())


def _called(step: Step, mesh: Mesh) -> Callable[..., tuple[TrainState, Metrics]]:
    compiled = compile_step(step, mesh)

    def dispatch(
        state: TrainState, pool: PyTree, inputs: Inputs, count: int
    ) -> tuple[TrainState, Metrics]:
        found = []
        for i in range(count):
            state, metrics = compiled(state, pool, cut(mesh, inputs[i]))
            found.append(metrics)
        return state, {name: [metrics[name] for metrics in found] for name in found[0]}

    return dispatch


def _looped(step: Step, mesh: Mesh) -> Callable[..., tuple[TrainState, Metrics]]:
    over = batched(mesh)

    def loop(
        step: Step, state: TrainState, pool: PyTree, inputs: Array, count: Array
    ) -> tuple[TrainState, Metrics]:
        _, shapes = jax.eval_shape(step, state, pool, inputs[0])
        metrics = jax.tree.map(lambda m: jnp.zeros((inputs.shape[0],), m.dtype), shapes)

        def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, metrics = carry
            state, new = step(state, pool, jax.lax.with_sharding_constraint(inputs[i], over))
            return state, jax.tree.map(lambda every, one: every.at[i].set(one), metrics, new)

        # The number of steps is an argument of the loop, not of the program: a shorter last
        # dispatch or a resumed run compiles nothing anew.
        return jax.lax.fori_loop(0, count, body, (state, metrics))

    compiled = _program(loop, step, mesh, batched(mesh, 1), replicated(mesh))

    def dispatch(
        state: TrainState, pool: PyTree, inputs: Inputs, count: int
    ) -> tuple[TrainState, Metrics]:
        state, metrics = compiled(state, pool, cut(mesh, inputs, 1), count)
        return state, {name: every[:count] for name, every in metrics.items()}

    return dispatch
