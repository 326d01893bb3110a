"""Many encoders in one program: each is trained as it would be alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_advice import BATCH, equal, tiny

from eqssl_jax.advice.candidates import candidates, gated_method, gates
from eqssl_jax.advice.fleet import fleet, keep, pick
from eqssl_jax.data import batch_indices
from eqssl_jax.training.step import make_step

ROLES = ("ordered", "predicted", "off")
STEPS = 3


def rows(step, seed=0):
    return batch_indices(seed, step, 72, BATCH)


def trained(run, tables, *, seed=0, steps=STEPS, **options):
    """The states after some steps, and the metrics of each."""
    all_ = fleet(run, tables, **options)
    states, logged, before = all_.init(seed), [], None
    for step in range(steps):
        before = jax.tree.map(np.array, states)  # copies: the step gives its states away
        states, metrics = all_.advance(states, rows(step, seed), seed)
        logged.append(jax.device_get(metrics))
    return jax.device_get(states), logged, before


@pytest.fixture(scope="module")
def run():
    return tiny(advice__roles=ROLES, advice__parts=("scale",))


@pytest.fixture(scope="module")
def tables(run):
    return candidates(run.config, run.recipe)


@pytest.fixture(scope="module")
def looped(run, tables):
    return trained(run, tables, looped=True)


@pytest.fixture(scope="module")
def alone(run, tables):
    """One step of one candidate."""
    used = {(part, line.role) for candidate in tables for part, line in candidate.table.items()}
    root = jax.random.fold_in(jax.random.key(0), 1)

    def step(gate, state, inputs):
        method = gated_method(run.config, run.recipe, gate, used)
        step = make_step(run.network, method, run.optimizer, run.split.read, root)
        return step(state, run.split.pool, inputs)

    return jax.jit(step)


def test_a_loop_over_candidates_equals_a_map_over_them(run, tables, looped):
    states, metrics, _ = trained(run, tables, looped=False)
    equal(looped[0], states, rtol=1e-4, atol=1e-5)
    equal(looped[1], metrics, rtol=1e-4, atol=1e-5)
    assert len(tables) == 4 and set(metrics[0]) >= {"info_nce", "order", "prediction_scale"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["base", "scale_ordered", "scale_predicted"])
def test_a_candidate_is_trained_as_it_is_alone(name, run, tables, looped, alone):
    """Beside three others, and by the library's own step."""
    k = [candidate.name for candidate in tables].index(name)
    gate = jax.tree.map(lambda leaf: leaf[0], gates([tables[k].table]))
    state = pick(fleet(run, [tables[k]], among=tables).init(0), 0)
    for i in range(STEPS):
        state, metrics = alone(gate, state, jnp.asarray(rows(i)))
    equal(pick(looped[0], k), state, rtol=1e-4, atol=1e-5)
    for metric, value in metrics.items():
        np.testing.assert_allclose(looped[1][-1][metric][k], value, rtol=1e-4, atol=1e-5)


def test_candidates_start_equal_and_every_role_makes_a_difference(run, tables, looped):
    start = fleet(run, tables).init(0)
    equal(start, jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * len(tables)), start))
    weights = looped[0].params["network"]["encoder"]
    for a in range(len(tables)):
        for b in range(a):
            assert np.abs(weights[a] - weights[b]).max() > 1e-4, (tables[a].name, tables[b].name)
    assert looped[0].step.tolist() == [STEPS] * len(tables)


def test_the_seed_decides_and_compiles_nothing_anew(monkeypatch):
    run = tiny(advice__roles=("off",))
    tables = candidates(run.config, run.recipe)
    compiled, jit = [], jax.jit
    monkeypatch.setattr(jax, "jit", lambda *a, **k: compiled.append(jit(*a, **k)) or compiled[-1])
    all_ = fleet(run, tables[:2])
    assert len(compiled) == 1  # the step
    ends = []
    for seed in (0, 1, 0):
        states = all_.init(seed)
        for step in range(2):
            states, _ = all_.advance(states, rows(step, seed), seed)
        ends.append(jax.device_get(states))
    assert compiled[0]._cache_size() == 1
    equal(ends[0], ends[2])
    difference = ends[0].params["network"]["encoder"] - ends[1].params["network"]["encoder"]
    assert np.abs(difference).max() > 1e-2


@pytest.mark.slow
def test_kept_candidates_go_on_as_if_nothing_had_been_dropped(run, tables, looped):
    """Also when no one is left whose head the states carry."""
    kept = [tables[0], tables[2]]
    some = fleet(run, kept, among=tables, looped=True)
    states = jax.tree.map(jnp.asarray, keep(looped[2], [0, 2]))
    states, _ = some.advance(states, rows(STEPS - 1), 0)
    equal(keep(looped[0], [0, 2]), states, rtol=1e-5, atol=1e-6)
    assert jax.tree.structure(states) == jax.tree.structure(some.init(0))


def test_the_networks_of_all_fleets_start_from_the_same_weights(run, tables):
    """A later round without a role compares with the same untrained encoder."""
    whole, part = fleet(run, tables).init(0), fleet(run, tables[:1]).init(0)
    equal(pick(whole, 0).params["network"], pick(part, 0).params["network"])
