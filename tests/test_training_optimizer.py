"""Optimisers and schedules against their definitions, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.config import base
from eqssl_jax.training.optimizer import learning_rate, optimizer


def settings(**changes):
    config = base().optimizer
    config.update(changes)
    return config


def rates(config, steps, per_epoch=10):
    schedule = learning_rate(config, per_epoch, steps)
    return np.array([float(schedule(step)) for step in range(steps)])


def test_constant_after_a_linear_warm_up():
    rate = rates(settings(learning_rate=0.5, warmup_epochs=1.0), 30)
    np.testing.assert_allclose(rate[:10], 0.05 * np.arange(10), rtol=1e-6)
    np.testing.assert_allclose(rate[10:], 0.5, rtol=1e-6)


def test_cosine_goes_to_zero_at_the_end():
    rate = rates(settings(learning_rate=1.0, schedule="cosine"), 40)
    np.testing.assert_allclose(rate, 0.5 * (1 + np.cos(np.pi * np.arange(40) / 40)), atol=1e-6)


def test_steps_multiply_at_their_epochs():
    rate = rates(
        settings(
            learning_rate=1.0, schedule="step", step_epochs=(1, 2), step_factor=0.1,
            warmup_epochs=0.5,
        ),
        30,
    )  # fmt: skip
    np.testing.assert_allclose(rate[5:10], 1.0)
    np.testing.assert_allclose(rate[10:20], 0.1, rtol=1e-6)
    np.testing.assert_allclose(rate[20:], 0.01, rtol=1e-6)


def step(config, params, gradient, times=1):
    rule = optimizer(config, lambda count: config.learning_rate)
    state = rule.init(params)
    for _ in range(times):
        updates, state = rule.update(gradient, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params


PARAMS = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0])}
GRADIENT = {"kernel": jnp.array([[0.1, 0.2]]), "bias": jnp.array([0.3])}


def test_sgd_is_heavy_ball_with_l2_in_the_gradient():
    config = settings(name="sgd", learning_rate=0.1, weight_decay=0.5, momentum=0.9)
    stepped = step(config, PARAMS, GRADIENT, times=2)
    for name in PARAMS:
        theta, buffer = np.asarray(PARAMS[name]), 0.0
        for _ in range(2):
            buffer = 0.9 * buffer + np.asarray(GRADIENT[name]) + 0.5 * theta
            theta = theta - 0.1 * buffer
        np.testing.assert_allclose(stepped[name], theta, rtol=1e-6)


def test_adam_has_l2_in_the_gradient_and_adamw_beside_it():
    """The first step of Adam is lr·sign(g + wd·θ); AdamW's is lr·(sign(g) + wd·θ)."""
    decayed = step(settings(name="adam", learning_rate=0.1, weight_decay=0.5), PARAMS, GRADIENT)
    beside = step(settings(name="adamw", learning_rate=0.1, weight_decay=0.5), PARAMS, GRADIENT)
    for name, theta in PARAMS.items():
        g = GRADIENT[name]
        np.testing.assert_allclose(
            decayed[name], theta - 0.1 * jnp.sign(g + 0.5 * theta), rtol=1e-5
        )
        np.testing.assert_allclose(
            beside[name], theta - 0.1 * (jnp.sign(g) + 0.5 * theta), rtol=1e-5
        )


def test_decay_of_kernels_alone_leaves_biases():
    config = settings(name="sgd", learning_rate=0.1, weight_decay=0.5, decay="kernels")
    stepped = step(config, PARAMS, jax.tree.map(jnp.zeros_like, GRADIENT))
    np.testing.assert_allclose(stepped["bias"], PARAMS["bias"])
    np.testing.assert_allclose(stepped["kernel"], 0.95 * PARAMS["kernel"], rtol=1e-6)


def test_lars_scales_kernels_by_their_norms_and_biases_not_at_all():
    config = settings(name="lars", learning_rate=1.0, weight_decay=0.0, momentum=0.0)
    stepped = step(config, PARAMS, GRADIENT)
    np.testing.assert_allclose(stepped["bias"], PARAMS["bias"] - GRADIENT["bias"], rtol=1e-6)
    ratio = 0.001 * jnp.linalg.norm(PARAMS["kernel"]) / jnp.linalg.norm(GRADIENT["kernel"])
    np.testing.assert_allclose(
        stepped["kernel"], PARAMS["kernel"] - ratio * GRADIENT["kernel"], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "adma"}, "choose adam, adamw, sgd or lars"),
        ({"weight_decay": -1.0}, "not be negative"),
        ({"decay": "some"}, "choose all or kernels"),
    ],
)
def test_bad_optimizer(changes, message):
    with pytest.raises(ValueError, match=message):
        optimizer(settings(**changes), lambda step: 0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "cosin"}, "choose constant, cosine or step"),
        ({"learning_rate": 0.0}, "must be positive"),
        ({"warmup_epochs": -1.0}, "must not be negative"),
    ],
)
def test_bad_schedule(changes, message):
    with pytest.raises(ValueError, match=message):
        learning_rate(settings(**changes), 10, 30)


def test_clipped_lars_moves_a_kernel_by_a_share_of_its_length_and_at_most_by_the_rate():
    """min(η‖θ‖ / ‖g + wd·θ‖, rate) times that gradient, as solo-learn has it."""
    length, size = 5**0.5, 0.05**0.5  # of the kernel and of its gradient
    for rate, moved in ((1.0, 0.02 * length), (1e-3, 1e-3 * size)):
        config = settings(
            name="lars", learning_rate=rate, weight_decay=0.0, momentum=0.0, trust=0.02, clip=True
        )
        stepped = step(config, PARAMS, GRADIENT)
        change = jnp.linalg.norm(stepped["kernel"] - PARAMS["kernel"])
        np.testing.assert_allclose(change, moved, rtol=1e-3)
        np.testing.assert_allclose(stepped["bias"], 3.0 - rate * 0.3, rtol=1e-6)
    still = settings(name="lars", learning_rate=1.0, weight_decay=0.0, trust=0.02, clip=True)
    zero = {"kernel": jnp.zeros((1, 2)), "bias": jnp.zeros(1)}
    assert np.isfinite(step(still, zero, jax.tree.map(jnp.zeros_like, zero))["kernel"]).all()


def test_a_trust_coefficient_must_be_positive():
    with pytest.raises(ValueError, match=r"optimizer\.trust is 0"):
        optimizer(settings(name="lars", trust=0.0), lambda count: 1.0)
