"""The Gram match under any bilinear form: its groups, its diagonal, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from eqssl_jax.objectives import (
    FORMS,
    GEOMETRIES,
    euclidean_form,
    form_equivariance,
    hyperboloid,
    minkowski_form,
    orthogonal_equivariance,
    stabiliser,
    symplectic_form,
    unit,
)

D, N = 4, 12
EUCLIDEAN, MINKOWSKI, SYMPLECTIC = euclidean_form(D), minkowski_form(D), symplectic_form(D)


def element(form: np.ndarray, seed: int, size: float = 0.7) -> np.ndarray:
    """A random element of the stabiliser: exp X with Xᵀ B + B X = 0.

    X = B⁻¹ S with S skew for a symmetric form (rotations and, where B is indefinite, boosts), and
    symmetric for a skew one (Hamiltonian matrices).
    """
    a = np.random.default_rng(seed).normal(size=form.shape) * size
    symmetric = np.array_equal(form, form.T)
    return expm(np.linalg.inv(form) @ ((a - a.T) if symmetric else (a + a.T)) / 2)


def boost(rapidity: float, axis: int) -> np.ndarray:
    out = np.eye(D)
    out[0, 0] = out[axis, axis] = np.cosh(rapidity)
    out[0, axis] = out[axis, 0] = np.sinh(rapidity)
    return out


def points(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape or (N, D))


def loss(z1, z2, form, **options) -> float:
    run = jax.jit(lambda a, b: form_equivariance(a, b, form=form, **options))
    return float(run(jnp.asarray(z1, jnp.float32), jnp.asarray(z2, jnp.float32)))


def by_loops(z1, z2, form, groups, diagonal):
    z1, z2, form = (np.asarray(a, np.float64) for a in (z1, z2, form))
    per_group = []
    for a, b in zip(np.split(z1, groups), np.split(z2, groups), strict=True):
        sums = [
            sum(
                (a[i] @ form @ a[j] - b[i] @ form @ b[j]) ** 2
                for j in range(len(a))
                if diagonal or j != i
            )
            for i in range(len(a))
        ]
        per_group.append(2 * np.mean(sums))
    return np.mean(per_group)


GENERAL = np.random.default_rng(5).normal(size=(D, D)).astype(np.float32)  # of no symmetry


@pytest.mark.parametrize("form", [EUCLIDEAN, MINKOWSKI, SYMPLECTIC, GENERAL])
@pytest.mark.parametrize(("groups", "diagonal"), [(1, True), (3, True), (3, False)])
def test_equals_a_double_loop(form, groups, diagonal):
    z1, z2 = points(0), points(1)
    expected = by_loops(z1, z2, form, groups, diagonal)
    np.testing.assert_allclose(
        loss(z1, z2, form, groups=groups, diagonal=diagonal), expected, rtol=1e-5
    )


@pytest.mark.parametrize("form", [EUCLIDEAN, MINKOWSKI, SYMPLECTIC])
@pytest.mark.parametrize("seed", range(3))
def test_zero_under_its_own_group_and_positive_under_the_others(form, seed):
    z = points(2)
    scale = loss(z, jnp.zeros_like(z), form)  # Σ G²: what a loss of order 1 is
    of_group = element(form, seed)
    np.testing.assert_allclose(of_group.T @ form @ of_group, form, atol=1e-9)
    assert loss(z, z @ of_group.T, form) < 1e-9 * scale
    for other in (EUCLIDEAN, MINKOWSKI, SYMPLECTIC):
        if other is not form:
            assert loss(z, z @ element(other, seed).T, form) > 1e-2 * scale


def test_lorentz_is_boosts_rotations_and_reflections_of_space_but_not_all_rotations():
    z, rng = hyperboloid(points(3, N, D - 1)), np.random.default_rng(0)
    turn = np.eye(D)
    turn[1:, 1:] = np.linalg.qr(rng.normal(size=(D - 1, D - 1)))[0]
    scale = loss(z, jnp.zeros_like(z), MINKOWSKI)
    lorentz = boost(0.8, 1) @ turn @ boost(-0.5, 3)
    assert loss(z, z @ lorentz.T, MINKOWSKI) < 1e-9 * scale
    assert loss(z, z @ lorentz.T, EUCLIDEAN) > 1e-2 * scale
    orthogonal = np.linalg.qr(rng.normal(size=(D, D)))[0]
    assert loss(z, z @ orthogonal.T, EUCLIDEAN) < 1e-9 * scale
    assert loss(z, z @ orthogonal.T, MINKOWSKI) > 1e-2 * scale


def test_a_group_may_have_an_element_of_its_own_but_not_two():
    z = points(4, 8, D)
    first, second = element(SYMPLECTIC, 0), element(SYMPLECTIC, 1)
    moved = jnp.concatenate([z[:4] @ first.T, z[4:] @ second.T])
    assert loss(z, moved, SYMPLECTIC, groups=2) < 1e-8
    assert loss(z, moved, SYMPLECTIC, groups=1) > 1e-2


@pytest.mark.parametrize("form", [MINKOWSKI, SYMPLECTIC, GENERAL])
def test_zero_loss_gives_an_element_of_the_stabiliser(form):
    """Descend over free points in float64; the linear map z1 → z2 then exists and keeps B."""
    rng = np.random.default_rng(1)
    z1, z2 = rng.normal(size=(2, N, D))
    z2 = z1 + 0.3 * z2
    start = gap = z2 @ form @ z2.T - z1 @ form @ z1.T
    for _ in range(20_000):
        z2 = z2 - 2e-3 * (gap @ z2 @ form.T + gap.T @ z2 @ form)
        gap = z2 @ form @ z2.T - z1 @ form @ z1.T
    assert np.abs(start).max() > 0.5
    assert np.abs(gap).max() < 1e-7
    a = np.linalg.lstsq(z1, z2, rcond=None)[0].T
    np.testing.assert_allclose(z1 @ a.T, z2, atol=1e-5)
    np.testing.assert_allclose(a.T @ form @ a, form, atol=1e-5)
    assert np.abs(a - np.eye(D)).max() > 1e-2  # and it is not merely the identity


def test_the_inner_product_is_orthogonal_equivariance():
    z1, z2 = unit(points(5)), unit(points(6))
    expected = orthogonal_equivariance(z1, z2, groups=2)
    for diagonal in (True, False):  # both are 1 there
        computed = loss(z1, z2, EUCLIDEAN, groups=2, diagonal=diagonal)
        np.testing.assert_allclose(computed, expected, rtol=1e-6)


def test_the_diagonal_is_needed_where_lengths_may_differ():
    along_axes, stretched = jnp.eye(D), jnp.diag(jnp.array([1.0, 2.0, 3.0, 4.0]))
    for form in (EUCLIDEAN, MINKOWSKI):
        assert loss(along_axes, stretched, form, diagonal=False) == 0
        assert loss(along_axes, stretched, form) > 1


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_diagonal_is_constant_for_the_forms_of_a_geometry_alone(geometry):
    z = GEOMETRIES[geometry].place(points(7))
    for name, make in FORMS.items():
        if z.shape[1] % 2 and name == "symplectic":
            continue
        form = make(z.shape[1])
        lengths = jnp.einsum("nd,de,ne->n", z, form, z)
        spread = float(lengths.max() - lengths.min())
        assert spread < 1e-5 if name in GEOMETRIES[geometry].forms else spread > 0.1


def test_unit_embeddings_leave_the_unitary_part_of_the_symplectic_group():
    """exp of a complex skew-Hermitian matrix, written with real numbers, is in both groups."""
    rng = np.random.default_rng(2)
    real, imaginary = rng.normal(size=(2, D // 2, D // 2))
    skew, symmetric = real - real.T, imaginary + imaginary.T
    unitary = expm(np.block([[skew, -symmetric], [symmetric, skew]]))
    z = unit(points(8))
    np.testing.assert_allclose(np.linalg.norm(z @ unitary.T, axis=1), 1, atol=1e-5)
    assert loss(z, z @ unitary.T, SYMPLECTIC) < 1e-10
    assert loss(z, z @ unitary.T, EUCLIDEAN) < 1e-10
    squeeze = np.diag([2.0, 1.0, 0.5, 1.0])
    assert loss(z, z @ squeeze, SYMPLECTIC) < 1e-10  # symplectic,
    assert loss(z, unit(z @ squeeze), SYMPLECTIC) > 1e-2  # but not on the sphere


@pytest.mark.parametrize("form", [EUCLIDEAN, MINKOWSKI, SYMPLECTIC, GENERAL])
def test_float32_for_bfloat16_and_finite_gradients_at_coincident_points(form):
    z = jnp.broadcast_to(points(9, 1, D), (6, D))
    for at in (z, jnp.zeros_like(z)):
        slope = jax.grad(lambda a: form_equivariance(a, z, form=form))(at)
        assert jnp.isfinite(slope).all()
    assert form_equivariance(z.astype(jnp.bfloat16), z, form=form).dtype == jnp.float32


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (np.ones((D, D + 1)), r"square matrix \[D, D\], found shape \(4, 5\)"),
        (np.ones(D), r"square matrix"),
        (minkowski_form(D + 1), "width 5, but the embeddings are of width 4"),
        (np.diag([1.0, 1.0, 1.0, 0.0]), "condition number is inf"),
        (np.diag([1.0, 1.0, 1.0, 1e-8]), r"condition number is 1e\+08"),
        (np.zeros((D, D)), "singular"),
        (np.diag([1.0, 1.0, 1.0, np.nan]), "NaN or infinite"),
    ],
)
def test_forms_that_are_refused(form, message):
    with pytest.raises(ValueError, match=message):
        form_equivariance(points(0), points(1), form=form)


def test_shape_of_a_traced_form_is_checked():
    with pytest.raises(ValueError, match="width 5"):
        jax.jit(lambda b: form_equivariance(points(0), points(1), form=b))(minkowski_form(D + 1))


@pytest.mark.parametrize(
    ("make", "dimension", "message"),
    [
        (symplectic_form, 5, "even number of dimensions, found 5.*Use 6"),
        (symplectic_form, 0, "even number"),
        (minkowski_form, 1, "at least one of space, found 1"),
        (euclidean_form, 0, "at least 1"),
    ],
)
def test_dimensions_that_are_refused(make, dimension, message):
    with pytest.raises(ValueError, match=message):
        make(dimension)


def test_names_of_stabilisers():
    mixed = np.random.default_rng(3).normal(size=(D, D))
    assert stabiliser(mixed.T @ MINKOWSKI @ mixed) == "O(1, 3)"  # a change of basis
    assert stabiliser(-EUCLIDEAN) == "O(4)"
    assert stabiliser(mixed - mixed.T) == "Sp(4, R)"
    with pytest.raises(ValueError, match="symmetric or skew"):
        stabiliser(GENERAL)
    with pytest.raises(ValueError, match="singular"):
        stabiliser(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="square"):
        stabiliser(np.ones(3))
