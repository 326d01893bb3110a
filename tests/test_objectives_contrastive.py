"""InfoNCE and its parts: reference values, a NumPy double loop, and their invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import objectives
from eqssl_jax.objectives import unit

# Compiled whole: operation by operation, each costs a program.
info_nce, alignment, uniformity = (
    jax.jit(function, static_argnames="temperature")
    for function in (objectives.info_nce, objectives.alignment, objectives.uniformity)
)


def draw(seed: int, count: int = 6, dimension: int = 5) -> tuple[jax.Array, jax.Array]:
    z = unit(jax.random.normal(jax.random.key(seed), (2, count, dimension)))
    return z[0], z[1]


def by_loops(z1: np.ndarray, z2: np.ndarray, temperature: float) -> tuple[float, float, float]:
    z = np.concatenate([z1, z2]).astype(np.float64)
    count = len(z)
    nce, inv, unif = [], [], []
    for i in range(count):
        partner = (i + count // 2) % count
        positive = z[i] @ z[partner] / temperature
        negatives = sum(
            np.exp(z[i] @ z[j] / temperature) for j in range(count) if j not in (i, partner)
        )
        nce.append(np.log(np.exp(positive) + negatives) - positive)
        inv.append(-positive)
        unif.append(np.log(negatives))
    return float(np.mean(nce)), float(np.mean(inv)), float(np.mean(unif))


@pytest.mark.parametrize("case", range(4))
def test_reference_values_and_gradients(golden, case):
    reference = {k[2:]: v for k, v in golden("care_losses").items() if k.startswith(f"{case}_")}
    z1, z2 = jnp.asarray(reference["z1"]), jnp.asarray(reference["z2"])
    temperature = float(reference["temperature"])
    for name, function in (
        ("info_nce", info_nce),
        ("alignment", alignment),
        ("uniformity", uniformity),
    ):
        np.testing.assert_allclose(
            function(z1, z2, temperature=temperature), reference[name], rtol=1e-5
        )
    slope = jax.jit(jax.grad(lambda a, b: info_nce(a, b, temperature=temperature), (0, 1)))
    gradients = slope(z1, z2)
    for gradient, name in zip(gradients, ("z1", "z2"), strict=True):
        expected = reference[f"info_nce_grad_{name}"]
        error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
        assert error < 1e-5


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_a_double_loop(temperature):
    z1, z2 = draw(0)
    expected = by_loops(np.asarray(z1), np.asarray(z2), temperature)
    losses = [f(z1, z2, temperature=temperature) for f in (info_nce, alignment, uniformity)]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_invariant_to_relabelling_swapping_views_and_rotation():
    z1, z2 = draw(1)
    order = jax.random.permutation(jax.random.key(2), z1.shape[0])
    rotation = jnp.linalg.qr(jax.random.normal(jax.random.key(3), (5, 5)))[0]
    value = info_nce(z1, z2)
    np.testing.assert_allclose(info_nce(z1[order], z2[order]), value, rtol=1e-5)
    np.testing.assert_allclose(info_nce(z2, z1), value, rtol=1e-5)
    np.testing.assert_allclose(info_nce(z1 @ rotation, z2 @ rotation), value, rtol=1e-5)


def test_pulling_positives_together_lowers_alignment_and_info_nce():
    z1, z2 = draw(4)
    closer = unit(z2 + z1)
    assert alignment(z1, closer) < alignment(z1, z2)
    assert info_nce(z1, closer) < info_nce(z1, z2)


def test_uniformity_ignores_the_positive_pair_and_is_worst_at_a_point():
    z1, z2 = draw(5)
    collapsed = jnp.broadcast_to(z1[:1], z1.shape)
    assert uniformity(z1, z2) < uniformity(collapsed, collapsed)
    # All 2N - 2 negatives at similarity one: log(2N - 2) + 1/tau.
    np.testing.assert_allclose(
        uniformity(collapsed, collapsed, temperature=0.5), np.log(10) + 2, rtol=1e-6
    )


def test_losses_stay_float32_for_bfloat16_embeddings():
    z1, z2 = (z.astype(jnp.bfloat16) for z in draw(6))
    for function in (info_nce, alignment, uniformity):
        assert function(z1, z2).dtype == jnp.float32
        np.testing.assert_allclose(
            function(z1, z2), function(z1.astype(jnp.float32), z2.astype(jnp.float32)), rtol=1e-6
        )


def test_gradients_are_finite_at_coincident_points_and_at_zero():
    z = jnp.broadcast_to(unit(jnp.ones((1, 4))), (6, 4))
    assert all(jnp.isfinite(g).all() for g in jax.jit(jax.grad(info_nce, (0, 1)))(z, z))
    at_zero = jax.jit(jax.grad(lambda a: info_nce(unit(a), unit(a))))(jnp.zeros((6, 4)))
    assert jnp.isfinite(at_zero).all()


@pytest.mark.parametrize(
    ("shapes", "temperature", "message"),
    [
        (((4, 3), (5, 3)), 0.5, "same shape"),
        (((1, 3), (1, 3)), 0.5, "two images"),
        (((4, 3), (4, 3)), 0.0, "positive"),
    ],
)
@pytest.mark.parametrize("function", [info_nce, alignment, uniformity])
def test_bad_input(function, shapes, temperature, message):
    with pytest.raises(ValueError, match=message):
        function(jnp.ones(shapes[0]), jnp.ones(shapes[1]), temperature=temperature)
