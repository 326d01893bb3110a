"""One image while it turns: the plane it is seen on, how far it goes, and the picture."""

import numpy as np
import pytest

from eqssl_jax import figures
from eqssl_jax.figures import walks

RUNGS, DRAWS = 5, 12


def turned(along: float, noise: float = 0.1) -> np.ndarray:
    """Unit embeddings that go along an arc with the rung, amid noise of all other parts."""
    rng = np.random.default_rng(0)
    angle = np.linspace(-along, along, RUNGS)[:, None]
    arc = np.stack([np.cos(angle), np.sin(angle), *[np.zeros((RUNGS, 1))] * 4], axis=-1)
    z = arc + noise * rng.normal(size=(RUNGS, 1 + DRAWS, 6)) * (np.arange(1 + DRAWS) > 0)[:, None]
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def test_the_plane_shows_the_arc_at_the_scale_of_the_sphere_and_rises():
    points = walks.plane(turned(0.6, noise=0.0))
    means = points[:, 1:].mean(axis=1)
    assert means[-1, 0] - means[0, 0] == pytest.approx(2 * np.sin(0.6), abs=1e-6)
    assert (np.diff(means[:, 0]) > 0).all()
    assert means[2, 1] > means[0, 1]


def test_distances_grow_along_a_line_and_not_in_a_blob_and_no_draw_meets_itself():
    line, blob = walks.distances(turned(1.0)), walks.distances(turned(0.0))
    assert (np.diff(line) > 0.1).all()
    assert np.ptp(blob) < 0.1 * np.ptp(line)
    assert blob[0] > 0.1  # never 0: the draws of the first rung are compared with each other


def test_the_picture_is_drawn(tmp_path):
    numbers = {"knn": {"value": 0.5}, "order_accuracy_amid_rotate": {"value": 0.7}}
    results = {"a": {"encoders": {"trained": numbers, "pixels": numbers}}}
    way = figures.Way(np.zeros((RUNGS, 4, 4, 3)), np.linspace(-0.5, 0.5, RUNGS), "rotate")
    drawn = {"untrained": turned(0.1), "a": turned(1.0)}
    path = tmp_path / "lead.png"
    figures.lead(results, drawn, way, path, metrics=list(numbers), notes={"a": "ordered"})
    assert path.stat().st_size > 10_000
