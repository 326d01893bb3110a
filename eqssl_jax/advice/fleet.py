"""Many small encoders trained in one program, which differ in the numbers of their roles alone."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from eqssl_jax.advice.candidates import Candidate, Gates, gated_method, gates
from eqssl_jax.methods import Method
from eqssl_jax.training.mesh import replicated
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState, init_state
from eqssl_jax.training.step import make_step

Metrics = dict[str, Float[Array, " k"]]


class Fleet(NamedTuple):
    """K encoders as one: states have a leading axis [K].

    Every encoder of a seed starts from the same weights and sees the same images in the same order,
    under the same draws as far as its roles allow.

    Attributes:
      init: `init(seed)` gives the K equal states before the first step.
      advance: `advance(states, indices [B], seed)` is one step of each; states are donated.
    """

    init: Callable[[int], TrainState]
    advance: Callable[[TrainState, np.ndarray, int], tuple[TrainState, Metrics]]


def fleet(
    run: Setup,
    tables: Sequence[Candidate],
    *,
    among: Sequence[Candidate] = (),
    looped: bool | None = None,
) -> Fleet:
    """The candidates as a fleet, with network, optimiser, data and budget of `run`.

    Args:
      run: network, optimiser, data and budget.
      tables: the candidates.
      among: all candidates of a fleet that `tables` were kept from, so that the states of both have
        the same heads.
      looped: loop over the candidates (True), or map over all of them at once (False: vmap over the
        numbers of their roles). By default a loop on CPU alone, where one candidate keeps the cores
        busy and convolutions with weights of many encoders are slow (measured: 0.7 of the time).
    """
    numbers = gates([candidate.table for candidate in tables])
    used = {(part, line.role) for one in among or tables for part, line in one.table.items()}
    if looped is None:
        looped = jax.default_backend() == "cpu"

    def method(gate: Gates) -> Method:
        return gated_method(run.config, run.recipe, gate, used)

    def init(seed: int) -> TrainState:
        state = init_state(
            jax.random.key(seed),
            run.network,
            method(jax.tree.map(lambda leaf: leaf[0], numbers)),
            run.optimizer,
            run.dataset.image_shape,
            run.config.train.batch_size,
            len(run.dataset.classes),
        )
        states = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(tables)), state)
        # Placed as the steps will leave them, or the second step would be compiled anew.
        return jax.device_put(states, replicated(run.mesh))

    def step(
        numbers: Gates, states: TrainState, pool: PyTree, inputs: Array, root: Key[Array, ""]
    ) -> tuple[TrainState, Metrics]:
        images = run.split.read(pool, inputs)  # once for all

        def one(gate: Gates, state: TrainState) -> tuple[TrainState, dict[str, Array]]:
            own = make_step(run.network, method(gate), run.optimizer, lambda pool, x: x, root)
            return own(state, (), images)

        if looped:
            return jax.lax.map(lambda pair: one(*pair), (numbers, states))
        return jax.vmap(one)(numbers, states)

    compiled = jax.jit(step, donate_argnums=1)

    def advance(states: TrainState, inputs: np.ndarray, seed: int) -> tuple[TrainState, Metrics]:
        root = jax.random.fold_in(jax.random.key(seed), 1)  # 0 is the initialisation
        return compiled(numbers, states, run.split.pool, inputs, root)

    return Fleet(init, advance)


def pick(states: TrainState, k: int) -> TrainState:
    """The state of one encoder."""
    return jax.tree.map(lambda leaf: leaf[k], states)


def keep(states: TrainState, chosen: Sequence[int]) -> TrainState:
    """The states of some encoders."""
    rows = np.asarray(chosen)
    return jax.tree.map(lambda leaf: leaf[rows], states)
