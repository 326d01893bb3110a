"""Figures of an evaluation from a run: view sheets of uneven sets, ladders, spectra over steps."""

import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from toys import read, shift

from eqssl_jax import presets
from eqssl_jax.data.base import Split
from eqssl_jax.experiment import pictures
from eqssl_jax.measures import Arrays
from eqssl_jax.training.setup import setup


@pytest.fixture(scope="module")
def run():
    config = presets.factored("shapes")
    config.data.options = ConfigDict({"train_size": 64, "test_size": 8, "out_of_range_size": 8})
    config.recipe.options.update({"brightness": 0.0, "contrast": 0.0, "saturation": 0.0})
    config.roles = ConfigDict({"rotate": "ordered", "crop": "invariant", "hue": "invariant"})
    config.role_weights = config.sharing = ConfigDict()
    config.train.batch_size, config.objectives.order.images = 8, 4
    return setup(config.lock())


def test_a_sheet_of_sets_with_different_numbers_of_images(run):
    sheet, titles = pictures.views_sheet(run, 16)
    assert titles == ["original", "contrast", "contrast", *["ladder_rotate"] * 4]
    assert sheet.shape == (7, 4, 32, 32, 3)  # the ladder's four images


@pytest.mark.parametrize("batch", [2, 4, 32])
def test_views_are_what_the_draws_make_of_the_images_whatever_the_batch(batch):
    images = np.arange(5.0, dtype=np.float32)[:, None, None, None] * np.ones((2, 2, 1), np.float32)
    by = np.arange(6, dtype=np.float32).reshape(3, 2) * 10
    split, examples = Split(5, jax.numpy.asarray(images), read), np.array([1, 4])
    seen = pictures.rendered(split, examples, shift(), {"by": by}, batch)
    np.testing.assert_allclose(seen, images[examples] + by[..., None, None, None])
    few = pictures.rendered(split, examples, shift(), {"by": by[:, :1]}, batch)
    np.testing.assert_array_equal(few, seen[:, :1])


@pytest.mark.slow
def test_ladders_begin_at_the_image_and_change_one_part_at_a_time(run, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        pictures.figures, "ladders", lambda walked, *others: seen.update(walked=walked, rest=others)
    )
    pictures.draw_ladders(run, tmp_path / "ladders.png", 16)
    images = np.asarray(pictures.read(run.dataset.splits["validation"], np.arange(2)))
    assert list(seen["walked"]) == ["rotate", "crop", "hue"]
    for rungs in seen["walked"].values():
        assert rungs.shape == (pictures.RUNGS, 2, 32, 32, 3)
        np.testing.assert_allclose(rungs[0], images, atol=1e-6)
        assert np.abs(rungs[-1] - rungs[0]).max() > 0.02
    monkeypatch.undo()
    pictures.draw_ladders(run, tmp_path / "ladders.png", 16)
    with Image.open(tmp_path / "ladders.png") as picture:
        assert min(picture.size) > 100


def spectrum(value):
    table = np.full((2, 1), value)
    names = {"layers": ["features", "embedding"], "parts": ["rotate"]}
    measures = ("order_accuracy", "order_accuracy_amid", "kendall_tau", "magnitude_r2")
    return {**names, **dict.fromkeys(measures, table)}


def drawn(arrays, path):
    path.write_text(str({name: sorted(held) for name, held in arrays.items()}))


def test_a_card_draws_its_own_figure(tmp_path):
    arrays = Arrays({}, "test", None, np.zeros(0, int), {}, {})
    by_encoder = {"trained": {"b": 1, "a": 2}, "random": {"a": 3}}
    with_figure = arrays._replace(figures={"mine": (f"{__name__}:drawn", by_encoder)})
    pictures.draw_cards(with_figure, tmp_path, 7)
    assert (tmp_path / "7_mine.png").read_text() == "{'trained': ['a', 'b'], 'random': ['a']}"
    with pytest.raises(ValueError, match="figure of the measure mine is"):
        pictures.draw_cards(arrays._replace(figures={"mine": ("nowhere:f", {})}), tmp_path, 7)


def test_spectra_now_and_over_the_steps_that_were_evaluated(tmp_path):
    arrays = Arrays({}, "test", None, *[np.zeros(0, int)] * 1, {}, {}, {"trained": spectrum(0.9)})
    pictures.draw_spectra(arrays, tmp_path, 20)
    assert {p.name for p in tmp_path.iterdir()} == {
        f"20_spectrum_{metric}.png" for metric in pictures.SPECTRA
    }
    plain = {k: np.asarray(v).tolist() for k, v in spectrum(0.6).items()}
    (tmp_path / "10.json").write_text(json.dumps({"spectrum": {"trained": plain}}))
    (tmp_path / "5.json").write_text("{}")  # an evaluation without ladders
    pictures.draw_spectra(arrays, tmp_path, 20)
    over = {p.name for p in tmp_path.iterdir() if "over_training" in p.name}
    assert over == {f"20_spectrum_{metric}_over_training.png" for metric in pictures.SPECTRA}
    # An earlier step that is evaluated later draws the same figure anew.
    (tmp_path / "20.json").write_text(json.dumps({"spectrum": {"trained": plain}}))
    pictures.draw_spectra(arrays, tmp_path, 10)
    assert over == {p.name for p in tmp_path.iterdir() if "over_training" in p.name}
