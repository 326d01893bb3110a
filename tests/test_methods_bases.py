"""Base methods as the step trains them: who is encoded, what is remembered, what follows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict
from toys import compilations, linear_network, normed_network, read

from eqssl_jax import methods, presets
from eqssl_jax.methods.byol import byol_loss
from eqssl_jax.methods.equimod import _parameter_moments
from eqssl_jax.methods.moco import moco_loss
from eqssl_jax.objectives import Views, moco, parameter_vector, unit
from eqssl_jax.training.forward import draw_views
from eqssl_jax.training.mesh import make_mesh, replicated
from eqssl_jax.training.optimizer import permissive
from eqssl_jax.training.state import init_state
from eqssl_jax.training.step import make_dispatch, make_step

BATCH, SHAPE = 16, (8, 8, 3)
POOL = jax.random.uniform(jax.random.key(9), (64, *SHAPE))
INPUTS = np.random.default_rng(0).integers(0, 64, (3, BATCH)).astype(np.int32)


def config(*names: str, **changes) -> ConfigDict:
    """The named objectives on crops and hues of 8 pixels, quick to compile; "care" adds CARE."""
    built = presets.factored("shapes")
    still = dict.fromkeys(("max_angle", "brightness", "contrast", "saturation"), 0.0)
    built.recipe.options.update({**still, "size": 8})
    for table in (built.roles, built.role_weights, built.sharing):
        for part in ("rotate", "brightness", "contrast", "saturation"):
            del table[part]
    small = {
        "info_nce": ("simclr", {}),
        "moco": ("moco", {"queue": 24}),
        "byol": ("byol", {"hidden": (8,)}),
        "equimod": ("equimod", {"projector": (8, 6), "parameters": 5}),
        "care": ("care", {"splits": 4}),
        "two_views": ("two_view_care", {"splits": 4}),
    }
    built.objectives = ConfigDict()
    for name in names:
        card, settings = small.get(name, (name, {}))
        key = "equivariance" if name in ("care", "two_views") else name
        built.objectives[key] = ConfigDict(methods.entry(card, **settings))
    if {"care", "two_views"} & set(names):
        built = presets.with_care(built)
    built.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return built


def train(built, *, devices=1, network=None, steps=3):
    network, optimizer = network or normed_network(), permissive(optax.sgd(0.05))
    mesh = make_mesh(devices)
    state = init_state(jax.random.key(0), network, built, optimizer, SHAPE, BATCH)
    start = jax.tree.map(jnp.copy, state)
    step = make_step(network, built, optimizer, read, jax.random.key(1))
    run = make_dispatch(step, mesh)
    state, metrics = run(jax.device_put(state, replicated(mesh)), POOL, INPUTS, steps)
    return start, state, {name: np.asarray(values) for name, values in metrics.items()}


def drawing(built):
    """Draws and rendered views of all sets, as one program of (key, images)."""
    return jax.jit(lambda key, images: draw_views(built, key, images))


def counting(calls):
    inner = linear_network()

    def apply(params, stats, images, *, views=1, train):
        calls.append(images.shape[0])
        return inner.apply(params, stats, images, views=views, train=train)

    return inner._replace(apply=apply)


def forwards(built) -> int:
    """Images that one traced step encodes, by both networks."""
    network, optimizer = linear_network(), optax.sgd(0.1)
    state = init_state(jax.random.key(0), network, built, optimizer, SHAPE, BATCH)
    calls: list[int] = []
    step = make_step(counting(calls), built, optimizer, read, jax.random.key(1))
    jax.eval_shape(step, state, POOL, INPUTS[0])
    return sum(calls)


def test_nothing_is_encoded_that_no_loss_reads():
    moco_alone = config("moco")
    assert forwards(methods.build(moco_alone)) == 2 * BATCH  # a query and a key
    assert forwards(methods.build(config("moco", objectives__moco__symmetric=True))) == 4 * BATCH
    assert forwards(methods.build(config("moco", "care"))) == 4 * BATCH
    assert forwards(methods.build(config("moco", "alignment"))) == 4 * BATCH
    assert forwards(methods.build(config("byol"))) == 4 * BATCH
    assert forwards(methods.build(config("info_nce", "equimod"))) == 3 * BATCH
    assert forwards(methods.build(config("info_nce", "care"))) == 4 * BATCH
    two = config("info_nce", "two_views")
    assert forwards(methods.build(two)) == 2 * BATCH


def test_two_view_care_shares_the_draws_of_the_contrast_views_in_groups():
    built = methods.build(config("info_nce", "two_views"))
    assert list(built.views) == ["contrast"]
    assert built.objectives["equivariance"][1].names() == ("contrast",)
    drawn, _ = drawing(built)(jax.random.key(0), POOL[:BATCH])
    for leaf in jax.tree.leaves(drawn["contrast"].params):
        groups = np.asarray(leaf).reshape(2, 4, 4, -1)
        np.testing.assert_array_equal(groups, groups[:, :, :1].repeat(4, axis=2))
    hue = np.asarray(drawn["contrast"].params["hue"]["hue"])
    assert len(np.unique(hue)) == 8  # a draw for each of 4 groups, in each of 2 views


def test_two_view_care_leaves_other_parts_independent():
    mixed = config("info_nce", "two_views")
    mixed.roles.hue = "invariant"
    drawn, _ = drawing(methods.build(mixed))(jax.random.key(0), POOL[:BATCH])
    assert len(np.unique(np.asarray(drawn["contrast"].params["hue"]["hue"]))) == 2 * BATCH
    assert len(np.unique(np.asarray(drawn["contrast"].params["crop"]["top"]))) == 8


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_queue_holds_keys_of_the_target_network(symmetric):
    built = methods.build(config("moco", objectives__moco__symmetric=symmetric))
    built = built._replace(momentum=lambda step: jnp.ones(()))  # the target stays as it started
    network = linear_network()
    # Two steps: by the second, the online network has moved away from the target.
    start, state, _ = train(built, network=network, steps=2)

    @jax.jit
    def keys(step, inputs):
        key = jax.random.fold_in(jax.random.key(1), step)
        _, examples = draw_views(built, key, read(POOL, inputs))
        (_, embeddings), _ = network.apply(
            start.params["network"], start.batch_stats,
            examples["contrast"].reshape(-1, *SHAPE), train=False,
        )  # fmt: skip
        return unit(embeddings).reshape(2, BATCH, -1)

    newest, older = (np.asarray(keys(step, INPUTS[step])) for step in (1, 0))
    if symmetric:
        wanted = newest.reshape(2 * BATCH, -1)[:24]
    else:
        wanted = np.concatenate([newest[1], older[1]])[:24]  # older keys behind
    queue = state.memory["moco"]
    assert queue.shape == (24, 4)
    np.testing.assert_allclose(queue, wanted, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(queue, axis=1), 1, atol=1e-5)


def views(seed: int = 0, count: int = 2) -> Views:
    keys = jax.random.split(jax.random.key(seed), 3)
    embeddings, target, features = (
        jax.random.normal(key, (count, 6, width))
        for key, width in zip(keys, (4, 4, 5), strict=True)
    )
    return Views(features, embeddings, target=target)


def test_what_is_beside_the_network_starts_as_one_program_in_buffers_of_its_own():
    """A step gives its state away: a target network in the online one's buffers would go twice."""
    built, network = methods.build(config("byol", "equimod")), normed_network()
    arguments = network, built, permissive(optax.adam(0.05)), SHAPE, BATCH
    key = jax.random.key(0)
    network.init(key, SHAPE)  # compiled before
    shapes = jax.eval_shape(lambda key: init_state(key, *arguments), key)
    with compilations() as programs:
        state = init_state(key, *arguments)
    assert len(programs) < 8, len(programs)
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    addresses = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    assert len(set(addresses)) == len(addresses)
    jax.tree.map(np.testing.assert_array_equal, state.target["network"], state.params["network"])


def test_symmetric_moco_is_the_mean_of_both_ways():
    settings = config("moco").objectives.moco
    seen = views()._replace(memory=unit(jax.random.normal(jax.random.key(5), (7, 4))))
    q, k = unit(seen.embeddings), unit(seen.target)
    expected = jax.jit(moco)
    one_way, _ = jax.jit(moco_loss(settings).loss)((), seen)
    np.testing.assert_allclose(one_way, expected(q[0], k[1], seen.memory), rtol=1e-6)
    settings.symmetric = True
    both_ways, _ = jax.jit(moco_loss(settings).loss)((), seen)
    other = expected(q[1], k[0], seen.memory)
    np.testing.assert_allclose(both_ways, (one_way + other) / 2, rtol=1e-6)


def test_byol_is_zero_when_each_view_predicts_the_other():
    objective = byol_loss(config("byol", objectives__byol__hidden=()).objectives.byol)
    loss, seen = jax.jit(objective.loss), views()
    head = {"dense1": {"kernel": jnp.eye(4), "bias": jnp.zeros(4)}}
    assert jax.tree.map(jnp.shape, objective.init(jax.random.key(0), seen)) == jax.tree.map(
        jnp.shape, head
    )
    perfect, metrics = loss(head, seen._replace(target=seen.embeddings[::-1]))
    np.testing.assert_allclose(perfect, 0, atol=1e-5)
    np.testing.assert_allclose(metrics["positive_cosine"], 1, atol=1e-6)
    same, _ = loss(head, seen._replace(target=seen.embeddings))
    assert float(same) > 0.1


def test_equimod_predicts_from_the_original_and_the_draw():
    """Against a loop with the head's own matrices; and the draw matters."""
    changed = config("info_nce", "equimod")
    built = methods.build(changed)
    objective, recipe = built.objectives["equimod"][1], built.views["contrast"].transform
    keys = jax.random.split(jax.random.key(3), (2, 6))
    params = jax.jit(jax.vmap(jax.vmap(recipe.sample)))(keys)
    seen = views()._replace(params=params)
    original = Views(views(1, 1).features, views(1, 1).embeddings)
    head = jax.jit(objective.init)(jax.random.key(0), seen, original)
    loss = jax.jit(objective.loss)
    value, metrics = loss(head, seen, original)

    head = jax.tree.map(np.asarray, head)

    def normed(x):
        x = np.asarray(x)
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    def project(features):
        hidden = normed(np.asarray(features) @ head["project"]["dense1"]["kernel"])
        bn = head["project"]["bn1"]
        hidden = np.maximum(hidden * bn["scale"] + bn["bias"], 0)
        return normed(hidden @ head["project"]["dense2"]["kernel"])

    mean, std = _parameter_moments(recipe.sample)
    vector = np.asarray(jax.jit(parameter_vector)(params)) - np.asarray(mean)
    vector = vector / np.asarray(std)
    # BatchNorm over the image and both views.
    projected = project(np.concatenate([original.features[0], *seen.features]))
    still, *views_of = np.split(projected, 3)
    truths = [np.asarray(unit(view)) for view in views_of]
    p = normed(vector.reshape(-1, vector.shape[-1]) @ head["embed"]["weight"].T)  # both views'
    joined = np.concatenate([np.concatenate([still, still]), p], axis=1)
    predicted = np.asarray(unit(normed(joined @ head["predict"].T)))
    twice = np.tile(np.asarray(unit(still)), (2, 1))
    gain = np.mean(np.sum((predicted - twice) * np.concatenate(truths), axis=1))
    total = 0.0
    rows = np.concatenate([predicted, *truths])  # 4N rows, the positive of i is i ± 2N
    similarity, half = rows @ rows.T / 0.2, len(rows) // 2
    for i in range(len(rows)):
        others = [np.exp(similarity[i, j]) for j in range(len(rows)) if j != i]
        positive = similarity[i, (i + half) % len(rows)]
        total -= (positive - np.log(sum(others))) / len(rows)
    np.testing.assert_allclose(value, total, rtol=1e-4)
    np.testing.assert_allclose(metrics["equimod_gain"], gain, rtol=1e-3, atol=1e-5)
    shuffled = seen._replace(params=jax.tree.map(lambda leaf: leaf[:, ::-1], params))
    assert abs(float(loss(head, shuffled, original)[0]) - float(value)) > 1e-3


def test_the_momentum_rises_along_half_a_cosine():
    changed = config("byol", target__momentum=0.9, target__final=1.0)
    built = methods.scheduled(methods.build(changed), changed, steps=10)
    momenta = [float(built.momentum(jnp.int32(step))) for step in (0, 5, 10, 20)]
    np.testing.assert_allclose(momenta, [0.9, 0.95, 1.0, 1.0], atol=1e-6)
    constant = config("moco")
    built = methods.scheduled(methods.build(constant), constant, steps=10)
    np.testing.assert_allclose(built.momentum(jnp.int32(7)), 0.99, rtol=1e-6)
    plain = config("info_nce")
    assert methods.scheduled(methods.build(plain), plain, steps=10).momentum is None


def test_methods_without_a_target_are_told_so():
    seen = views()._replace(target=None)
    with pytest.raises(ValueError, match="byol needs a target network"):
        objective = byol_loss(config("byol").objectives.byol)
        objective.loss(objective.init(jax.random.key(0), seen), seen)
