"""Many small encoders trained in one program, which differ in the numbers of their roles alone; and
one that has a program of its own.

Halving decides which candidates go on after a round.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax.advice.candidates import Candidate, Gates, gated_method, gates
from eqssl_jax.advice.verdict import Evidence
from eqssl_jax.compiled import often
from eqssl_jax.config import copied
from eqssl_jax.data.pipeline import labelled
from eqssl_jax.methods import Method, assemble, entry, find, resolve, resolved, scheduled
from eqssl_jax.methods.roles import lines
from eqssl_jax.training.checks import check_batch, check_crops, check_labels
from eqssl_jax.training.mesh import replicated
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState
from eqssl_jax.training.step import make_step

Metrics = dict[str, Float[Array, " k"]]
CONTRASTS = ("simclr", "alignment", "uniformity")  # what the base is trained with


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
    used = {
        (part, line.role) for entrant in among or tables for part, line in entrant.table.items()
    }
    if looped is None:
        looped = jax.default_backend() == "cpu"

    def method(gate: Gates) -> Method:
        return gated_method(run.config, run.recipe, gate, used)

    def init(seed: int) -> TrainState:
        first = jax.tree.map(lambda leaf: leaf[0], numbers)
        return _start(run._replace(method=method(first)), seed, len(tables))

    def step(
        numbers: Gates, states: TrainState, pool: PyTree, inputs: Array, root: Key[Array, ""]
    ) -> tuple[TrainState, Metrics]:
        images = run.split.read(pool, inputs)  # once for all

        def entrant(gate: Gates, state: TrainState) -> tuple[TrainState, dict[str, Array]]:
            train_step = make_step(
                run.network, method(gate), run.optimizer, lambda pool, x: x, root
            )
            return train_step(state, (), images)

        if looped:
            return jax.lax.map(lambda pair: entrant(*pair), (numbers, states))
        return jax.vmap(entrant)(numbers, states)

    compiled = jax.jit(step, donate_argnums=1, compiler_options=often())

    def advance(states: TrainState, inputs: np.ndarray, seed: int) -> tuple[TrainState, Metrics]:
        return compiled(numbers, states, run.split.pool, inputs, _root(seed))

    return Fleet(init, advance)


def alone(run: Setup) -> Fleet:
    """A fleet of one encoder, K = 1, which trains the method of `run` by the library's own step."""

    def step(
        states: TrainState, pool: PyTree, inputs: Array, root: Key[Array, ""]
    ) -> tuple[TrainState, Metrics]:
        step_of_run = make_step(run.network, run.method, run.optimizer, run.split.read, root)
        state, metrics = step_of_run(pick(states, 0), pool, inputs)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (state, metrics))

    compiled = jax.jit(step, donate_argnums=0, compiler_options=often())

    def advance(states: TrainState, inputs: np.ndarray, seed: int) -> tuple[TrainState, Metrics]:
        return compiled(states, run.split.pool, inputs, _root(seed))

    return Fleet(lambda seed: _start(run, seed, 1), advance)


def with_method(run: Setup, candidate: Candidate) -> Setup:
    """The run of a candidate: the base's, with the entry of its method, at the card's defaults.

    A card that compares the contrast views itself takes the place of what the base compares them
    with. The running averages of BatchNorm see its own view sets alone, where those of tables of
    roles see the view sets of all roles that are tried.

    Raises:
      ValueError: for what its card refuses, and for one that needs labels where there are none.
    """
    left_out = replaced(run.config, candidate)
    entries = {key: x for key, x in run.config.objectives.to_dict().items() if key not in left_out}
    config = copied(run.config)
    config.objectives = {**entries, find(candidate.method).name: entry(candidate.method)}
    config = resolved(config)
    method = assemble(config, run.recipe, lines(resolve(config, run.recipe)))
    split = run.split
    if method.labelled:
        check_labels(config, run.stored)
        split = labelled(split, len(run.dataset.classes))
    return run._replace(config=config, method=scheduled(method, config, run.steps), split=split)


def replaced(config: ConfigDict, candidate: Candidate) -> list[str]:
    """The entries of config.objectives in whose place the method of a candidate is trained."""
    if not find(candidate.method).compares:
        return []
    return [key for key, values in config.objectives.items() if values.method in CONTRASTS]


def check_method(run: Setup, candidate: Candidate) -> None:
    """Trace a step of a candidate, so that all its card refuses is refused before anything is
    compiled.

    Raises:
      ValueError: naming the method, and what it cannot be trained with.
    """
    try:
        changed = with_method(run, candidate)
        check_batch(changed.config, changed.method, run.mesh.size)
        check_crops(run.stored, {key: spec.transform for key, spec in changed.method.views.items()})
        root = jax.random.key(0)
        step = make_step(run.network, changed.method, run.optimizer, changed.split.read, root)
        state = jax.eval_shape(changed.init)
        jax.eval_shape(step, state, changed.split.pool, changed.inputs_shape())
    except ValueError as error:
        raise ValueError(
            f"config.advice.methods names {candidate.method!r}, which cannot be tried here: {error}"
        ) from None


def entry_text(config: ConfigDict, candidate: Candidate) -> list[str]:
    """The lines of a config that add the method of a candidate to its base."""
    added = f'config.objectives.{find(candidate.method).name} = dict(method="{candidate.method}")'
    left_out = replaced(config, candidate)
    return [added, *(f"config.objectives.{key}.weight = 0.0" for key in left_out)]


def _start(run: Setup, seed: int, count: int) -> TrainState:
    """So many equal states before the first step."""
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * count), run.init(seed))
    # Placed as the steps will leave them, or the second step would be compiled anew.
    return jax.device_put(states, replicated(run.mesh))


def _root(seed: int) -> Key[Array, ""]:
    """The key of all draws of a training; 0 is the initialisation."""
    return jax.random.fold_in(jax.random.key(seed), 1)


def pick(states: TrainState, k: int) -> TrainState:
    """The state of one encoder."""
    return jax.tree.map(lambda leaf: leaf[k], states)


def keep(states: TrainState, chosen: Sequence[int]) -> TrainState:
    """The states of some encoders."""
    rows = np.asarray(chosen)
    return jax.tree.map(lambda leaf: leaf[rows], states)


def stops(count: int, most: int, steps: int) -> list[int]:
    """The step at which each round ends: after all but the last one, half of the candidates go.

    They are halved until at most `most` are left; h halvings cut the budget into h + 2 equal
    pieces, of which the last round has two.

    >>> stops(13, 16, 200), stops(25, 16, 300), stops(50, 16, 300)
    ([200], [100, 300], [75, 150, 300])
    """
    halvings = 0
    while count > most:
        count, halvings = 1 + count // 2, halvings + 1
    early = [max(1, steps * r // (halvings + 2)) for r in range(1, halvings + 1)]
    return [*early, steps]


def survivors(
    evidence: Sequence[Evidence], tables: Sequence[Candidate], metric: str
) -> list[Candidate]:
    """The base and the better half of the others, by the mean gain on the base over seeds.

    The gain is in what the verdict decides by: `metric`, or without labels the magnitude's R²; a
    part that has none there gains nothing.
    """
    name = "magnitude_r2" if metric == "label_free" else metric

    def score(candidate: Candidate) -> float:
        part = candidate.changed[0] if candidate.changed else ""
        # On the base for the same part: R² of one part says nothing beside that of another.
        return sum(
            seed[candidate.name][part].get(name, 0.0) - seed[tables[0].name][part].get(name, 0.0)
            for seed in evidence
        )

    ranked = sorted(tables[1:], key=score, reverse=True)
    best = {candidate.name for candidate in ranked[: (len(ranked) + 1) // 2]}
    return [tables[0], *(entrant for entrant in tables[1:] if entrant.name in best)]


def dropped(
    tables: Sequence[Candidate],
    kept: Sequence[Candidate],
    step: int,
    earlier: Mapping[str, str] = {},
) -> dict[str, str]:
    """What to say of the parts that lost a candidate, after what was said of them earlier."""
    gone: dict[str, list[str]] = {}
    for candidate in tables[1:]:
        if candidate not in kept and candidate.changed:
            gone.setdefault(candidate.changed[0], []).append(candidate.changed[1])
    return {
        part: f"{earlier.get(part, '')} Dropped at step {step}, in the worse half: "
        f"{', '.join(roles)}.".strip()
        for part, roles in gone.items()
    }


def merge(first: dict[str, Any], second: dict[str, Any], gone: Mapping[str, str]) -> dict[str, Any]:
    """The later round where a part still had roles to compare, else the earlier one and why.

    `first` is empty at the start.
    """
    parts = dict(second["transformations"])
    for part, early in first.get("transformations", parts).items():
        if part not in second["transformations"]:
            why = gone.get(part, "")
            reason = early["reason"] if why in early["reason"] else f"{early['reason']} {why}"
            parts[part] = {**early, "reason": reason.strip()}
    order = first.get("transformations", parts)
    return {**second, "transformations": {part: parts[part] for part in order}}
