"""Figures: files that hold what was given, and refusals of what cannot be drawn.

Warnings are errors in the tests, so every figure is also drawn without a complaint by matplotlib.
"""

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import figures
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


def enlarged(image, factor):
    """Bytes of an image in [0, 1], as the sheet shows them."""
    return np.rint(image * 255).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)


def places(picture, tile):
    """Top left corners at which a tile stands, pixel by pixel."""
    height, width = tile.shape[:2]
    start = min(width, 30)  # enough to find the few candidates
    first_rows = np.lib.stride_tricks.sliding_window_view(picture[..., 0], start, axis=1)
    corners = np.argwhere((first_rows == tile[0, :start, 0]).all(axis=-1))
    found = [(int(y), int(x)) for y, x in corners]
    return [
        (y, x) for y, x in found if np.array_equal(picture[y : y + height, x : x + width], tile)
    ]


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(3, 2, 8, 8, 3)).astype(np.float32)


def test_a_contact_sheet_holds_every_pixel_of_every_view(images, tmp_path):
    path = tmp_path / "new" / "views.png"
    figures.views_sheet(images, ["original", "contrast", "contrast"], path)
    picture = read(path)
    found = [[places(picture, enlarged(images[v, n], 14)) for n in range(2)] for v in range(3)]
    assert all(len(at) == 1 for column in found for at in column)
    tops = [[at[0][0] for at in column] for column in found]
    lefts = [[at[0][1] for at in column] for column in found]
    assert tops[0] == tops[1] == tops[2] and tops[0][0] < tops[0][1]  # a row for each image
    assert all(len(set(column)) == 1 for column in lefts)  # a column for each view
    assert lefts[1][0] - lefts[0][0] > lefts[2][0] - lefts[1][0]  # apart between headings
    assert (picture[: tops[0][0] - 10] < 128).any()  # the headings


def test_grey_images_and_large_ones(tmp_path):
    grey = np.random.default_rng(0).uniform(size=(1, 1, 8, 8, 1))
    figures.views_sheet(grey, ["original"], tmp_path / "grey.png")
    assert places(read(tmp_path / "grey.png"), enlarged(grey[0, 0].repeat(3, -1), 14))
    blocks = np.random.default_rng(0).uniform(size=(1, 1, 150, 150, 3))
    large = blocks.repeat(2, 2).repeat(2, 3)  # 300 pixels: halved by averaging
    figures.views_sheet(large, ["original"], tmp_path / "large.png")
    assert places(read(tmp_path / "large.png"), enlarged(blocks[0, 0], 1))


def test_neighbours_stand_in_order(tmp_path):
    rng = np.random.default_rng(1)
    query, changed = rng.uniform(size=(2, 3, 8, 8, 3))
    before, after = rng.uniform(size=(2, 3, 5, 8, 8, 3))
    figures.neighbours(query, changed, before, after, tmp_path / "strip.png", title="care")
    picture = read(tmp_path / "strip.png")
    for q in range(3):
        row = [query[q], *before[q], changed[q], *after[q]]
        at = [places(picture, enlarged(image, 14)) for image in row]
        assert all(len(found) == 1 for found in at)
        tops, lefts = zip(*(found[0] for found in at), strict=True)
        assert len(set(tops)) == 1
        assert list(lefts) == sorted(lefts)


def test_images_that_cannot_be_drawn_are_refused(images, tmp_path):
    path = tmp_path / "never.png"
    with pytest.raises(ValueError, match="a title for each of its 3 views, found 1"):
        figures.views_sheet(images, ["original"], path)
    with pytest.raises(ValueError, match=r"\[V, N, H, W, C\].*\(2, 8, 8, 3\)"):
        figures.views_sheet(images[0], ["original"] * 2, path)
    with pytest.raises(ValueError, match="at least one image"):
        figures.views_sheet(images[:, :0], ["original"] * 3, path)
    for wrong in (images * 255, images - 1, images * np.nan):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            figures.views_sheet(wrong, ["original"] * 3, path)
    queries, near = images[0], images[:, :2].swapaxes(0, 1)
    with pytest.raises(ValueError, match="equal shapes"):
        figures.neighbours(queries, queries[:1], near, near, path)
    with pytest.raises(ValueError, match=r"\[Q, k, H, W, C\] for queries"):
        figures.neighbours(queries[:1], queries[:1], near, near, path)
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
    def one(value, sd=None):
        return {"value": value, "sd": sd, "n": None}

    return {
        "step": 1,
        "dataset": "shapes",
        "encoders": {
            "trained": {
                "knn": one(knn, 0.02),
                "gram_error": one(gram, 2 * gram),  # its bar reaches below 0
                "γ / odd": one(float("nan")),
            },
            "random": {"knn": one(random_knn), "gram_error": one(0.3)},
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
    with pytest.raises(ValueError, match=r"No run of .* has a finite number"):
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
