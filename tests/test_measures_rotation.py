"""Rotation measures are zero for rotations, bounded by their floors, and equal double loops."""

import numpy as np
import pytest

from eqssl_jax.measures import (
    TooFew,
    composition_error,
    effective_rank,
    gram_error,
    held_out_composition,
    held_out_wahba,
    invariance_error,
    relative_rotational_equivariance,
    rotation_residual,
    wahba,
)

RNG = np.random.default_rng(0)


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def random_rotation(d, seed=0):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.linalg.det(q)
    return q


@pytest.fixture
def z():
    return unit(np.random.default_rng(1).normal(size=(200, 8)))


@pytest.fixture
def other():
    return unit(np.random.default_rng(2).normal(size=(200, 8)))


def test_an_exact_rotation_is_found_and_leaves_nothing(z):
    q = random_rotation(8)
    rotation, error = wahba(z, z @ q.T)
    np.testing.assert_allclose(rotation, q, atol=1e-12)
    assert error < 1e-12
    assert held_out_wahba(z, z @ q.T) < 1e-12
    assert rotation_residual(z, z @ q.T) < 1e-20
    gamma, dropped = relative_rotational_equivariance(z, z @ q.T)
    assert gamma < 1e-25 and dropped == 0
    assert gram_error(z, z @ q.T).authors < 1e-25


def test_float32_embeddings_are_measured_to_their_own_precision(z):
    q = random_rotation(8)
    f, f_a = z.astype(np.float32), (z @ q.T).astype(np.float32)
    assert wahba(f, f_a).error / np.sqrt(len(z)) < 1e-6


def test_the_result_is_a_rotation_and_the_best_one(z, other):
    rotation, error = wahba(z, other)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(8), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert error == pytest.approx(np.linalg.norm(z @ rotation.T - other))
    for seed in range(20):
        angle = 1e-3 * np.random.default_rng(seed).normal(size=(8, 8))
        near = rotation @ np.linalg.qr(np.eye(8) + angle - angle.T)[0]
        near = near @ np.diag(np.sign(np.diag(near.T @ rotation)))
        assert np.linalg.norm(z @ near.T - other) >= error - 1e-9


def test_a_reflection_is_not_absorbed(z):
    mirror = np.eye(8)
    mirror[0, 0] = -1
    rotation, error = wahba(z, z @ mirror.T)
    assert np.linalg.det(rotation) == pytest.approx(1)
    # The cheapest rotation gives up the direction of least variance: 2 σ_min.
    least = np.linalg.svd(z, compute_uv=False)[-1]
    assert error > least
    assert rotation_residual(z, z @ mirror.T) > 0.5


def test_wahba_does_not_see_a_common_rotation(z, other):
    p, q = random_rotation(8, 3), random_rotation(8, 4)
    assert wahba(z @ p, other @ q).error == pytest.approx(wahba(z, other).error)


def test_unrelated_embeddings_reach_the_floors(z, other):
    # Nothing in common: the held-out error is that of two unrelated unit vectors, √2.
    assert held_out_wahba(z, other) == pytest.approx(np.sqrt(2), abs=0.1)
    assert wahba(z, other).error / np.sqrt(200) < held_out_wahba(z, other)
    assert 0.7 < rotation_residual(z, other) <= 1
    assert relative_rotational_equivariance(z, other).gamma > 0.01


def test_the_residual_of_pure_shrinking_is_one(z):
    # R = I is the best rotation of z → z / 2, so none of the change is explained.
    assert rotation_residual(z, z / 2) == pytest.approx(1)
    assert np.isnan(rotation_residual(z, z))


def test_fitting_flatters_few_images():
    rng = np.random.default_rng(5)
    f, f_a = unit(rng.normal(size=(40, 32))), unit(rng.normal(size=(40, 32)))
    assert wahba(f, f_a).error / np.sqrt(40) < 0.6 * np.sqrt(2)  # unrelated embeddings
    with pytest.raises(ValueError, match="more than 32 images"):
        wahba(f[:32], f_a[:32])
    with pytest.raises(ValueError, match="more than 32 images"):
        held_out_wahba(f, f_a)


def test_gamma_equals_a_double_loop(z, other):
    mixed = unit(z + 0.3 * other)
    mixed[:20] = z[:20]  # 20 images that do not move: their 190 pairs are 0/0
    total, kept, dropped = 0.0, 0, 0
    for i in range(200):
        for j in range(200):
            if i == j:
                continue
            moved = np.sum((mixed[i] - z[i]) ** 2) + np.sum((mixed[j] - z[j]) ** 2)
            before, after = np.sum((z[i] - z[j]) ** 2), np.sum((mixed[i] - mixed[j]) ** 2)
            if moved**2 < 1e-8:
                dropped += 1
                continue
            total, kept = total + (after - before) ** 2 / moved**2, kept + 1
    for chunk in (7, 512):
        gamma, dropped_pairs = relative_rotational_equivariance(z, mixed, chunk=chunk)
        assert gamma == pytest.approx(total / kept, rel=1e-9)
        assert dropped_pairs == dropped // 2 == 190


def test_gamma_of_an_invariant_encoder_is_dropped_not_zero(z):
    gamma, dropped = relative_rotational_equivariance(z, z)
    assert np.isnan(gamma) and dropped == 200 * 199 // 2
    assert relative_rotational_equivariance(z, z, floor=0.0).dropped == 200 * 199 // 2


def test_gram_error_equals_a_double_loop(z, other):
    squares = [
        (z[i] @ z[j] - other[i] @ other[j]) ** 2 for i in range(200) for j in range(200) if i != j
    ]
    error = gram_error(z, other)
    assert error.mean_square == pytest.approx(np.mean(squares))
    assert error.authors == pytest.approx(2 * np.sum(squares) / 200)


def test_gram_error_at_the_authors_scale_is_their_loss(golden):
    losses = golden("care_losses")
    checked = 0
    for case in range(4):
        if int(losses[f"{case}_chunks"]) != 1:
            continue
        value = losses[f"{case}_equivariance"]
        error = gram_error(losses[f"{case}_z1"], losses[f"{case}_z2"]).authors
        assert error == pytest.approx(float(value), rel=1e-5)
        checked += 1
    assert checked


def test_invariance_error_of_unit_vectors_is_two_minus_two_cosines(z, other):
    assert invariance_error(z, other) == pytest.approx(2 - 2 * np.mean(np.sum(z * other, axis=1)))
    assert invariance_error(z, z) == 0


def test_rotations_compose(z):
    a, b = random_rotation(8, 6), random_rotation(8, 7)
    composed = composition_error(z, z @ a.T, z @ b.T, z @ (b @ a).T)
    assert max(composed) < 1e-12
    # In the other order they do not: rotations do not commute.
    wrong = composition_error(z, z @ a.T, z @ b.T, z @ (a @ b).T)
    assert wrong.error == pytest.approx(np.linalg.norm(a @ b - b @ a))


def test_unrelated_rotations_are_about_root_2d_apart():
    z = unit(np.random.default_rng(8).normal(size=(300, 32)))
    composed = composition_error(z, *(z @ random_rotation(32, seed).T for seed in (9, 10, 11)))
    assert composed.relative == pytest.approx(1, abs=0.1)
    assert composed.error == pytest.approx(composed.relative * np.sqrt(64))
    assert composed.on_data == pytest.approx(np.sqrt(2), abs=0.1)


def test_directions_without_data_count_only_in_the_matrix_norm():
    rng = np.random.default_rng(12)
    noise = [1e-9 * rng.normal(size=(100, 10)) for _ in range(4)]
    flat = np.concatenate([unit(rng.normal(size=(100, 3))), np.zeros((100, 7))], axis=1)
    composed = composition_error(*(flat + e for e in noise))  # all augmentations do nothing
    assert composed.error > 0.5
    assert composed.on_data < 1e-6


def test_held_out_composition_is_zero_for_rotations_and_their_size_for_others(z):
    a, b = random_rotation(8, 6), random_rotation(8, 7)
    assert max(held_out_composition(z, z @ a.T, z @ b.T, z @ (b @ a).T)) < 1e-12
    wrong = held_out_composition(z, z @ a.T, z @ b.T, z @ (a @ b).T)
    assert wrong.single < 1e-12 < 0.1 < wrong.residual
    assert wrong.gap == pytest.approx(np.sqrt(wrong.residual))


def test_held_out_composition_equals_a_plain_computation(z):
    rng = np.random.default_rng(18)
    after = [unit(z @ random_rotation(8, s).T + 0.3 * rng.normal(size=z.shape)) for s in (1, 2, 3)]
    order = np.random.default_rng(0).permutation(200)
    fit, other = order[:100], order[100:]
    r_a, r_b, r_ba = (wahba(z[fit], f[fit]).rotation for f in after)
    moved = gap = left = 0.0
    for i in other:
        moved += np.sum((after[2][i] - z[i]) ** 2)
        gap += np.sum(((r_ba - r_b @ r_a) @ z[i]) ** 2)
        left += np.sum((r_b @ r_a @ z[i] - after[2][i]) ** 2)
    composed = held_out_composition(z, *after)
    assert composed.gap == pytest.approx(np.sqrt(gap / moved))
    assert composed.residual == pytest.approx(left / moved)


def test_held_out_composition_gives_nothing_for_noise_and_for_spread():
    """Changes that no rotation explains leave 1 or more, however the matrices look."""
    rng = np.random.default_rng(19)
    z = unit(rng.normal(size=(2000, 4)))
    noise = [unit(z + 0.3 * rng.normal(size=z.shape)) for _ in range(3)]
    composed = held_out_composition(z, *noise)
    assert 0.9 < composed.residual < 1.2 and 0.9 < composed.single < 1.2
    # All matrices are near the identity: the quoted number and the gap say that they compose.
    assert composition_error(z, *noise).relative < 0.1 and composed.gap < 0.3
    # The same embeddings in a corner of a larger space: the quoted number grows, these do not.
    wide = [np.pad(f, ((0, 0), (0, 12))) + 1e-9 * rng.normal(size=(2000, 16)) for f in (z, *noise)]
    assert composition_error(*wide).relative > 0.5
    assert held_out_composition(*wide).residual == pytest.approx(composed.residual, rel=0.05)


def test_held_out_composition_needs_two_halves_and_a_move(z):
    with pytest.raises(TooFew, match="more than 8 images"):
        held_out_composition(*(z[:16] for _ in range(4)))
    assert np.isnan(held_out_composition(z, z, z, z)).all()


def test_low_loss_bounds_the_distance_to_an_orthogonal_map():
    # ‖A⁺‖ε ≤ 1/√2 and Σ (Gram difference)² ≤ ε⁴ give a distance of at most (1 + √2) ‖A⁺‖ ε².
    rng = np.random.default_rng(13)
    for scale in (1e-4, 1e-3, 1e-2):
        z = unit(rng.normal(size=(60, 6)))
        z_a = unit(z @ random_rotation(6, 14).T + scale * rng.normal(size=z.shape))
        square = np.sqrt(np.sum((z @ z.T - z_a @ z_a.T) ** 2))  # ε²
        inverse = 1 / np.linalg.svd(z, compute_uv=False)[-1]
        assert inverse * np.sqrt(square) <= 1 / np.sqrt(2)
        u, _, vt = np.linalg.svd(z_a.T @ z)
        distance = np.linalg.norm(z @ (u @ vt).T - z_a)
        assert 0 < distance <= (1 + np.sqrt(2)) * inverse * square
        assert wahba(z, z_a).error == pytest.approx(distance)  # det +1 here


def test_effective_rank_counts_directions():
    rng = np.random.default_rng(15)
    assert effective_rank(rng.normal(size=(4000, 10))) == pytest.approx(10, abs=0.1)
    assert effective_rank(rng.normal(size=(50, 1)) * np.ones((1, 10))) == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wahba(np.ones((9, 3)), np.ones((9, 2))), r"both be \[n, d\]"),
        (lambda: wahba(np.ones(9), np.ones(9)), r"both be \[n, d\]"),
        (lambda: wahba(np.full((9, 3), np.nan), np.ones((9, 3))), "NaN"),
        (lambda: gram_error(np.ones((1, 3)), np.ones((1, 3))), "at least 2"),
        (lambda: relative_rotational_equivariance(np.ones((1, 3)), np.ones((1, 3))), "at least 2"),
        (lambda: effective_rank(np.ones((1, 3))), "at least 2"),
        (lambda: effective_rank(np.array([[0.0, 1], [np.inf, 0]])), "z holds NaN .* row 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
