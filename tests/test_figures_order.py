"""Figures of order: sheets of ladders and equivariance spectra, and the names of their metrics."""

import numpy as np
import pytest

from eqssl_jax import figures, tabular
from eqssl_jax.figures import spectra
from eqssl_jax.tabular import metrics

PARTS = ["rotate", "hue", "blur"]
LAYERS = ["stem", "features", "embedding"]
METRICS = ["order_accuracy", "kendall_tau", "magnitude_r2"]


def measured(seed=0, layers=LAYERS, parts=PARTS):
    rng = np.random.default_rng(seed)
    numbers = {name: rng.uniform(-0.3, 1, (len(layers), len(parts))) for name in METRICS}
    return {"layers": layers, "parts": parts, **numbers}


@pytest.fixture
def drawn_figures(monkeypatch):
    """The figures drawn in a test, as they were when they were saved."""
    drawn, save = [], spectra.save
    monkeypatch.setattr(spectra, "save", lambda f, path: (drawn.append(f), save(f, path)))
    return drawn


def panels(figure):
    """The heat maps of a figure, without its colour bar."""
    return [axes for axes in figure.axes if axes.images]


def written(axes):
    """The words in the cells of a heat map, by row and column."""
    return {(round(t.get_position()[1]), round(t.get_position()[0])): t for t in axes.texts}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": {"rotate": np.zeros((3, 8, 8, 3))}}, r"'rotate' must be images \[V, n"),
        ({"images": {"rotate": np.full((3, 1, 8, 8, 3), 200.0)}}, "divide uint8"),
    ],
)
def test_ladders_that_cannot_be_drawn_are_refused(change, message, tmp_path):
    good = {
        "images": {"rotate": np.zeros((3, 1, 8, 8, 3))},
        "magnitudes": [0.0, 0.5, 1.0],
    }
    with pytest.raises(ValueError, match=message):
        figures.ladders(**(good | change), path=tmp_path / "never.png")
    assert not (tmp_path / "never.png").exists()


@pytest.mark.parametrize("metric", METRICS)
def test_a_spectrum_writes_its_numbers_in_its_cells(metric, tmp_path, drawn_figures):
    given = {"trained": measured(0), "own": measured(1, LAYERS[:1])}
    given["trained"][metric][0, 1] = np.nan
    figures.spectrum(given, tmp_path / "spectrum.png", metric=metric)
    grid = panels(drawn_figures[0])
    assert [axes.get_title("left") for axes in grid] == ["trained", "own"]
    for axes, spectrum in zip(grid, given.values(), strict=True):
        assert [label.get_text() for label in axes.get_xticklabels()] == PARTS
        assert [label.get_text() for label in axes.get_yticklabels()] == spectrum["layers"]
        texts = written(axes)
        assert len(texts) == spectrum[metric].size
        for place, value in np.ndenumerate(spectrum[metric]):
            text = texts[place].get_text()
            if np.isnan(value):
                assert text == "–"
            else:
                assert abs(float(text.replace("−", "-")) - value) <= 0.005 + 1e-9
    assert grid[0].get_ylim() == grid[1].get_ylim()  # equally high cells
    assert len({(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in grid}) == 1


def test_long_names_of_encoders_do_not_run_into_each_other(tmp_path, drawn_figures):
    given = {f"order-preserving, λ = 0.1, run {i}": measured(i, parts=["hue"]) for i in range(7)}
    figures.spectrum(given, tmp_path / "a.png", metric="kendall_tau")
    boxes = [axes._left_title.get_window_extent() for axes in panels(drawn_figures[0])]
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[i + 1 :])


def test_words_stand_out_from_their_cells(tmp_path, drawn_figures):
    given = measured()
    for metric in METRICS:
        given[metric] = np.linspace(0, 1, 9).reshape(3, 3)
        figures.spectrum({"a": given}, tmp_path / "a.png", metric=metric)
        axes = panels(drawn_figures[-1])[0]
        image = axes.images[0]
        for place, text in written(axes).items():
            cell = np.asarray(image.cmap(image.norm(given[metric][place]))[:3])
            dark = text.get_color() != "white"
            ink = np.full(3, 0x22 / 255) if dark else np.ones(3)
            assert _contrast(cell, ink) > 3


def _contrast(first, second):
    """The contrast ratio of two sRGB colours (WCAG 2.1)."""

    def luminance(colour):
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


def test_chance_is_the_pale_middle_of_order_accuracy(tmp_path, drawn_figures):
    given = measured() | {"order_accuracy": np.asarray([[0.0, 0.5, 1.0]] * 3)}
    figures.spectrum({"a": given}, tmp_path / "a.png", metric="order_accuracy")
    image = panels(drawn_figures[0])[0].images[0]
    below, chance, above = (image.cmap(image.norm(v))[:3] for v in (0.0, 0.5, 1.0))
    assert min(chance) > 0.95 and min(below) < 0.2 and min(above) < 0.2
    assert below[0] > below[2] and above[0] < above[2]  # reddish below, bluish above


def test_over_training_steps_are_columns_in_order(tmp_path, drawn_figures):
    given = {step: measured(step) for step in (1000, 0, 200)}
    path = tmp_path / "t.png"
    figures.spectrum_over_training(given, path, metric="kendall_tau")
    grid = panels(drawn_figures[0])
    assert [axes.get_title("left") for axes in grid] == ["features", "embedding"]
    for axes, layer in zip(grid, (1, 2), strict=True):
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "200", "1,000"]
        for (part, at), text in written(axes).items():
            value = given[(0, 200, 1000)[at]]["kendall_tau"][layer, part]
            assert abs(float(text.get_text().replace("−", "-")) - value) <= 0.005 + 1e-9
    many = {step: measured(step) for step in range(30)}
    figures.spectrum_over_training(many, path, metric="kendall_tau")
    assert not written(panels(drawn_figures[1])[0])  # no room for numbers


def test_spectra_that_cannot_be_drawn_are_refused(tmp_path):
    path, good = tmp_path / "never.png", measured()
    with pytest.raises(ValueError, match="'a' lacks kendall_tau"):
        figures.spectrum({"a": {"layers": LAYERS, "parts": PARTS}}, path, metric="kendall_tau")
    for given, message in (
        ({0: good, 5: measured(0, LAYERS[:2])}, "step 5 has"),
        ({0: {}}, "lacks layers, parts"),
    ):
        with pytest.raises(ValueError, match=message):
            figures.spectrum_over_training(given, path, metric="kendall_tau")
    assert not path.exists()


def test_equal_figures_are_equal_files(tmp_path):
    for name in "ab":
        figures.spectrum({"trained": measured()}, tmp_path / name, metric="kendall_tau")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("name", "title", "form"),
    [
        ("order_accuracy_rotate", "Order accuracy, rotate", ".1%"),
        ("order_accuracy_rotate_embedding", "Order accuracy, rotate, embedding", ".1%"),
        ("order_accuracy_amid_rotate", "Order amid other changes, rotate", ".1%"),
        ("kendall_tau_hue", "Kendall τ, hue", ".3f"),
        (
            "change_r2_jitter_hue_per_dimension_embedding",
            "Change R², jitter hue per dimension, embedding",
            ".3f",
        ),
        ("magnitude_r2_solarize_embedding", "Magnitude R², solarize, embedding", ".3f"),
        ("turntable_order_accuracy", "Turntable order accuracy", ".1%"),
        (
            "turntable_order_accuracy_embedding",
            "Turntable order accuracy, embedding",
            ".1%",
        ),
    ],
)
def test_metrics_of_order_have_titles(name, title, form):
    assert tabular.describe(name) == tabular.Metric(title, "higher", form)


def test_families_stand_together_features_before_embedding():
    families = [METRICS[0], "order_accuracy_amid", *METRICS[1:], "change_r2"]
    spread = [f"{f}_{p}{e}" for p in PARTS for e in ("_embedding", "") for f in families]
    wanted = [f"{f}_{p}{e}" for f in families for p in PARTS for e in ("", "_embedding")]
    assert metrics.in_order(["other", *spread, "knn"]) == ["knn", *wanted, "other"]


def test_a_table_of_many_transformations_stays_within_the_width():
    names = [f"{f}_{p}{e}" for f in METRICS for p in ("brightness", "saturation")
             for e in ("", "_embedding")]  # fmt: skip
    numbers = {name: {"value": 0.8, "sd": 0.01, "n": 3} for name in names}
    runs = {r: {"encoders": {"trained": numbers, "random": numbers}} for r in ("simclr", "care")}
    lines = tabular.as_text(tabular.comparison_table(runs).sheet()).splitlines()
    assert max(map(len, lines)) <= 80
    # A line each, in every block of columns.
    titles = [line.split("  ")[0] for line in lines if "80.0" in line or "0.800" in line]
    wanted = [f"{tabular.describe(name).title} ↑" for name in names]
    assert titles == wanted * (len(titles) // len(wanted)) and len(titles) >= len(wanted)
