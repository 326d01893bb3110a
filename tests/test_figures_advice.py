"""Advice as a picture and as a table: what is marked, what is written, and what is refused."""

import csv
import io

import numpy as np
import pytest

from eqssl_jax import figures, tabular
from eqssl_jax.figures import roles

ROLES = ("ordered", "invariant")  # drawn in the order of the table of roles, not in this one
METRICS = ("natural", "order_accuracy", "knn", "probe_top1")
SHOWN = ["Linear probe, top-1", "Order accuracy", "Natural variation"]


def number(value, width=0.05):
    return {"value": value, "low": value - width, "high": value + width, "n": 3}


@pytest.fixture
def given():
    rng = np.random.default_rng(0)

    def tried():
        return {r: {m: number(float(rng.uniform(0.4, 0.8))) for m in METRICS} for r in ROLES}

    return {
        "metric": "probe_top1",
        "transformations": {
            "rotate": {"roles": tried(), "advice": "ordered", "reason": "it helps."},
            "hue": {"roles": tried(), "advice": None, "reason": "intervals overlap"},
        },
        "floor": {"probe_top1": 0.31, "knn": None},
    }


@pytest.fixture
def drawn_figures(monkeypatch):
    """The figures drawn in a test, as they were when they were saved."""
    drawn, save = [], roles.save
    monkeypatch.setattr(roles, "save", lambda f, path: (drawn.append(f), save(f, path)))
    return drawn


def titles(figure):
    return [" ".join(axes.get_title("left").split()) for axes in figure.axes]


def dots(axes):
    """Value, filled or not, and interval of each role, from top to bottom."""
    drawn = []
    for container in axes.containers:
        point, _, bars = container.lines
        ends = bars[0].get_segments()[0][:, 0] if bars else None
        filled = point.get_markerfacecolor() == point.get_color()
        drawn.append((point.get_ydata()[0], point.get_xdata()[0], filled, ends))
    return [dot_values for _, *dot_values in sorted(drawn, key=lambda dot: dot[0])]


def test_every_role_has_a_dot_and_only_the_advised_ones_are_filled(given, tmp_path, drawn_figures):
    figures.advice(given, tmp_path / "new" / "advice.png")
    assert (tmp_path / "new" / "advice.png").stat().st_size > 0
    assert titles(drawn_figures[0]) == SHOWN
    order = [("rotate", "invariant"), ("rotate", "ordered"), ("hue", "invariant")]
    order.append(("hue", "ordered"))
    for axes, metric in zip(
        drawn_figures[0].axes, ("probe_top1", "order_accuracy", "natural"), strict=True
    ):
        for (part, role), (value, filled, ends) in zip(order, dots(axes), strict=True):
            wanted = given["transformations"][part]["roles"][role][metric]
            assert value == wanted["value"]
            np.testing.assert_allclose(ends, [wanted["low"], wanted["high"]])
            assert filled == ((part, role) == ("rotate", "ordered"))
    labels = drawn_figures[0].axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == [role for _, role in order]
    assert [label.get_fontweight() for label in labels] == ["normal", "bold", "normal", "normal"]
    words = [text.get_text() for text in drawn_figures[0].axes[0].texts]
    assert {"rotate", "hue"} <= set(words) and words.count("no clear difference") == 1


def test_what_cannot_be_told_apart_is_drawn_as_one(given, tmp_path, drawn_figures):
    figures.advice(given, tmp_path / "a.png")
    bars = [
        patch.get_bbox() for patch in drawn_figures[0].axes[0].patches
        if patch.get_facecolor()[:3] == pytest.approx([0xDC / 255] * 3)
    ]  # fmt: skip
    trials = [part["probe_top1"] for part in given["transformations"]["hue"]["roles"].values()]
    assert len(bars) == 1
    assert bars[0].x0 == min(t["low"] for t in trials)
    assert bars[0].x1 == pytest.approx(max(t["high"] for t in trials))


def test_without_labels_the_panels_without_labels_are_all(given, tmp_path, drawn_figures):
    for part in given["transformations"].values():
        for trial in part["roles"].values():
            del trial["probe_top1"], trial["knn"]
    figures.advice(given, tmp_path / "a.png")
    assert titles(drawn_figures[0]) == SHOWN[1:]
    table = tabular.advice_table(given)
    assert table.metrics == ("order_accuracy", "natural") and not table.floor


def test_a_deciding_metric_without_labels_leads(given, tmp_path, drawn_figures):
    figures.advice(given | {"metric": "natural"}, tmp_path / "a.png")
    assert titles(drawn_figures[0]) == [SHOWN[2], SHOWN[0], SHOWN[1]]


def test_numbers_may_be_missing(given, tmp_path, drawn_figures):
    trial = given["transformations"]["rotate"]["roles"]["ordered"]
    trial["probe_top1"] = {"value": float("nan"), "low": None, "high": None, "n": 0}
    trial["order_accuracy"] = {"value": 0.7}
    del trial["natural"]
    figures.advice(given, tmp_path / "a.png")
    assert [len(dots(axes)) for axes in drawn_figures[0].axes] == [3, 4, 3]
    row = tabular.as_markdown(tabular.advice_table(given).sheet()).splitlines()[3]
    assert row.startswith("| rotate | ✓ ordered | – | ")
    assert "| 70.0% | – |" in row


def test_equal_figures_are_equal_files(given, tmp_path):
    for name in "ab":
        figures.advice(given, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.fixture
def small():
    return {
        "metric": "knn",
        "transformations": {
            "rotate": {
                "roles": {
                    "ordered": {"knn": number(0.7, 0.0125), "info_nce": {"value": 3.0}},
                    "invariant": {"knn": number(0.6)},
                },
                "advice": "ordered",
                "reason": "it helps",
            },
            "hue": {"roles": {"off": {"knn": number(0.5)}}, "advice": None, "reason": ""},
        },
        "floor": {"knn": 0.3},
    }


def test_text_and_markdown_hold_every_role_its_interval_and_the_reason(small):
    sheet = tabular.advice_table(small).sheet()
    text, markdown = tabular.as_text(sheet), tabular.as_markdown(sheet)
    for words in ("60.0% [55.0, 65.0]", "70.0% [68.8, 71.2]", "50.0% [45.0, 55.0]", "3.000"):
        assert words in text and words in markdown
    for note in ("rotate: ordered – it helps", "hue: no clear difference", "kNN accuracy 30.0%."):
        assert note in text and note in markdown
    # One role is marked, and a transformation is named once in the text.
    assert [line.split()[:2] for line in text.splitlines() if "✓ ordered" in line]
    assert text.count("✓ ordered") == markdown.count("✓ ordered") == 1
    assert sum(line.startswith("rotate  ") for line in text.splitlines()) == 1
    assert sum(line.startswith("| rotate |") for line in markdown.splitlines()) == 2


def test_csv_holds_the_same_numbers_to_the_last_bit(given):
    text = tabular.as_csv(tabular.advice_table(given).sheet())
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["advised"] for row in rows] == ["no", "yes", "no", "no"]
    for row in rows:
        trial = given["transformations"][row["transformation"]]["roles"][row["role"]]
        for metric, number in trial.items():
            assert float(row[metric]) == number["value"]
            assert float(row[f"{metric} low"]) == number["low"]
            assert float(row[f"{metric} high"]) == number["high"]
            assert int(row[f"{metric} n"]) == number["n"]


def test_a_large_table_stays_within_the_width_and_loses_nothing():
    metrics = ("probe_top1", "knn", "order_accuracy", "magnitude_r2", "info_nce", "natural")
    tried = {r: {m: number(0.5 + i / 100) for m in metrics} for i, r in enumerate(roles.ROLES)}
    part = {"roles": tried, "advice": "off", "reason": "because " * 30}
    parts = ("brightness", "a long name of a transformation")
    advice = {"metric": "knn", "transformations": dict.fromkeys(parts, part)}
    text = tabular.as_text(tabular.advice_table(advice).sheet())
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("52.0% [47.0, 57.0]") == 3 * 2
    assert text.count("because") == 60
