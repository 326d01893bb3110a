"""Curves and figures of a page: in their places, in the colours of their runs, not too large."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from parsed_page import Page, evaluation, png
from PIL import Image
from test_page import a_run, parsed

from eqssl_jax import page
from eqssl_jax.page import gallery, training
from eqssl_jax.page.gallery import LARGE, WIDEST, embed
from eqssl_jax.page.runs import floors_words
from eqssl_jax.tabular.metrics import FLOORS, TITLES


def points(panel, kind):
    """Numbers of the drawn paths or dots."""
    paths = [e for e in panel.iter("path") if e.get("class") == kind]
    pairs = [re.findall(r"[-\d.]+", e.get("d")) for e in paths]
    return [np.array(pair, float).reshape(-1, 2) for pair in pairs]


@pytest.mark.parametrize("log", [False, True])
def test_a_curve_is_where_its_values_are(log):
    steps = np.arange(10.0)
    values = 10.0 ** -np.arange(10.0) if log else np.cos(steps)
    panel = training.panel("a", {"run": (steps, values)}, order=["run"], last_step=9)
    (drawn,) = points(panel, None)
    expected = np.log10(values) if log else values
    for drawn_values, wanted in ((drawn[:, 0], steps), (drawn[:, 1], -expected)):
        scaled = (wanted - wanted.min()) / np.ptp(wanted)
        np.testing.assert_allclose(
            (drawn_values - drawn_values.min()) / np.ptp(drawn_values), scaled, atol=2e-3
        )
    assert (
        drawn[:, 0].min() >= training.LEFT
        and drawn[:, 0].max() <= training.WIDTH - training.RIGHT + 0.1
    )
    assert (
        drawn[:, 1].min() > training.TOP and drawn[:, 1].max() < training.HEIGHT - training.BOTTOM
    )
    assert ("logarithmic" in panel.find("svg").get("aria-label")) == log
    hints = [e.text for e in panel.iter("title")]
    assert hints[0] == "run, step 0: 1" and len(hints) == 10


def test_a_long_curve_keeps_its_extremes_and_shows_its_mean():
    values = np.zeros(20_000)
    values[7001], values[9002] = 5.0, -5.0
    steps = np.arange(20_000.0)
    panel = training.panel("a", {"run": (steps, values)}, order=["run"], last_step=2e4)
    ((faint,), (mean,)) = points(panel, "faint"), points(panel, None)
    assert len(faint) <= training.MOST and len(mean) <= training.MOST
    assert np.ptp(faint[:, 1]) > 0.85 * (training.HEIGHT - training.BOTTOM - training.TOP)
    assert np.ptp(mean[:, 1]) < 0.1 * np.ptp(faint[:, 1])


def test_colours_follow_the_run_and_not_the_panel():
    only_second = {"second": (np.arange(3.0), np.arange(3.0))}
    panel = training.panel("a", only_second, order=["first", "second"], last_step=2)
    assert [g.get("class") for g in panel.iter("g")][1] == "line c1"
    assert training.line_class(7) == {"class_": "c0", "stroke_dasharray": "6 4"}


def test_a_small_figure_is_itself_and_a_large_one_becomes_smaller():
    small = png(colour=(10, 200, 30))
    made = embed(small)
    same = io.BytesIO(base64.b64decode(made.uri.partition("base64,")[2]))
    with Image.open(same) as image:  # without loss, whatever the format
        assert image.size == (40, 20) and image.convert("RGB").getpixel((3, 3)) == (10, 200, 30)
    assert len(same.getvalue()) <= len(small)
    assert (made.width, made.height, made.changed) == (40, 20, "")
    large = png(2 * WIDEST, 100, noise=True)
    assert len(large) > LARGE
    made = embed(large)
    data = base64.b64decode(made.uri.removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (WIDEST, 50)
    assert made.width == 2 * WIDEST and "as WebP" in made.changed
    assert embed(b"") is None and embed(small[:60]) is None


def test_equal_figures_stand_once_and_kinds_in_their_order():
    first, second = (
        a_run("a", figures={"odd_one": png(), "cosines": png(60), "curves": png(61)}),
        a_run("b", figures={"odd_one": png(), "cosines": png(62)}),
    )
    document = parsed(first, second)
    assert [t for _, _, t in document.all("h3")] == ["Cosines under augmentation", "Odd one"]
    assert [a["width"] for _, a, _ in document.all("img")] == ["60", "62", "40"]
    captions = [t for _, _, t in document.all("figcaption")]
    assert captions[-3:] == ["a", "b", "a, b"]


def test_every_figure_of_a_study_has_a_caption_and_no_file_name():
    source = (Path(page.__file__).parents[1] / "studies" / "figures.py").read_text()
    kinds = re.findall(r'_named\(stem, "(\w+)"\)', source)
    assert len(kinds) >= 8
    names = [f"loss_ablation-small_{kind}" for kind in dict.fromkeys(kinds)]
    shared = {name: png(40 + i) for i, name in enumerate([*names, "gamma-paper_over_training"])}
    document = parsed(a_run(figures={"ladders": png(30)}), shared=shared)
    assert {a["width"] for _, a, _ in document.all("img")} == {
        str(width) for width in (30, *range(40, 40 + len(shared)))
    }
    for _, attributes, _ in document.all("img"):
        assert not re.search(r"_|png|-small", attributes["alt"])
    headings = [text for _, _, text in document.all("h3")]
    assert headings[0] == "Over training: gamma, paper"  # a study after the other, then the runs
    assert all(text.endswith(": loss ablation, small") for text in headings[1:-1])
    assert headings[-1] == "Ladders" and len(set(headings)) == len(headings)
    assert all(gallery.describe_figure(name)[1] for name in shared)
    # The same kind of a run is another figure.
    of_study = gallery.describe_figure("circle-small_cosines")[1]
    assert of_study != gallery.describe_figure("cosines")[1]


def test_a_hyphen_alone_makes_no_study():
    assert gallery.describe_figure("a-small_thing") == ("A-small thing", "")
    heading, caption = gallery.describe_figure("comparison (runs/a-small_points)")
    assert heading == "Runs beside each other (runs/a-small_points)" and caption


def test_every_floor_has_its_line_and_its_word():
    assert set(training.LEVELS) == set(TITLES.values())
    result = {"encoders": {name: {"knn": {"value": 0.5}} for name in ("trained", *FLOORS)}}
    words = floors_words(result)
    assert all(f"{word} 50.0%" in words for word in ("untrained", "raw pixels", "raw coordinates"))


def test_paper_is_white():
    style = parsed(a_run()).all("style")[0][2]
    queries = re.findall(r"@media ([^{]+)\{", style)
    assert [q.strip() for q in queries if "dark" in q] == [
        "screen and (prefers-color-scheme: dark)"
    ]


def test_a_page_has_a_limit(monkeypatch):
    monkeypatch.setattr(gallery, "LIMIT", 400_000)
    monkeypatch.setattr(gallery, "BUDGET", 300_000)
    figures = {f"odd_{i}": png(600 + i, 300, noise=True) for i in range(5)}
    run = a_run(figures=figures, evaluations={})
    text = page.html_page([run])
    assert len(text) < 500_000
    assert "figures were left out" in Page(text).text()


def test_evaluations_of_several_steps_are_curves_over_their_floors():
    document = parsed(a_run(), a_run("b", evaluations={40: evaluation(40, 0.9)}))
    hints = [text for _, _, text in document.all("title")]
    assert "care, step 20: 60%" in hints and "care, step 40: 70%" in hints
    assert "chance: 10%" in hints
    assert "b, step 40: 90%" not in hints  # one step is no course
    # The random encoder has the same γ at both steps, but (in this example) not kNN.
    assert [hint for hint in hints if hint.startswith("random encoder")] == ["random encoder: 0.2"]
    once = parsed(a_run(evaluations={40: evaluation(40, 1)}))
    assert "Evaluated over training" not in once.text()
