"""Figures: files that hold what was given, and refusals of what cannot be drawn.

Warnings are errors in the tests, so every figure is also drawn without a complaint by matplotlib.
"""

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import figures
from eqssl_jax.figures import sheets
from eqssl_jax.figures.style import PALETTE, new_figure, run_styles, spans_decades


def read(path):
    """The picture as uint8 [H, W, 3]."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def has_colour(picture, colour):
    """Whether a colour "#rrggbb" stands somewhere, not blended with anything."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((picture == np.asarray(wanted)).all(axis=-1).any())


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(3, 2, 8, 8, 3)).astype(np.float32)


@pytest.fixture
def sheets_drawn(monkeypatch):
    """The sheets of images drawn in a test, as they were when they were saved."""
    drawn, save = [], sheets.save
    monkeypatch.setattr(sheets, "save", lambda f, path: (save(f, path), drawn.append(f)))
    return drawn


def tiles(axes, size):
    """The images of one picture of a sheet, [rows, columns, h, w, 3], without their gaps."""
    picture = np.asarray(axes.images[0].get_array())
    gap = max(1, round(sheets.GAP * size))
    rows, columns = ((length + gap) // (size + gap) for length in picture.shape[:2])
    boxes = [
        [picture[y * (size + gap) :, x * (size + gap) :][:size, :size] for x in range(columns)]
        for y in range(rows)
    ]
    return np.asarray(boxes)


def test_a_contact_sheet_holds_every_pixel_of_every_view(images, tmp_path, sheets_drawn):
    path = tmp_path / "new" / "views.png"
    figures.views_sheet(images, ["original", "contrast", "contrast"], path)
    assert read(path).min() < 128
    first, second = sheets_drawn[0].axes
    assert [axes.get_title() for axes in (first, second)] == ["original", "contrast"]
    np.testing.assert_array_equal(tiles(first, 8), images[:1].swapaxes(0, 1))
    np.testing.assert_array_equal(tiles(second, 8), images[1:].swapaxes(0, 1))
    assert all(axes.images[0].get_interpolation() == "nearest" for axes in (first, second))


def test_grey_images_and_large_ones(tmp_path, sheets_drawn):
    grey = np.random.default_rng(0).uniform(size=(1, 1, 8, 8, 1))
    figures.views_sheet(grey, ["original"], tmp_path / "grey.png")
    np.testing.assert_array_equal(tiles(sheets_drawn[0].axes[0], 8)[0, 0], grey[0, 0].repeat(3, -1))
    blocks = np.random.default_rng(0).uniform(size=(1, 1, 150, 150, 3))
    large = blocks.repeat(2, 2).repeat(2, 3)  # 300 pixels: halved by averaging
    figures.views_sheet(large, ["original"], tmp_path / "large.png")
    np.testing.assert_allclose(tiles(sheets_drawn[1].axes[0], 150)[0, 0], blocks[0, 0])


def test_neighbours_stand_in_order_for_every_run(tmp_path, sheets_drawn):
    rng = np.random.default_rng(1)
    query, changed = rng.uniform(size=(2, 3, 8, 8, 3))
    near = rng.uniform(size=(2, 2, 3, 5, 8, 8, 3))
    before, after = ({"simclr": part[0], "care": part[1]} for part in near)
    note = {"neighbour_overlap": {"value": 0.6}, "neighbour_rank": {"value": 1.0}}
    results = {"care": {"encoders": {"trained": note, "random": note}}}
    path = tmp_path / "strip.png"
    figures.neighbours(query, changed, before, after, path, results=results)
    grid = np.reshape(sheets_drawn[0].axes, (2, 4))
    for line, run in zip(grid, before, strict=True):
        assert line[0].get_ylabel() == run
        wanted = (query[:, None], before[run], changed[:, None], after[run])
        for axes, images in zip(line, wanted, strict=True):
            np.testing.assert_array_equal(tiles(axes, 8), images)
    assert [axes.get_title() for axes in grid[0]][::2] == ["query", "colour\nchanged"]
    assert grid[1][0].get_xlabel().endswith("first neighbour 1.0 (random encoder: 0.60, 1.0)")
    assert not grid[0][0].get_xlabel()
    assert figures.neighbour_note({}) == ""
    # Bytes are drawn like the same numbers in [0, 1].
    bytes_ = [np.rint(x * 255).astype(np.uint8) for x in (query, changed)]
    figures.neighbours(*bytes_, before, after, tmp_path / "bytes.png")
    drawn = tiles(sheets_drawn[1].axes[0], 8)[:, 0]
    np.testing.assert_allclose(drawn, bytes_[0] / 255, atol=1e-6)


def test_ladders_stand_in_rising_order_beside_their_names(tmp_path, sheets_drawn):
    rng = np.random.default_rng(0)
    images = {
        "rotate": rng.uniform(size=(3, 2, 8, 8, 3)),
        "a transformation of a long name": rng.uniform(size=(3, 1, 8, 8, 1)),
    }
    figures.ladders(images, [0.0, 0.5, 1.0], tmp_path / "new" / "ladders.png")
    assert len(sheets_drawn[0].axes) == 2
    for axes, (name, ladder) in zip(sheets_drawn[0].axes, images.items(), strict=True):
        assert " ".join(axes.get_ylabel().split()) == name
        wanted = np.broadcast_to(ladder.swapaxes(0, 1), (*ladder.shape[1::-1], 8, 8, 3))
        np.testing.assert_array_equal(tiles(axes, 8), wanted)
    top = sheets_drawn[0].axes[0]
    assert [label.get_text() for label in top.get_xticklabels()] == ["s = 0", "s = 0.5", "s = 1"]
    assert list(np.diff(top.get_xticks())) == [9, 9]  # over the middles of tiles of 8 and a gap


def test_images_that_cannot_be_drawn_are_refused(images, tmp_path):
    path = tmp_path / "never.png"
    with pytest.raises(ValueError, match=r"\[V, N, H, W, C\].*\(2, 8, 8, 3\)"):
        figures.views_sheet(images[0], ["original"] * 2, path)
    with pytest.raises(ValueError, match="at least one image"):
        figures.views_sheet(images[:, :0], ["original"] * 3, path)
    for wrong in (images * 255, images - 1, images * np.nan):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            figures.views_sheet(wrong, ["original"] * 3, path)
    queries, near = images[0], images[:, :2].swapaxes(0, 1)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        figures.neighbours(queries * 2, queries, {"a": near}, {"a": near}, path)
    assert not path.exists()


def rows(count, **metrics):
    return [{"step": i, **{n: f(i) for n, f in metrics.items()}} for i in range(1, count + 1)]


def test_training_curves_of_runs_with_different_metrics(tmp_path):
    runs = {
        "simclr": rows(20, loss=lambda i: 5 - i / 10),
        "care": [
            *rows(400, loss=lambda i: 5 - i / 100, equivariance=lambda i: 10.0 ** (-i / 50)),
            {"step": 400, "validation_knn": 0.5},  # a line of its own, and a single point
            {"step": 401, "loss": float("nan"), "note": "stopped", "done": None},
        ],
        "broken": [],
    }
    figures.training_curves(runs, tmp_path / "three.png")
    picture = read(tmp_path / "three.png")
    assert has_colour(picture, PALETTE[0]) and has_colour(picture, PALETTE[1])
    figures.training_curves({"simclr": runs["simclr"]}, tmp_path / "one.png")
    assert read(tmp_path / "one.png").shape[1] < picture.shape[1]  # one panel, not three


@pytest.mark.parametrize("runs", [{}, {"a": []}, {"a": [{"step": 1}, {"step": 2, "x": None}]}])
def test_training_curves_without_a_number(runs, tmp_path):
    with pytest.raises(ValueError, match="no training curves to draw"):
        figures.training_curves(runs, tmp_path / "never.png")


def test_logarithmic_only_where_it_helps():
    assert spans_decades([1e-4, 1.0])
    assert not spans_decades([0.02, 1.0])
    assert not spans_decades([-1e-4, 1.0])
    assert not spans_decades([float("nan")])
    assert not spans_decades([])


def test_cosine_histograms(tmp_path):
    rng = np.random.default_rng(0)
    narrow = rng.uniform(0.3, 0.9, size=(20, 1)) + 0.02 * rng.normal(size=(20, 200))
    values = {"simclr": np.ones((20, 200)), "care": narrow, "one": -narrow[:1]}
    figures.cosine_histograms(values, tmp_path / "cosines.png")
    picture = read(tmp_path / "cosines.png")
    assert has_colour(picture, PALETTE[0])
    changed = values | {"care": narrow[::-1] ** 2}
    figures.cosine_histograms(changed, tmp_path / "changed.png")
    assert (read(tmp_path / "changed.png") != picture).any()


def test_cosines_that_are_none_are_refused(tmp_path):
    for values, message in (
        ({}, "no cosines"),
        ({"a": np.zeros(5)}, r"\[augmentations, images\].*\(5,\)"),
        ({"a": np.zeros((0, 5))}, r"\(0, 5\)"),
        ({"a": np.full((2, 5), 1.5)}, "'a' must lie in"),
        ({"a": np.full((2, 5), np.nan)}, "'a' must lie in"),
    ):
        with pytest.raises(ValueError, match=message):
            figures.cosine_histograms(values, tmp_path / "never.png")


def evaluation(knn, gram, random_knn=0.3):
    def number(value, sd=None):
        return {"value": value, "sd": sd, "n": None}

    return {
        "step": 1,
        "dataset": "shapes",
        "encoders": {
            "trained": {
                "knn": number(knn, 0.02),
                "gram_error": number(gram, 2 * gram),  # its bar reaches below 0
                "γ / odd": number(float("nan")),
            },
            "random": {"knn": number(random_knn), "gram_error": number(0.3)},
            "pixels": {},
        },
        "chance": {"knn": 0.1},
    }


def test_comparison_draws_every_run_and_a_panel_for_each_metric_with_numbers(tmp_path):
    results = {"simclr": evaluation(0.7, 0.1), "care": evaluation(0.72, 1e-4, random_knn=0.33)}
    figures.comparison(results, tmp_path / "both.png")
    picture = read(tmp_path / "both.png")
    assert has_colour(picture, PALETTE[0]) and has_colour(picture, PALETTE[1])
    figures.comparison(results, tmp_path / "chosen.png", metrics=["gram_error", "knn"])
    assert read(tmp_path / "chosen.png").shape == picture.shape  # the NaN has no panel
    assert (read(tmp_path / "chosen.png") != picture).any()  # in another order
    del results["care"]["encoders"]["trained"]["knn"]
    figures.comparison(results, tmp_path / "missing.png", metrics=["knn"])
    assert not has_colour(read(tmp_path / "missing.png"), PALETTE[1])


def test_comparison_refuses_what_it_cannot_compare(tmp_path):
    path = tmp_path / "never.png"
    with pytest.raises(ValueError, match="nothing to compare"):
        figures.comparison({}, path)
    with pytest.raises(ValueError, match="'knnn'"):
        figures.comparison({"a": evaluation(0.7, 0.1)}, path, metrics=["knnn"])
    with pytest.raises(ValueError, match=r"None of \['a'\] has a finite number"):
        figures.comparison({"a": evaluation(0.7, 0.1)}, path, metrics=["γ / odd"])
    assert not path.exists()


def test_equal_figures_are_equal_files(tmp_path):
    for name in "ab":
        figures.comparison({"run": evaluation(0.7, 0.1)}, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_runs_are_told_apart_beyond_the_palette():
    styles = run_styles(f"run {i}" for i in range(2 * len(PALETTE)))
    assert len({tuple(sorted(style.items())) for style in styles.values()}) == 2 * len(PALETTE)


def test_drawing_leaves_no_trace_in_matplotlib():
    import matplotlib

    before = dict(matplotlib.rcParams)
    new_figure(1, 1)
    assert dict(matplotlib.rcParams) == before
