"""MoCo, BYOL, Barlow Twins, VICReg: reference values with gradients, double loops, bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import objectives
from eqssl_jax.objectives import (
    barlow_twins,
    enqueue,
    info_nce,
    moco,
    negative_cosine,
    parameter_vector,
    unit,
    vicreg,
)


@functools.cache
def compiled(name):
    """Value and gradients as one program for all tests."""
    return jax.jit(jax.value_and_grad(LOSSES[name], argnums=(0, 1)))


LOSSES = {
    "nt_xent_t0.2": lambda z1, z2, q: info_nce(unit(z1), unit(z2), temperature=0.2),
    "barlow_twins_lambda0.005": lambda z1, z2, q: barlow_twins(z1, z2, off_diagonal=0.005),
    "vicreg_25_25_1": lambda z1, z2, q: vicreg(z1, z2),
    "negative_cosine": lambda z1, z2, q: negative_cosine(unit(z1), unit(z2)),
    "moco_t0.2": lambda z1, z2, q: moco(unit(z1), unit(z2), q, temperature=0.2),
}


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_meet_the_reference(golden, name, case):
    reference = golden("base_losses")
    z1, z2, queue = (
        jnp.asarray(reference[f"{case}_{key}"], jnp.float32) for key in ("z1", "z2", "queue")
    )
    value, gradients = compiled(name)(z1, z2, queue)
    np.testing.assert_allclose(value, reference[f"{case}_{name}"], rtol=1e-5)
    for view, gradient in zip(("z1", "z2"), gradients, strict=True):
        key = f"{case}_{name}_grad_{view}"
        if key in reference:  # MoCo's keys have none
            scale = np.abs(reference[key]).max()
            np.testing.assert_allclose(gradient, reference[key], rtol=1e-5, atol=1e-5 * scale)


def embeddings(seed: int, n: int = 6, d: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(n, d)), draw.normal(size=(n, d)), draw.normal(size=(5, d))


def test_barlow_twins_is_its_double_loop():
    z1, z2, _ = embeddings(0)
    a, b = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (z1, z2))
    total = 0.0
    for i in range(3):
        for j in range(3):
            c = sum(a[n, i] * b[n, j] for n in range(6)) / 6
            total += (1 - c) ** 2 if i == j else 0.3 * c**2
    loss = barlow_twins(jnp.float32(z1), jnp.float32(z2), off_diagonal=0.3)
    np.testing.assert_allclose(loss, total, rtol=1e-5)


def test_vicreg_is_its_double_loop():
    z1, z2, _ = embeddings(1)
    near = sum((z1[n, j] - z2[n, j]) ** 2 for n in range(6) for j in range(3)) / 18
    spread = redundant = 0.0
    for z in (z1, z2):
        for i in range(3):
            for j in range(3):
                c = sum((z[n, i] - z[:, i].mean()) * (z[n, j] - z[:, j].mean()) for n in range(6))
                if i == j:
                    spread += max(0.0, 1 - np.sqrt(c / 5 + 1e-4)) / 3 / 2
                else:
                    redundant += (c / 5) ** 2 / 3
    loss = vicreg(jnp.float32(z1), jnp.float32(z2), invariance=2.0, variance=3.0, covariance=5.0)
    np.testing.assert_allclose(loss, 2 * near + 3 * spread + 5 * redundant, rtol=1e-5)


def test_moco_is_its_double_loop():
    z1, z2, q = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in embeddings(2))
    total = 0.0
    for n in range(6):
        positive = np.exp(z1[n] @ z2[n] / 0.5)
        negative = sum(np.exp(z1[n] @ q[k] / 0.5) for k in range(5))
        total -= np.log(positive / (positive + negative)) / 6
    loss = moco(*(jnp.float32(z) for z in (z1, z2, q)), temperature=0.5)
    np.testing.assert_allclose(loss, total, rtol=1e-5)


def test_negative_cosine_is_its_double_loop():
    z1, z2, _ = embeddings(3)
    total = 0.0
    for n in range(6):
        product = sum(z1[n, j] * z2[n, j] for j in range(3))
        lengths = np.sqrt(sum(z1[n, j] ** 2 for j in range(3)) * sum(z2[n] ** 2))
        total -= product / lengths / 6
    loss = negative_cosine(unit(jnp.float32(z1)), unit(jnp.float32(z2)))
    np.testing.assert_allclose(loss, total, rtol=1e-5)


def test_barlow_twins_is_zero_only_for_equal_uncorrelated_dimensions():
    z = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(64, 4)))[0], jnp.float32)
    z = 8 * (z - z.mean(axis=0, keepdims=True))
    z, _ = jnp.linalg.qr(z)
    z = 8 * z  # centred, uncorrelated, variance 1
    assert float(barlow_twins(z, z)) < 1e-6
    mixed = z @ jnp.array([[1.0, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert float(barlow_twins(mixed, mixed)) > 1e-4
    assert float(barlow_twins(z, z[::-1])) > 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_where_embeddings_coincide(name):
    z = jnp.ones((4, 3))
    _, gradients = compiled(name)(z, z, jnp.eye(3))
    assert np.isfinite(gradients).all()


def test_the_queue_is_first_in_first_out_and_keeps_its_size():
    queue = jnp.zeros((5, 1))
    for start in (1, 3, 5):
        queue = enqueue(queue, jnp.array([[start], [start + 1]], jnp.float32))
    np.testing.assert_array_equal(queue[:, 0], [5, 6, 3, 4, 1])
    more = enqueue(queue, jnp.arange(9.0)[:, None])
    np.testing.assert_array_equal(more[:, 0], [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: barlow_twins(z, z[:3]), "same shape"),
        (lambda z: barlow_twins(z[:1], z[:1]), "at least two images"),
        (lambda z: barlow_twins(z, z, off_diagonal=-1.0), "off_diagonal >= 0, found -1"),
        (lambda z: vicreg(z, z, covariance=-1.0), "covariance -1"),
        (lambda z: vicreg(z, z[:, :2]), "same shape"),
        (lambda z: moco(z, z, z[:, :2]), r"keys \[K, 3\]"),
        (lambda z: moco(z, z, z[:0]), "at least one"),
        (lambda z: moco(z, z, z, temperature=0.0), "temperature must be positive"),
        (lambda z: negative_cosine(z, z[0]), "same shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((4, 3)))


def test_the_parameters_of_a_draw_are_one_vector():
    draw = {
        "crop": {"top": jnp.array([[0.1, 0.2]]), "left": jnp.array([[0.3, 0.4]])},
        "jitter": {"hue": jnp.array([[0.25, 0.0]]), "order": jnp.array([[[0, 1], [1, 0]]])},
    }
    vector = parameter_vector(draw)  # by sorted name: left, top, cos and sin of hue, order
    expected = [[[0.3, 0.1, 0, 1, 0, 1], [0.4, 0.2, 1, 0, 1, 0]]]
    np.testing.assert_allclose(vector, expected, atol=1e-6)


def test_every_public_loss_is_exported():
    assert {"moco", "negative_cosine", "barlow_twins", "vicreg", "enqueue"} <= set(
        objectives.__all__
    )
