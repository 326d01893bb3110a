"""Maps of embeddings: the plane that holds most of the variance, and points with their images."""

import numpy as np
from parsed_page import Page, check

from eqssl_jax import page
from eqssl_jax.experiment.maps import principal_plane
from eqssl_jax.page.runs import Run


def test_the_plane_holds_the_two_widest_directions_whatever_the_rotation():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 6)) * np.array([5, 3, 0.1, 0.1, 0.1, 0.1])
    places, share = principal_plane(z @ np.linalg.qr(rng.normal(size=(6, 6)))[0])
    np.testing.assert_allclose(places.std(axis=0), [5, 3], rtol=0.15)
    assert share.sum() > 0.99 and share[0] > share[1]
    again, _ = principal_plane(z)
    np.testing.assert_allclose(np.abs(places), np.abs(again), atol=1e-9)


def a_run(name, places, images):
    arrays = {"map": places, "map_share": np.array([0.6, 0.2]), "map_images": images,
              "map_label": np.arange(len(places)) % 3,
              "map_factor/hue": np.linspace(0, 1, len(places))}  # fmt: skip
    return Run(name, config={"seed": 0}, arrays=arrays)


def test_every_point_holds_its_image_and_runs_of_equal_images_share_one_picture():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 8, 8, 3), np.uint8)
    runs = [a_run(name, rng.normal(size=(20, 2)), images) for name in ("care", "simclr")]
    text = page.html_page(runs)
    found = Page(text)
    check(found)
    assert len(found.all("image")) == 1
    uses = [attributes["href"] for _, attributes, _ in found.all("use")]
    assert len(uses) == 2 * 2 * 20  # runs, colourings, points
    assert set(uses) == {"#sheet0"}
    seen = [a for _, a, _ in found.all("svg") if a.get("class") == "seen"]
    assert {k.lower(): v for k, v in seen[17].items()}["viewbox"] == "8 8 8 8"  # row 1, column 1
    assert len(text) < 150_000


def test_a_run_without_a_map_has_none():
    assert "Embeddings" not in page.html_page([Run("care", config={"seed": 0})])
