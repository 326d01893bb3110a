"""DeepSet: the order of points, their padding and its place in a network do not matter."""

import jax
import numpy as np
import pytest

from eqssl_jax import encoders
from eqssl_jax.transforms import recipes

POINTS = 12


@pytest.fixture(scope="module")
def network():
    return encoders.build(
        encoder="deepset", projector=(16, 8), projector_batch_norm=False, mean=[0] * 4, std=[1] * 4
    )


@pytest.fixture(scope="module")
def variables(network):
    started = network.init(jax.random.key(0), (POINTS, 4))
    return started["params"], started["batch_stats"]


@pytest.fixture(scope="module")
def encode(network):
    return jax.jit(network.encode)


def clouds(count: int = 3, real: int = 7) -> np.ndarray:
    points = np.zeros((count, POINTS, 4), np.float32)
    points[:, :real, :3] = np.random.default_rng(0).normal(size=(count, real, 3))
    points[:, :real, 3] = 1
    return points


def test_features_do_not_depend_on_the_order_of_points(encode, variables):
    x = clouds()
    order = np.random.default_rng(1).permutation(POINTS)
    for plain, shuffled in zip(encode(*variables, x), encode(*variables, x[:, order]), strict=True):
        np.testing.assert_allclose(plain, shuffled, atol=1e-6)


def test_padding_says_nothing(encode, variables):
    x = clouds()
    short = x[:, :7]
    dirty = x.copy()
    dirty[:, 7:, :3] = 100  # what is not there has no coordinates either
    wanted = encode(*variables, x)
    for other in (short, dirty):
        for a, b in zip(wanted, encode(*variables, other), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    twice = np.concatenate([short, short], axis=1)  # mean and maximum, not a sum
    np.testing.assert_allclose(encode(*variables, twice)[0], wanted[0], atol=1e-6)


def test_every_point_counts(encode, variables):
    x = clouds()
    before = np.asarray(encode(*variables, x)[0])
    for i in range(7):
        moved = x.copy()
        moved[:, i, :3] += 0.5
        assert (np.abs(encode(*variables, moved)[0] - before).max(axis=1) > 1e-5).all()


def test_views_in_training_and_layers(network, encode, variables):
    x = clouds(count=4)
    applied = jax.jit(network.apply, static_argnames=("views", "train"))
    (features, embeddings), stats = applied(*variables, x, views=2, train=True)
    assert features.shape == (4, 128) and embeddings.shape == (4, 8) and stats == {}
    np.testing.assert_allclose(embeddings, encode(*variables, x)[1], atol=1e-6)
    order = []

    def layers(points):
        outputs = network.layers(*variables, points)
        order.extend(outputs)
        return outputs

    assert jax.eval_shape(layers, x)["stem"].shape == (4, 256)
    assert order == ["stem", "features", "projector1", "embedding"]


def test_gradients_are_finite_for_one_point_and_equal_points(network, variables):
    x = np.zeros((2, POINTS, 4), np.float32)
    x[0, 0, 3] = 1
    x[1, :5, 3] = 1

    def loss(params):
        return network.encode(params, variables[1], x)[1].sum()

    gradient = jax.jit(jax.grad(loss))(variables[0])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_images_are_refused(network, variables):
    with pytest.raises(ValueError, match="deepset takes point clouds"):
        network.encode(*variables, np.zeros((2, 8, 8, 4), np.float32))


def test_the_recipe_turns_points_and_nothing_else():
    recipe = recipes.rotation3d()
    x = clouds()[0]
    seen = np.asarray(recipe.apply(recipe.sample(jax.random.key(0)), x))
    np.testing.assert_array_equal(seen[:, 3], x[:, 3])
    assert (seen[7:] == 0).all() and np.abs(seen - x).max() > 0.1
    np.testing.assert_allclose(seen[:, :3] @ seen[:, :3].T, x[:, :3] @ x[:, :3].T, atol=1e-5)
    np.testing.assert_array_equal(recipe.apply(recipe.identity, x), x)
    with pytest.raises(ValueError, match="point clouds"):
        recipe.apply(recipe.identity, np.zeros((8, 8, 3), np.float32))
