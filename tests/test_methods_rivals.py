"""Rival equivariant methods as cards: they train, share draws as they say, and refuse bad input."""

import jax
import numpy as np
import optax
import pytest
import tiny_methods
from ml_collections import ConfigDict
from toys import drawn, normed_network, read

from eqssl_jax import methods, rotations, transforms
from eqssl_jax.data import rendering, solids
from eqssl_jax.encoders import showing
from eqssl_jax.methods.card import code_of_draw
from eqssl_jax.objectives.base import Views
from eqssl_jax.presets.benchmark import benchmark
from eqssl_jax.training.optimizer import permissive
from eqssl_jax.training.state import init_state
from eqssl_jax.training.step import make_step

NAMES = ("stl", "essl", "sie", "sen", "augself", "cassle", "seqjepa", "equimod")


@pytest.mark.long  # compiling eight methods in one program
def test_all_of_them_learn_in_one_program():
    """Every method's own loss falls on solids rendered at 8 pixels."""
    config = tiny_methods.settings_of(*NAMES)
    config.recipe.name, config.recipe.options = "solids", ConfigDict({})
    network = showing(normed_network(), rendering.renderer(8))
    pool = solids.scenes(np.arange(48), 0)
    built, optimizer = methods.build(config), permissive(optax.adam(3e-3))
    state = init_state(jax.random.key(0), network, built, optimizer, pool.shape[1:], 16)
    step = jax.jit(make_step(network, built, optimizer, read, jax.random.key(1)))
    logged = []
    for i in range(30):
        rows = np.arange(16 * i, 16 * i + 16, dtype=np.int32) % 48
        state, metrics = step(state, pool.astype(np.float32), rows)
        logged.append(metrics)
    losses = {name: np.array([float(row[name]) for row in logged]) for name in ("loss", *NAMES)}
    assert all(np.isfinite(values).all() for values in losses.values())
    rising = [n for n, values in losses.items() if values[-8:].mean() >= values[:8].mean()]
    assert not rising, {name: losses[name][[0, -1]] for name in rising}


def test_the_code_of_a_draw_is_the_change_from_the_identity():
    recipe = transforms.recipes.solids()

    @jax.jit
    def codes(keys):
        some = jax.vmap(recipe.sample)(keys)
        code = code_of_draw(recipe.identity, jax.tree.map(lambda leaf: leaf[None], some))
        return code, rotations.quaternion_from_vector(some["turn"]["rotation"])

    code, q = map(np.asarray, codes(jax.random.split(jax.random.key(0), 3)))
    assert code.shape == (3, 8)
    # Up to sign a quaternion is one rotation; that of the inverse has another vector part.
    sign = np.sign(np.sum(code[:, 4:] * q, axis=1, keepdims=True))
    np.testing.assert_allclose(sign * code[:, 4:], q, atol=1e-5)


def test_augself_reads_each_type_by_its_own_loss_and_needs_one():
    config = tiny_methods.settings_of("augself")
    config.objectives.augself.crop = config.objectives.augself.flip = 0.0
    with pytest.raises(ValueError, match=r"types \['crop', 'flip'\]"):
        methods.build(config)
    config.objectives.augself.flip, config.objectives.augself.second = 1.0, "target"
    objective = methods.build(config).objectives["augself"][1]
    draws = {"crop": {}, "flip": {"flip": np.array([[True, False], [True, True]])}}
    seen = Views(np.zeros((2, 2, 4), np.float32), np.zeros((2, 2, 4)), draws)
    with pytest.raises(ValueError, match="target network"):
        objective.loss(jax.eval_shape(objective.init, jax.random.key(0), seen), seen)


def test_augself_has_no_target_of_grayscale_and_takes_colours_one_by_one():
    config = methods.resolved(benchmark("cifar10", "augself"))
    seen = Views(np.zeros((2, 4, 8), np.float32), np.zeros((2, 4, 8)))
    for recipe, parts in (
        ("simclr_cifar", {"crop", "jitter"}), ("factors", {"crop", "rotate", "brightness",
         "contrast", "saturation", "hue"}),
    ):  # fmt: skip
        config.recipe.name, config.recipe.options = recipe, ConfigDict({"size": 8})
        built = methods.build(config)
        spec, objective = built.views["contrast"], built.objectives["augself"][1]

        def start(key, spec=spec, objective=objective):
            params = spec.pattern.draw(key, spec.transform, 4).params
            return objective.init(key, seen._replace(params=params))

        head = jax.eval_shape(start, jax.random.key(0))
        assert set(head) == parts, recipe
    assert head["contrast"]["dense3"]["kernel"].shape[1] == 1


def test_what_learns_from_draws_needs_some():
    config = tiny_methods.settings_of("equimod", "info_nce")
    config.recipe.name, config.recipe.options = "test_methods_rivals:untold", ConfigDict({})
    config.roles = ConfigDict({})
    with pytest.raises(ValueError, match=r"EquiMod\) learns from the parameters of the views"):
        methods.build(config)


def untold():
    """Stored pairs of views: what led from one to the other is not known."""
    return transforms.Transform(lambda key: {}, lambda params, x: x, {})


def test_pairs_of_stl_share_all_but_flip_and_blur():
    built = tiny_methods.build("stl")
    spec = built.views["contrast"]
    params = drawn(spec, 8).params
    top, flip = np.asarray(params["crop"]["top"]), np.asarray(params["flip"]["flip"])
    np.testing.assert_array_equal(top[:, ::2], top[:, 1::2])
    assert len(np.unique(top)) > 4  # both views, and every pair, draw anew
    assert (flip[:, ::2] != flip[:, 1::2]).any()


def test_seqjepa_predicts_by_the_last_change():
    """The sequence is not told how the target differs from the last view; the predictor is."""
    objective = tiny_methods.build("seqjepa").objectives["seqjepa"][1]
    rng = np.random.default_rng(0)
    features, targets = (rng.normal(size=(v, 6, 4)).astype(np.float32) for v in (3, 1))
    observed, last = (rng.normal(size=(n, 6)).astype(np.float32) for n in (3, 1))

    def seen(moves):
        draws = {"shift": {"x": moves}}
        return Views(features, np.zeros((3, 6, 2)), draws, target_features=targets)

    def to(change):
        return np.concatenate([observed, observed[2:] + change])

    head = jax.jit(lambda: objective.init(jax.random.key(0), seen(to(last))))()
    loss = jax.jit(lambda moves: objective.loss(head, seen(moves))[0])
    # Permuted over images, the changes leave the statistics of the codes' BatchNorm as they are.
    assert abs(loss(to(last[:, ::-1])) - loss(to(last))) > 1e-4
    np.testing.assert_allclose(loss(to(last) + 1), loss(to(last)), atol=1e-5)


def test_stl_needs_an_even_batch():
    config = tiny_methods.settings_of("stl")
    config.train.batch_size = 7
    with pytest.raises(ValueError, match=r"config\.train.batch_size is 7: make it even"):
        methods.build(config)


def test_the_rotated_view_of_essl_may_be_smaller():
    config = tiny_methods.settings_of("essl")
    config.objectives.essl.recipe_options = ConfigDict({"size": 4})
    spec = methods.build(config).views["essl_turns"]
    params = drawn(spec, 3).params
    image = np.random.default_rng(0).uniform(size=(8, 8, 3)).astype(np.float32)
    apply = jax.jit(spec.transform.apply)
    views = [
        np.asarray(apply(jax.tree.map(lambda leaf, k=k: leaf[k, 1], params), image))
        for k in range(4)
    ]
    assert views[0].shape == (4, 4, 3)
    for k, view in enumerate(views):
        np.testing.assert_array_equal(view, np.rot90(views[0], k))


def test_quarter_turns_need_a_square():
    with pytest.raises(ValueError, match="square"):
        transforms.quarter_turn().apply({"turns": 1}, np.zeros((4, 5, 3), np.float32))
