"""The step: what every later method needs of it, without editing it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cost.collectives import collectives
from toys import linear_network, normed_network, read, recipe

from eqssl_jax import views
from eqssl_jax.methods import Method
from eqssl_jax.objectives import Objective, enqueue, info_nce, orthogonal_equivariance, unit
from eqssl_jax.training.forward import forward
from eqssl_jax.training.mesh import batched, make_mesh, replicated
from eqssl_jax.training.optimizer import permissive
from eqssl_jax.training.state import init_state
from eqssl_jax.training.step import compile_step, make_dispatch, make_step

BATCH, SHAPE = 16, (3, 3, 1)
POOL = jax.random.uniform(jax.random.key(9), (64, *SHAPE))
INPUTS = np.random.default_rng(0).integers(0, 64, (4, BATCH)).astype(np.int32)


def contrast(_, seen):
    z1, z2 = unit(seen.embeddings)
    return info_nce(z1, z2), {}


def gram(_, seen):
    z1, z2 = unit(seen.embeddings)
    return orthogonal_equivariance(z1, z2, groups=4), {}


def care() -> Method:
    return Method(
        views={
            "contrast": views.ViewSpec(recipe(), views.independent(2)),
            "equivariance": views.ViewSpec(recipe(), views.grouped(4)),
        },
        objectives={
            "info_nce": (1.0, Objective("contrast", contrast)),
            "equivariance": (0.1, Objective("equivariance", gram)),
        },
    )


def run(method: Method, *, devices=1, counts=(4,), optimizer=None, network=None, looped=False):
    """Train on INPUTS in dispatches of the given lengths; the final state and all metrics."""
    network = network or linear_network()
    optimizer = permissive(optimizer or optax.adam(1e-2))
    mesh = make_mesh(devices)
    state = init_state(jax.random.key(0), network, method, optimizer, SHAPE, BATCH)
    state = jax.device_put(state, replicated(mesh))
    step = make_step(network, method, optimizer, read, jax.random.key(1))
    dispatch = make_dispatch(step, mesh, looped=looped)
    metrics, done = [], 0
    for count in counts:
        inputs = np.zeros((4, BATCH), np.int32)
        inputs[:count] = INPUTS[done : done + count]
        state, new = dispatch(state, POOL, inputs, count)
        metrics.append({name: np.asarray(values) for name, values in new.items()})
        done += count
    joined = {name: np.concatenate([m[name] for m in metrics]) for name in metrics[0]}
    return state, joined


def equal(a, b, **tolerance) -> None:
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if tolerance:
            np.testing.assert_allclose(left, right, **tolerance)
        else:
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("looped", [False, True])
def test_the_split_into_dispatches_does_not_matter_bit_for_bit(looped):
    whole, metrics = run(care(), counts=(4,), looped=looped)
    parts, same = run(care(), counts=(1, 2, 1), looped=looped)
    equal(whole, parts)
    equal(metrics, same)
    assert int(whole.step) == 4


def test_steps_in_a_loop_are_the_same_steps():
    calls, metrics = run(care(), looped=False)
    loop, same = run(care(), looped=True, devices=8)
    equal(metrics, same, rtol=2e-5, atol=1e-6)
    equal(calls.params, loop.params, rtol=1e-4, atol=1e-5)


def test_eight_devices_equal_one():
    single, metrics = run(care(), devices=1)
    eight, same = run(care(), devices=8)
    equal(metrics, same, rtol=2e-5, atol=1e-6)
    equal(single.params, eight.params, rtol=1e-4, atol=1e-5)


def test_batch_norm_is_global_over_eight_devices():
    """CARE with BatchNorm, four views with their own statistics: the same numbers on 8 devices."""
    single, metrics = run(care(), devices=1, network=normed_network(), optimizer=optax.sgd(0.1))
    eight, same = run(care(), devices=8, network=normed_network(), optimizer=optax.sgd(0.1))
    equal(metrics, same, rtol=1e-4, atol=1e-5)
    equal(single.params, eight.params, rtol=1e-3, atol=1e-5)
    equal(single.batch_stats, eight.batch_stats, rtol=1e-4, atol=1e-6)


def test_the_gradient_of_several_forwards_is_summed_over_devices_once():
    """Half the images in the second set, hence two forwards through the same parameters."""
    network, mesh, optimizer = normed_network(), make_mesh(8), permissive(optax.sgd(0.1))
    method = care()
    equivariance = method.views["equivariance"]._replace(images=BATCH // 2)
    method = method._replace(views=method.views | {"equivariance": equivariance})
    state = init_state(jax.random.key(0), network, method, optimizer, SHAPE, BATCH)
    step = make_step(network, method, optimizer, read, jax.random.key(1))
    text = compile_step(step, mesh).lower(state, POOL, INPUTS[0]).compile().as_text()
    # What is summed, be it merged into one operation or not: text before the name of the operation.
    summed = " ".join(line.partition(" all-reduce(")[0] for line in _all_reduces(text))
    assert [summed.count(f"f32[{shape}]") for shape in ("9,16", "16,8")] == [1, 1]
    # Mean and variance of two views in one array, of two forwards and of their backward passes.
    assert summed.count("f32[2,2,16]") == 4


def test_a_queue_is_not_gathered_but_its_new_keys():
    """The queue is whole on every device, so that keys are all that it lacks."""
    mesh, queue, keys = make_mesh(8), (64, 4), (16, 4)

    def push(queue, keys):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return enqueue(queue, keys)

    whole = replicated(mesh)
    program = jax.jit(push, in_shardings=(whole, batched(mesh)), out_shardings=whole)
    text = program.lower(*(jax.ShapeDtypeStruct(x, jnp.float32) for x in (queue, keys))).compile()
    sent = [(c.kind, c.size) for c in collectives(text.as_text())]
    assert sent == [("all-gather", 4 * math.prod(keys))]


def _all_reduces(text):
    return [line for line in text.splitlines() if " all-reduce(" in line]


def test_the_compiled_step_cuts_the_batch_over_the_devices():
    """Each device renders and encodes its own images: no program holds the views of all."""
    network, method, mesh = linear_network(), care(), make_mesh(8)
    optimizer = permissive(optax.sgd(0.1))
    step = make_step(network, method, optimizer, read, jax.random.key(1))
    state = init_state(jax.random.key(0), network, method, optimizer, SHAPE, BATCH)
    program = compile_step(step, mesh).lower(state, POOL, INPUTS[0]).compile().as_text()
    views, pixels = 4, math.prod(SHAPE)
    assert f"f32[{BATCH // 8 * views},{pixels}]" in program
    assert f"f32[{BATCH * views},{pixels}]" not in program


def test_another_seed_is_the_same_program():
    """What is compiled for one seed is found in the cache for all others."""
    network, method, mesh = linear_network(), care(), make_mesh(1)
    optimizer = permissive(optax.sgd(0.1))
    state = init_state(jax.random.key(0), network, method, optimizer, SHAPE, BATCH)
    steps = [make_step(network, method, optimizer, read, jax.random.key(seed)) for seed in (1, 2)]
    programs = [compile_step(step, mesh).lower(state, POOL, INPUTS[0]).as_text() for step in steps]
    assert programs[0] == programs[1]


def test_views_are_traced_for_the_state_only_where_a_head_needs_their_shapes(monkeypatch):
    def refuse(*_):
        raise AssertionError("traced")

    monkeypatch.setattr("eqssl_jax.training.state._abstract_views", refuse)
    key, network, adam = jax.random.key(0), linear_network(), permissive(optax.adam(1e-2))
    state = init_state(key, network, care(), adam, SHAPE, BATCH)
    assert state.params["heads"] == state.memory == {"info_nce": (), "equivariance": ()}
    headed = Objective("contrast", contrast, init=lambda key, seen: jnp.zeros(seen.features.shape))
    method = care()._replace(objectives={"info_nce": (1.0, headed)})
    with pytest.raises(AssertionError, match="traced"):
        init_state(key, network, method, adam, SHAPE, BATCH)


def test_loss_is_the_weighted_sum_and_falls():
    _, metrics = run(care())
    total = metrics["info_nce"] + 0.1 * metrics["equivariance"]
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-6)
    _, longer = run(care(), counts=(4,), optimizer=optax.adam(0.1))
    assert longer["loss"][-1] < longer["loss"][0]


def test_each_step_draws_anew_and_the_seed_decides():
    _, metrics = run(care())
    assert len(set(metrics["info_nce"].tolist())) == 4
    _, again = run(care())
    equal(metrics, again)


def test_sets_of_equal_shape_share_a_forward_and_others_do_not():
    calls = []
    network = linear_network()

    def apply(params, stats, images, *, views, train):
        calls.append((images.shape[0], views))
        return network.apply(params, stats, images, views=views, train=train)

    variables = network.init(jax.random.key(0), SHAPE)
    examples = {
        "a": jnp.zeros((2, 8, *SHAPE)),
        "b": jnp.ones((3, 8, *SHAPE)),
        "c": jnp.zeros((2, 4, *SHAPE)),
    }
    outputs, _ = forward(
        network._replace(apply=apply), variables["params"], variables["batch_stats"], examples,
        method=plain_sets(examples),
    )  # fmt: skip
    assert calls == [(40, 5), (8, 2)]
    assert {name: out[1].shape for name, out in outputs.items()} == {
        "a": (2, 8, 4), "b": (3, 8, 4), "c": (2, 4, 4),
    }  # fmt: skip


def plain_sets(examples, joint=()):
    """A method that has no more than these view sets."""
    sets = {
        name: views.ViewSpec(recipe(), views.independent(x.shape[0]), joint=name in joint)
        for name, x in examples.items()
    }
    return Method(sets, {})


def test_a_joint_set_has_one_forward_with_one_batch_norm():
    calls = []
    network = linear_network()

    def apply(params, stats, images, *, views, train):
        calls.append((images.shape[0], views))
        return network.apply(params, stats, images, views=views, train=train)

    variables = network.init(jax.random.key(0), SHAPE)
    examples = {name: jnp.zeros((2, 8, *SHAPE)) for name in "abcd"}
    forward(
        network._replace(apply=apply), variables["params"], variables["batch_stats"], examples,
        method=plain_sets(examples, joint="b"),
    )  # fmt: skip
    assert calls == [(16, 2), (16, 1), (32, 4)]


@pytest.mark.parametrize("joint", [False, True])
def test_forward_returns_each_view_to_its_place(joint):
    network = linear_network()
    variables = network.init(jax.random.key(0), SHAPE)
    examples = {
        name: jax.random.uniform(jax.random.key(i), (2, 8, *SHAPE)) for i, name in enumerate("ab")
    }
    outputs, stats = forward(
        network,
        variables["params"],
        variables["batch_stats"],
        examples,
        method=plain_sets(examples)._replace(joint_views=joint),
    )
    for name, x in examples.items():
        for v in range(2):
            (h, z), _ = network.apply(
                variables["params"], variables["batch_stats"], x[v], train=False
            )
            np.testing.assert_allclose(outputs[name][0][v], h, rtol=1e-6)
            np.testing.assert_allclose(outputs[name][1][v], z, rtol=1e-5)
    assert float(stats["seen"]) == (1 if joint else 4)


def test_a_view_set_may_use_only_the_first_images():
    method = care()
    spec = method.views["equivariance"]._replace(images=8)
    seen = []

    def look(_, view):
        seen.append(view.embeddings.shape)
        return jnp.sum(view.embeddings) * 0, {}

    method = method._replace(
        views={**method.views, "equivariance": spec},
        objectives={"look": (1.0, Objective("equivariance", look))},
    )
    run(method)
    assert set(seen) == {(2, 8, 4)}


def test_target_network_follows_by_its_momentum():
    """MoCo and BYOL: embeddings of a slowly moving copy, without gradient."""
    read_targets = []

    def loss(_, seen):
        read_targets.append(seen.target.shape)
        return -jnp.mean(jnp.sum(unit(seen.embeddings[0]) * unit(seen.target[1]), axis=1)), {}

    def method(momentum):
        return Method(
            views={"contrast": views.ViewSpec(recipe(), views.independent(2))},
            objectives={"regress": (1.0, Objective("contrast", loss))},
            momentum=lambda step: jnp.asarray(momentum),
            target_views=("contrast",),
        )

    start = init_state(
        jax.random.key(0), linear_network(), method(1.0), optax.sgd(0.1), SHAPE, BATCH
    )
    frozen, _ = run(method(1.0), optimizer=optax.sgd(0.1))
    equal(frozen.target["network"], start.params["network"])
    equal_to_online, _ = run(method(0.0), optimizer=optax.sgd(0.1))
    equal(equal_to_online.target["network"], equal_to_online.params["network"], rtol=1e-6)
    half, _ = run(method(0.5), counts=(1,), optimizer=optax.sgd(0.1))
    mean = jax.tree.map(lambda a, b: (a + b) / 2, start.params["network"], half.params["network"])
    equal(half.target["network"], mean, rtol=1e-6)
    assert float(half.target["batch_stats"]["seen"]) == 2
    assert set(read_targets) == {(2, BATCH, 4)}


def test_a_queue_of_target_embeddings_is_carried_and_saved_in_the_state():
    """MoCo's memory: first in, first out, written after the gradient."""

    def init_memory(key, seen):
        return jnp.zeros((2 * BATCH, seen.embeddings.shape[-1]))

    def loss(_, seen):
        return jnp.mean(unit(seen.embeddings[0]) @ unit(seen.memory).T), {
            "filled": jnp.mean(jnp.any(seen.memory != 0, axis=1).astype(jnp.float32))
        }

    def remember(memory, seen):
        return jnp.concatenate([seen.target[1], memory])[: memory.shape[0]]

    method = Method(
        views={"contrast": views.ViewSpec(recipe(), views.independent(2))},
        objectives={
            "queue": (1.0, Objective("contrast", loss, init_memory=init_memory, remember=remember))
        },
        momentum=lambda step: jnp.asarray(0.9),
        target_views=("contrast",),
    )
    state, metrics = run(method)
    np.testing.assert_array_equal(metrics["filled"], [0, 0.5, 1, 1])
    assert state.memory["queue"].shape == (2 * BATCH, 4)


def test_a_head_may_read_the_draws():
    """EquiMod and AugSelf: parameters of the transformation are targets or inputs of a head."""

    def init(key, seen):
        return {"w": jnp.zeros((seen.features.shape[-1], 1))}

    def loss(head, seen):
        predicted = seen.features[0] @ head["w"]
        by = seen.params["shift"]["by"][0]
        return jnp.mean((predicted[:, 0] - by) ** 2), {}

    method = Method(
        views={"contrast": views.ViewSpec(recipe(), views.independent(2))},
        objectives={"predict": (1.0, Objective("contrast", loss, init=init))},
    )
    state, _ = run(method)
    assert state.params["heads"]["predict"]["w"].shape == (6, 1)
    assert float(jnp.abs(state.params["heads"]["predict"]["w"]).max()) > 0


def test_ladders_reach_the_objective_with_their_magnitudes():
    spec = views.ViewSpec(recipe(), views.mix(views.paired(3), shift=views.ladder(3)))

    def loss(_, seen):
        rising = jnp.all(seen.magnitude[1:] >= seen.magnitude[:-1])
        still = jnp.all(seen.params["scale"]["factor"] == seen.params["scale"]["factor"][:1])
        return jnp.sum(seen.embeddings) * 0, {"law": (rising & still).astype(jnp.float32)}

    method = Method(
        views={
            "contrast": views.ViewSpec(recipe(), views.independent(2)),
            "ladder": spec,
        },
        objectives={
            "info_nce": (1.0, Objective("contrast", contrast)),
            "ladder": (1.0, Objective("ladder", loss)),
        },
    )
    _, metrics = run(method)
    np.testing.assert_array_equal(metrics["law"], 1)


def test_point_clouds_pass_through_the_same_step():
    """Examples of any rank: the step never asks what an image is."""
    clouds = jax.random.normal(jax.random.key(3), (64, 5, 3))
    network, method = linear_network(), care()
    optimizer = optax.sgd(0.1)
    state = init_state(jax.random.key(0), network, method, optimizer, (5, 3), BATCH)
    step = make_step(network, method, optimizer, read, jax.random.key(1))
    state, metrics = jax.jit(step)(state, clouds, INPUTS[0])
    assert np.isfinite(float(metrics["loss"]))
