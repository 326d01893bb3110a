"""Figures of the studies: every method is drawn, gaps stay gaps, and nonsense is refused."""

import itertools
import math

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import figures
from eqssl_jax.figures import circles as circles_module
from eqssl_jax.figures import curves, sweeps
from eqssl_jax.figures.style import PALETTE
from eqssl_jax.tabular import seeds

NAN = float("nan")


def read(path):
    """The picture as uint8 [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def has_colour(picture, colour):
    """Whether a colour "#rrggbb" stands somewhere, not blended with anything."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((picture == np.asarray(wanted)).all(axis=-1).any())


@pytest.fixture
def drawn_figures(monkeypatch):
    """The figures drawn in a test, as they were when they were saved."""
    from matplotlib.figure import Figure

    drawn, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: drawn.append(self) or save(self, *a, **k)
    )
    return drawn


def result(trained, random=None, chance=None):
    def encoder(values):
        return {m: {"value": v, "sd": 0.02, "n": 20} for m, v in (values or {}).items()}

    encoders = {"trained": encoder(trained), "random": encoder(random), "pixels": {}}
    return {"step": 1, "dataset": "toy", "encoders": encoders, "chance": chance or {}}


def twice(draw, tmp_path):
    """Draw two times; the files are equal, and the picture is returned."""
    for name in "ab":
        draw(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    return read(tmp_path / "a")


# Numbers over seeds ------------------------------------------------------------------------------


def test_over_seeds():
    runs = [result({"knn": v}, {"knn": 0.1}, {"knn": 0.05}) for v in (0.5, 0.6, 0.7)]
    spread = seeds.over_seeds(runs, "trained", "knn")
    assert spread == pytest.approx((0.6, 0.1, 3))
    assert seeds.over_seeds(runs[:1], "trained", "knn") == (0.5, 0.02, 1)
    assert seeds.over_seeds(runs, "chance", "knn")[0] == pytest.approx(0.05)
    runs += [result({"knn": NAN}), result({"knn": None}), result({})]
    assert seeds.over_seeds(runs, "trained", "knn") == spread  # what is missing is not counted
    empty = seeds.over_seeds([], "trained", "knn")
    assert math.isnan(empty.value) and empty.trainings == 0


def test_what_bars_are():
    single, two, three = (seeds.Spread(0.5, 0.1, n) for n in (1, 2, 3))
    none = seeds.Spread(0.5, NAN, 1)
    assert seeds.what_bars_are([single, none]) == ("one training; pale: ± 1 sd within it")
    assert seeds.what_bars_are([two, three]) == "± 1 sd over 2 to 3 trainings"
    assert seeds.what_bars_are([single, three]) == "± 1 sd over 3 trainings; pale: within one"
    assert seeds.what_bars_are([none]) == ""


# Figure 5 ----------------------------------------------------------------------------------------


def measures(scale, count=20):
    values = scale * np.random.default_rng(0).uniform(0.5, 1, size=count)
    return {"gamma": 3 * values, "wahba_per_root_n": values, "rotation_residual": values}


def test_augmentation_strips(tmp_path):
    methods = {
        "simclr": measures(0.4),
        "care": measures(0.2) | {"rotation_residual": np.full(20, NAN)},  # invariant: 0/0
        "one": measures(0.3, count=1),
        "none": {},
    }
    floors = {"random": measures(0.3), "pixels": {}}
    picture = twice(
        lambda path: figures.augmentation_strips(methods, path, floors=floors), tmp_path
    )
    assert all(has_colour(picture, colour) for colour in PALETTE[:3])
    assert not has_colour(picture, PALETTE[3])  # nothing was measured of it
    figures.augmentation_strips({"simclr": measures(0.4)}, tmp_path / "one.png")
    assert read(tmp_path / "one.png").shape[0] < picture.shape[0]
    # A panel that no method has a number for is not drawn.
    only = {"simclr": measures(0.4) | {"rotation_residual": np.full(20, NAN)}}
    figures.augmentation_strips(only, tmp_path / "two.png")
    assert read(tmp_path / "two.png").shape[1] < picture.shape[1]


def test_augmentation_strips_refuse(tmp_path):
    for methods, floors, message in (
        ({}, {}, "finite number"),
        ({"a": {"gamma": np.full(3, NAN)}}, {}, "finite number"),
        ({"a": {"gamma": np.ones((2, 3))}}, {}, r"\[A\], found shape \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            figures.augmentation_strips(methods, tmp_path / "never.png", floors=floors)


# Figure 6 ----------------------------------------------------------------------------------------


def circle(turns, noise, images=60):
    rng = np.random.default_rng(0)
    before = rng.uniform(-np.pi, np.pi, images)
    after = [before + turn + noise * rng.normal(size=images) for turn in turns]
    angles = np.stack([before, *after])
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def cosines_of(z):
    return np.einsum("nd,and->an", z[0], z[1:])


@pytest.fixture
def circles():
    return {"simclr": circle(np.zeros(6), 0.3), "care": circle(np.linspace(-2, 2, 6), 0.05)}


def test_circle_histograms(circles, tmp_path):
    cosines = {name: cosines_of(z) for name, z in circles.items()}
    cosines["exact"] = np.ones((3, 60))  # variance 0 has a place on a logarithm
    cosines["half"] = cosines["care"].astype(np.float16)
    picture = twice(lambda path: figures.circle_histograms(cosines, path), tmp_path)
    assert all(has_colour(picture, colour) for colour in PALETTE[:4])
    cosines["care"] = cosines["simclr"]
    figures.circle_histograms(cosines, tmp_path / "other.png")
    assert (read(tmp_path / "other.png") != picture).any()
    figures.circle_histograms({"one": np.full((1, 4), 0.5)}, tmp_path / "one.png")


def test_a_rotation_keeps_the_order_of_colours_on_each_ring(circles, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("eqssl_jax.figures.circles._rings", lambda axes, a: seen.update(angles=a))
    figures.circle_points({"care": circle(np.linspace(-2, 2, 8), 0)}, tmp_path / "seen.png")
    angles = seen["angles"]
    assert len(angles) == 6  # the images as they are, and five augmentations
    turned = np.angle(np.exp(1j * (angles[1:] - angles[0])))
    np.testing.assert_allclose(turned, np.linspace(-2, 2, 8)[:5, None].repeat(60, 1), atol=1e-9)
    monkeypatch.undo()
    pictures = [
        twice(lambda path, n=name: figures.circle_points({n: circles[n]}, path), tmp_path)
        for name in circles
    ]
    assert (pictures[0] != pictures[1]).any()


def test_the_title_of_a_circle_says_how_crowded_it_is(circles, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(circles_module, "quiet", lambda axes, title, **_: titles.append(title))
    z = circles["simclr"]
    crowded = np.stack([np.ones(z.shape[:2]), 0.1 * z[..., 0]], axis=-1)  # one side of the circle
    figures.circle_points({"spread": z, "crowded": crowded}, tmp_path / "circles.png")
    length = float(np.linalg.norm(z[0].mean(axis=0)))
    assert titles == [f"spread (mean of length {length:.2f})", "crowded (mean of length 1.00)"]
    assert length < 0.3


def test_colours_follow_the_order_around_any_arc():
    rng = np.random.default_rng(0)
    for arc in (0.01, 1.0, 3.0):
        angle = np.sort(rng.uniform(-arc, arc, 30))
        for turn in (0.0, 1.5, 3.1):
            turned = np.angle(np.exp(1j * (angle + turn)))
            np.testing.assert_allclose(circles_module.places(turned), np.arange(30) / 30)


def test_circles_refuse(tmp_path):
    path = tmp_path / "never.png"
    with pytest.raises(ValueError, match="at least one run"):
        figures.circle_histograms({}, path)
    with pytest.raises(ValueError, match="'a' must lie in"):
        figures.circle_histograms({"a": np.full((2, 5), NAN)}, path)
    assert not path.exists()


# Figures 7 and 8 ---------------------------------------------------------------------------------


def test_measures_over_training(tmp_path):
    def at(gamma):
        evaluation = result({"gamma": gamma, "invariance_error": 0.3}, {"gamma": 0.6})
        evaluation["encoders"]["trained"]["gamma_dropped"] = {"value": 30, "sd": None, "n": 100}
        return evaluation

    runs = {
        "simclr": {10: [at(0.5), at(0.4)], 20: [at(0.3), at(0.2)]},
        "care": {20: [at(0.1)], 10: [at(NAN)]},
        "none": {},
    }
    picture = twice(lambda path: figures.measures_over_training(runs, path), tmp_path)
    assert has_colour(picture, PALETTE[0]) and has_colour(picture, PALETTE[1])
    assert curves._left_out(runs) == "← lower is better; at most 0.3 of pairs left out"
    steps = curves._over_steps(runs["simclr"], "gamma")
    assert [step for step, _ in steps] == [0, 10, 20]
    assert [value.value for _, value in steps] == pytest.approx([0.6, 0.45, 0.25])
    assert [step for step, _ in curves._over_steps(runs["care"], "gamma")] == [0, 20]
    single_run = {"care": {20: [result({"positive_cosine": 0.5})]}}
    figures.measures_over_training(single_run, tmp_path / "one.png", metrics=["positive_cosine"])
    for nothing in ({}, {"care": {}}, {"care": {10: [result({"gamma": NAN})]}}):
        with pytest.raises(ValueError, match="--step=all"):
            figures.measures_over_training(nothing, tmp_path / "never.png")


@pytest.mark.parametrize("count", [1, 7])
def test_a_legend_of_many_runs_leaves_the_panel_its_room(tmp_path, monkeypatch, count):
    kept = []
    monkeypatch.setattr(curves, "save", lambda figure, path: kept.append(figure))
    evaluation = result({"positive_cosine": 0.5})
    runs = {
        f"L_inv + L_unif + L_equi {i}": {10: [evaluation], 20: [evaluation]} for i in range(count)
    }
    figures.measures_over_training(runs, tmp_path / "a.png", metrics=["positive_cosine"])
    kept[0].draw_without_rendering()
    place = kept[0].axes[0].get_position()
    width, height = kept[0].get_size_inches()
    assert place.width * width > 3 and place.height * height > 1.4  # inches


def test_weight_sweep(tmp_path):
    def at(knn):
        return [result({"knn": k, "gram_error": 0.01}, {"knn": 0.3}, {"knn": 0.1}) for k in knn]

    sweep = {0: at([0.5, 0.52]), 0.1: at([0.6, 0.61]), 0.01: at([NAN, 0.55]), 1: at([0.4])}
    picture = twice(lambda path: figures.weight_sweep(sweep, path), tmp_path)
    assert has_colour(picture, sweeps._SHADE)
    figures.weight_sweep({0.1: at([0.5])}, tmp_path / "one.png", metrics=["knn"])
    figures.weight_sweep({0.0: at([0.5]), 1: []}, tmp_path / "gap.png", metrics=["knn"])
    for wrong, message in (
        ({}, "a positive weight"),
        ({0: at([0.5])}, "a positive weight"),
        ({0.1: at([NAN])}, "finite number"),
    ):
        with pytest.raises(ValueError, match=message):
            figures.weight_sweep(wrong, tmp_path / "never.png", metrics=["knn"])


def test_zero_stands_apart_and_no_line_leads_to_it(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(sweeps, "save", lambda figure, path: drawn.append(figure))
    sweep = {w: [result({"knn": 0.5 + w})] for w in (0, 0.001, 0.01, 0.1)}
    figures.weight_sweep(sweep, tmp_path / "x.png", metrics=["knn"])
    axes = drawn[0].axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.001", "0.01", "0.1"]
    zero = axes.get_xticks()[0]
    lines = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata())]
    joined = [line for line in lines if len(line.get_xdata()) > 1]
    assert [list(line.get_xdata()) for line in joined] == [[0.001, 0.01, 0.1]]
    assert zero < 0.001 / 3


# Figures 10 to 16 --------------------------------------------------------------------------------


def test_a_panel_of_each_factor_has_its_values_in_their_order(tmp_path, drawn_figures):
    def results(*values):
        return [{"encoders": {"trained": {"knn": {"value": v, "sd": None, "n": 1}},
                              "random": {"knn": {"value": 0.2, "sd": None, "n": 1}}},
                 "chance": {"knn": 0.1}} for v in values]  # fmt: skip

    sweeps = {
        "margin": {0.1: results(0.4, 0.6), 10.0: results(0.7), 20.0: []},
        "form": {"hinge": results(0.5), "listwise": results(0.3, 0.5)},
    }
    figures.factor_sweeps(sweeps, tmp_path / "f.png", metrics=("knn", "gamma"))
    margin, form = drawn_figures[0].axes
    assert (margin.get_xlabel(), form.get_xlabel()) == ("margin", "form")
    assert margin.get_ylabel() == "kNN accuracy"
    points = [axes.lines[0].get_xydata().tolist() for axes in (margin, form)]
    assert points[0] == [[0, pytest.approx(0.5)], [1, 0.7]]  # without the value of no training
    assert points[1] == [[0, 0.5], [1, pytest.approx(0.4)]]
    assert form.lines[0].get_linestyle() == "None"  # words have no in between
    assert [label.get_text() for label in margin.get_xticklabels()] == ["0.1", "10", "20"]
    levels = [line.get_ydata()[0] for line in margin.lines]
    assert all(np.isclose(levels, floor).any() for floor in (0.2, 0.1))
    with pytest.raises(ValueError, match="finite"):
        figures.factor_sweeps(sweeps, tmp_path / "f.png", metrics=("gamma",))


def test_names_of_rows_do_not_run_into_each_other(tmp_path, drawn_figures):
    metrics = ("order_accuracy_amid_rotate", "change_r2_rotate_angle_per_dimension", "knn")
    numbers = {metric: {"value": 0.5, "sd": None, "n": 1} for metric in metrics}
    sweeps = {"margin": {0.1: [{"encoders": {"trained": numbers}, "chance": {}}]}}
    figures.factor_sweeps(sweeps, tmp_path / "f.png", metrics=metrics)
    [figure] = drawn_figures
    boxes = [axes.yaxis.label.get_window_extent() for axes in figure.axes]
    assert all(lower.y1 <= upper.y0 for upper, lower in itertools.pairwise(boxes))
    assert all(box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_the_points_that_none_surpasses_are_filled_by_what_is_better(tmp_path, drawn_figures):
    points = {"a": ((0.1, 0.01), (0.5, 0.02)), "b": ((0.3, math.nan), (0.4, 0.02))}
    for metric, filled in (("gamma", [True, False]), ("knn", [True, True])):
        figures.pareto(points, (metric, "probe_top1"), tmp_path / "p.png")
        [axes] = drawn_figures[-1].axes
        faces = [bar[0].get_markerfacecolor() for bar in axes.containers]
        assert [face != "white" for face in faces] == filled
    assert axes.get_xlabel() == "kNN accuracy ↑"
    assert any("bars: 95 % intervals" in text.get_text() for text in axes.texts)


def test_a_ceiling_surpasses_no_point_and_no_name_lies_on_another(tmp_path, drawn_figures):
    from matplotlib.text import Text

    names = [f"two_view_care_{i}:compute" for i in range(24)]
    points = {n: ((0.3 + 1e-3 * (i % 5), 0.01), (0.5, 0.02)) for i, n in enumerate(names)}
    points |= {"supervised": ((0.4, 0.01), (0.9, 0.01)), "far": ((0.1, 0.01), (0.1, 0.01))}
    figures.pareto(points, ("knn", "probe_top1"), tmp_path / "p.png", ceilings={"supervised"})
    [axes] = drawn_figures[-1].axes
    marks = {bar[0].get_ydata()[0]: bar[0] for bar in axes.containers}
    assert marks[0.9].get_marker() == "D" and marks[0.9].get_markerfacecolor() == "white"
    assert marks[0.5].get_marker() == "o" and marks[0.5].get_markerfacecolor() != "white"
    labels = {text.get_text(): text for text in axes.texts if text.get_text() in points}
    assert set(labels) == set(points)
    boxes = {name: Text.get_window_extent(text) for name, text in labels.items()}
    for a, b in itertools.combinations(boxes, 2):
        assert not boxes[a].overlaps(boxes[b].padded(-0.5)), (a, b)
    room = axes.get_window_extent().padded(1)
    assert all(room.contains(*corner) for box in boxes.values() for corner in (box.p0, box.p1))


def test_ablation_bars(tmp_path):
    floors = {"random": {"knn": 0.3, "probe_top1": 0.35}, "chance": {"knn": 0.1}}
    results = {
        "inv": [result({"knn": 0.1, "probe_top1": 0.1}, **floors)],
        "unif": [result({"knn": 0.5}, **floors), result({"knn": 0.6}, **floors)],
        "inv + unif": [],
        "inv + unif + equi": [result({"knn": 0.7, "probe_top1": 0.8}, **floors)],
    }
    picture = twice(lambda path: figures.ablation_bars(results, path), tmp_path)
    figures.ablation_bars(results, tmp_path / "knn.png", metrics=["knn", "r2_hue"])
    assert read(tmp_path / "knn.png").shape[0] < picture.shape[0]  # r2_hue has no row
    figures.ablation_bars({"inv": results["inv"]}, tmp_path / "one.png")
    for nothing in ({}, {"inv": []}, {"inv": [result({"knn": NAN})]}):
        with pytest.raises(ValueError, match="finite number"):
            figures.ablation_bars(nothing, tmp_path / "never.png")


def test_bars_have_the_height_of_the_mean_and_start_at_zero(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("eqssl_jax.figures.floors.save", lambda f, path: drawn.append(f))
    results = {
        "inv": [result({"knn": 0.4}), result({"knn": 0.6})],
        "inv + equi": [result({"knn": 0.2})],
    }
    figures.ablation_bars(results, tmp_path / "x.png", metrics=["knn"])
    bars, table = drawn[0].axes[:2]
    assert [(b.get_y(), round(b.get_height(), 6)) for b in bars.patches] == [(0, 0.5), (0, 0.2)]
    assert bars.get_ylim()[0] == 0
    dark = [line for line in table.lines if line.get_color() == "#222222"]
    assert [list(map(int, line.get_ydata())) for line in dark] == [[0], [0, 1]]
    assert [label.get_text() for label in table.get_yticklabels()] == ["inv", "equi"]


def test_positive_histograms(tmp_path):
    rng = np.random.default_rng(0)
    cosines = {
        "unif": np.clip(1 - np.abs(rng.normal(size=(5, 90))), -1, 1),
        "equi": np.ones((5, 90), np.float16),
    }
    picture = twice(lambda path: figures.positive_histograms(cosines, path), tmp_path)
    figures.positive_histograms({"equi": cosines["equi"]}, tmp_path / "one.png")
    assert (picture.shape) != read(tmp_path / "one.png").shape
    with pytest.raises(ValueError, match="at least one run"):
        figures.positive_histograms({}, tmp_path / "never.png")
    with pytest.raises(ValueError, match="'a' must lie in"):
        figures.positive_histograms({"a": np.full((2, 5), 1.5)}, tmp_path / "never.png")
