"""What the page draws without scripts: maps of embeddings, ladders with distances, and films."""

import re
import sys
import types

import numpy as np
import pytest
from parsed_page import Page, check, evaluation

from eqssl_jax import page
from eqssl_jax.experiment.embedded import principal_plane, umap_plane
from eqssl_jax.experiment.page import _by_umap
from eqssl_jax.page.embeddings import distances
from eqssl_jax.page.films import frames
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
    document = Page(text)
    check(document)
    assert len(document.all("image")) == 1
    uses = [attributes["href"] for _, attributes, _ in document.all("use")]
    assert len(uses) == 2 * 20  # runs, points
    assert set(uses) == {"#map0"}
    dot = document.all("circle")[4]
    assert re.fullmatch(r"--f0:#\w{6};--f1:#\w{6}", dot[1]["style"])  # by class, and by hue
    assert dot[2] == "class 1, hue 0.211"
    seen = [a for _, a, _ in document.all("svg") if a.get("class") == "seen"]
    assert {k.lower(): v for k, v in seen[17].items()}["viewbox"] == "8 8 8 8"  # row 1, column 1
    assert len(text) < 150_000


def test_a_run_without_a_map_has_none():
    assert "Embeddings" not in page.html_page([Run("care", config={"seed": 0})])


def test_without_umap_the_error_is_one_paragraph(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ValueError, match=r"--layout=umap needs .* pip install") as caught:
        umap_plane(np.eye(8))
    assert "\n" not in str(caught.value)
    older = a_run("care", np.zeros((20, 2)), np.zeros((20, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="evaluate it again"):
        _by_umap(older._replace(folder="runs/care"))


class StandIn:
    """What we use of umap-learn 0.5.12: these settings, and `fit_transform`."""

    def __init__(self, n_neighbors=15, n_components=2, *, metric="euclidean", init="spectral",
                 random_state=None, n_jobs=-1):  # fmt: skip
        assert metric == "cosine" and random_state is not None and n_jobs == 1 and init == "random"
        self.neighbours, self.width = n_neighbors, n_components

    def fit_transform(self, rows):
        assert 2 <= self.neighbours < len(rows) and rows.dtype == np.float32
        return 7 + 100 * rows[:, : self.width]


def test_umap_lays_out_the_stored_embeddings_and_the_page_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=StandIn))
    z = np.random.default_rng(0).normal(size=(20, 4))
    run = a_run("care", np.zeros((20, 2)), np.zeros((20, 8, 8, 3), np.uint8))
    arrays = _by_umap(run._replace(arrays=run.arrays | {"map_unit": z}))
    np.testing.assert_allclose(arrays["map"], 100 * (z - z.mean(0))[:, :2], atol=1e-4)
    text = page.html_page([run._replace(arrays=arrays)])
    assert "by UMAP (McInnes" in text and "of the variance" not in text
    assert umap_plane(z[:3]).shape == (3, 2)
    assert _by_umap(Run("none", config={})) == {}
    z[4, 0] = np.nan  # so it marks a row that it cannot reach
    with pytest.raises(ValueError, match=r"no place to 1 of 20 images.*leave --layout=umap out"):
        umap_plane(z)


def test_distances_are_from_the_untouched_image_and_amid_draws_of_everything_else():
    value = np.array([-1.0, 0.0, 1.0])
    z = np.stack([[np.cos(value), np.sin(value)]] * 5, axis=0).transpose(2, 0, 1)  # [V, 1 + S, D]
    clean, (low, _) = distances(z, value)
    np.testing.assert_allclose(clean, [2 * np.sin(0.5), 0, 2 * np.sin(0.5)], atol=1e-7)
    np.testing.assert_allclose(low, clean, atol=1e-7)
    z[1, 1:] = [[1, 0], [-1, 0], [1, 0], [-1, 0]]  # the others move the untouched image by 2
    np.testing.assert_allclose(distances(z, value)[1][0][1], 2)


def test_a_ladder_stands_below_its_curve():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    arrays = {
        "walk_part": np.array("rotate"), "walk_value": np.array([-1.0, 0, 1]),
        "walk_images": images,
        "walk/trained": np.ones((3, 5, 2)), "walk/random": np.ones((3, 5, 2)),
    }  # fmt: skip
    runs = [Run(name, config={"seed": 0}, arrays=arrays) for name in ("care", "simclr")]
    document = Page(page.html_page(runs))
    check(document)
    assert len(document.all("image")) == 1  # of both runs
    rungs = [a for _, a, _ in document.all("svg") if a.get("class") == "rung"]
    assert len(rungs) == 2 * 3
    assert [float(a["x"]) for a in rungs[:3]] == sorted(float(a["x"]) for a in rungs[:3])


def spectrum(value):
    table = [[value, None], [value / 2, 0.5]]
    names = {"layers": ["stem", "embedding"], "parts": ["rotate", "crop"]}
    return {"spectrum": {"trained": {**names, "order_accuracy_amid": table},
                         "random": {**names, "order_accuracy_amid": [[0.5, 0.5]] * 2}}}  # fmt: skip


def test_a_film_has_a_step_a_button_and_starts_untrained():
    steps = {step: evaluation(step, 0.5) | spectrum(step / 100) for step in (60, 80, 100)}
    run = Run("care", config={"seed": 0}, evaluations=steps)
    table, document = frames(run)
    assert table == "order_accuracy_amid" and list(document) == [0, 60, 80, 100]
    assert document[0]["order_accuracy_amid"][0][0] == 0.5 and document[80][table][0][0] == 0.8
    film = Page(page.html_page([run]))
    check(film)
    buttons = film.all("input")
    assert [a["id"] for _, a, _ in buttons] == [f"film0-{n}" for n in (0, 60, 80, 100, "play")]
    assert ["checked" in a for _, a, _ in buttons] == [False, False, False, True, False]
    moves = [a["values"] for _, a, _ in film.all("animate") if a["attributename"] == "fill"]
    assert len(moves) == 4 and all(len(values.split(";")) == 4 for values in moves)
    colours = moves[0].split(";")
    assert len(set(colours)) == 4 and moves[1].split(";")[1] == "#bbbbbb"  # no value


def test_one_step_or_other_parts_are_no_film():
    once = Run("care", config={"seed": 0}, evaluations={60: evaluation(60, 0.5) | spectrum(0.6)})
    other = evaluation(80, 0.5) | spectrum(0.8)
    other["spectrum"]["trained"]["parts"] = ["rotate", "hue"]
    changed = once._replace(evaluations={**once.evaluations, 80: other})
    assert not frames(once)[1] and not frames(changed)[1]
    assert "over training" not in page.html_page([once])
