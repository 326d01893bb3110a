"""Targets read off draws, and the scale of their error."""

import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.objectives import parameter_differences, unexplained_variance


def test_differences_of_every_kind_of_parameter():
    params = {
        "angle": jnp.array([[0.2], [1.0]]),
        "flip": jnp.array([[True], [False]]),
        "hue": jnp.array([[0.9], [0.1]]),
        "order": jnp.zeros((2, 1, 4), jnp.int32),
        "sigma": jnp.array([[0.5], [2.0]]),
    }
    expected = [np.cos(0.8), np.sin(0.8), 1, np.cos(-1.6 * np.pi), np.sin(-1.6 * np.pi), 1.5]
    np.testing.assert_allclose(parameter_differences(params), [expected], atol=1e-6)


def test_a_full_turn_is_no_difference():
    turned = parameter_differences({"angle": jnp.array([[0.0], [2 * np.pi]])})
    np.testing.assert_allclose(turned, [[1, 0]], atol=1e-6)


def test_the_mean_leaves_all_variance_and_the_truth_none():
    target = jnp.asarray(np.random.default_rng(0).normal(size=(500, 2)) * [1, 30], jnp.float32)
    variance = target.var(axis=0)
    mean = jnp.broadcast_to(target.mean(axis=0)[None], target.shape)
    np.testing.assert_allclose(unexplained_variance(mean, target, variance), 1, rtol=1e-4)
    assert unexplained_variance(target, target, variance) == 0


def test_refusals():
    with pytest.raises(ValueError, match="nothing to predict"):
        parameter_differences({})
    with pytest.raises(ValueError, match="two views"):
        parameter_differences({"angle": jnp.zeros((3, 2))})
    with pytest.raises(ValueError, match="one shape"):
        unexplained_variance(jnp.zeros((2, 3)), jnp.zeros((2, 2)), jnp.ones(3))
