"""RankMe, LiDAR, alignment, uniformity and the probe by L-BFGS: laws, and loops in NumPy."""

import numpy as np
import pytest

from eqssl_jax.measures import lbfgs_probe, lidar, rankme, sphere_alignment, sphere_uniformity
from eqssl_jax.measures.cards import TooFew
from eqssl_jax.measures.classes import lbfgs


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_rankme_counts_directions():
    z = np.linalg.qr(normal(200, 8))[0]
    assert rankme(3 * z) == pytest.approx(8, rel=1e-4)
    assert rankme(np.outer(normal(50), normal(8))) == pytest.approx(1, abs=1e-4)
    s = np.linalg.svd(normal(40, 6), compute_uv=False)
    p = s / s.sum() + 1e-7
    assert rankme(normal(40, 6)) == pytest.approx(np.exp(-np.sum(p * np.log(p))), rel=1e-6)
    assert rankme(normal(6, 40)) == pytest.approx(rankme(normal(6, 40).T), rel=1e-6)
    with pytest.raises(TooFew, match="RankMe needs two embeddings"):
        rankme(np.zeros((5, 3)))


def test_lidar_is_that_of_its_definition():
    views = normal(3, 30, 5) + 4 * normal(30, 5, seed=1)[None]
    means = views.mean(0)
    between = np.cov(means.T)
    within = sum(np.cov(views[:, i].T) for i in range(30)) / 30 + 1e-4 * np.eye(5)
    values, vectors = np.linalg.eigh(within)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    shares = np.linalg.eigvalsh(root @ between @ root)
    p = shares / shares.sum() + 1e-7
    assert lidar(views) == pytest.approx(np.exp(-np.sum(p * np.log(p))), rel=1e-9)
    # Directions that only augmentations move do not count, whatever their size.
    wide = np.concatenate([views, 100 * normal(3, 30, 4, seed=2)], axis=2)
    assert lidar(wide) == pytest.approx(lidar(views), rel=0.2)
    with pytest.raises(TooFew, match="1 views of 30 images"):
        lidar(views[:1])
    with pytest.raises(TooFew, match="one mean"):
        lidar(np.ones((2, 4, 3)))


def test_alignment_and_uniformity_are_those_of_loops():
    z = normal(3, 6, 4)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    pairs = [(z[i, n] - z[j, n]) @ (z[i, n] - z[j, n])
             for n in range(6) for i in range(3) for j in range(i)]  # fmt: skip
    assert sphere_alignment(5 * z) == pytest.approx(np.mean(pairs), rel=1e-9)
    of_views = [np.log(np.mean([np.exp(-2 * np.sum((v[i] - v[j]) ** 2))
                            for i in range(6) for j in range(i)])) for v in z]  # fmt: skip
    assert sphere_uniformity(z) == pytest.approx(np.mean(of_views), rel=1e-9)
    assert sphere_alignment(np.repeat(z[:1], 3, 0)) == pytest.approx(0, abs=1e-12)
    assert sphere_uniformity(np.repeat(z[:, :1], 6, 1)) == pytest.approx(0, abs=1e-12)


def test_the_probe_finds_the_minimum_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    x, y = normal(120, 5).astype(np.float32), np.arange(120) % 3
    x[np.arange(120), y] += 1.0
    weight = 0.03
    (model,) = lbfgs.fit(x, y, classes=3, weights=[weight], iterations=500)
    reference = LogisticRegression(C=1 / (weight * len(x)), tol=1e-8, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(model.weight.T, reference.coef_, atol=2e-3)


def test_the_weight_is_chosen_on_validation_and_one_class_is_refused():
    x, y = normal(90, 30), np.arange(90) % 2
    x[:, 0] += 5 * y
    parts = [(x[i : i + 30], y[i : i + 30]) for i in (0, 30, 60)]
    probe = lbfgs_probe(*parts, classes=2, weights=lbfgs.grid(12))
    assert probe.validation[probe.weight] == max(probe.validation.values())
    assert probe.top1 > 0.7 and len(probe.validation) == 12
    with pytest.raises(TooFew, match="All 30 labels are 1: one class"):
        lbfgs_probe((x[:30], np.ones(30, int)), *parts[1:], classes=2)
