"""The page: well-formed, self-contained, escaped, true to its numbers, whole with parts missing."""

import math

import pytest
from parsed_page import Page, check, evaluation, png

from eqssl_jax import page, tabular
from eqssl_jax.config import base, plain
from eqssl_jax.page import numbers, summary
from eqssl_jax.page.runs import Run, steps_words
from eqssl_jax.tabular.tables import Cell, cell_text

EVIL = '<script>alert("x")</script>\'"><img src=http://evil.example/x>&amp;'


def a_run(name="care", *, knn=0.7, seed=0, **changes):
    config = plain(base())
    config["seed"], config["train"]["steps"] = seed, 40
    records = [{"step": s, "loss": 5.0 - s / 40, "learning_rate": 10.0**-s} for s in range(1, 41)]
    records += [{"step": 20, "validation_knn": 0.6}, {"step": 40, "validation_knn": 0.5}]
    start = {
        "from_step": 0, "steps": 40, "started": "2026-01-01T00:00:00+00:00", "python": "3.11.0",
        "packages": {"jax": "0.10.0"}, "device": {"kind": "cpu", "count": 1, "cores": 2},
        "commit": {"hash": "abcdef0123456789", "changed": True},
        "command": "python -m eqssl_jax.main --config=configs/care.py --workdir=runs/care",
    }  # fmt: skip
    values = {
        "folder": f"runs/{name}",
        "config": config,
        "records": records,
        "evaluations": {20: evaluation(20, knn - 0.1), 40: evaluation(40, knn)},
        "figures": {"views": png(), "odd_one": png(41)},
        "starts": [start],
    }
    return Run(name, **(values | changes))


def parsed(*runs, **more):
    return Page(page.html_page(runs, **more))


def test_a_whole_page_is_well_formed_and_needs_no_network():
    document = parsed(a_run(), a_run("simclr", knn=0.6, seed=1), shared={"comparison": png(30)})
    check(document)
    assert document.elements[0][0] == "html" and document.elements[0][1]["lang"] == "en"
    headings = [text for _, _, text in document.all("h2")]
    assert headings == [
        "At a glance", "Training", "Numbers", "Evaluated over training", "Figures", "Settings",
        "To repeat it",
    ]  # fmt: skip


def test_equal_input_gives_an_equal_page():
    assert page.html_page([a_run()]) == page.html_page([a_run()])


def test_columns_are_grouped_into_runs_and_floors():
    document = parsed(a_run(), a_run("simclr", knn=0.6))
    (_, *groups), (_, *columns), *_ = document.rows("What was measured")
    assert [(t, a["colspan"]) for a, t in groups] == [("Trained", "2"), ("To be beaten", "3")]
    floors = ["random encoder (care)", "random encoder (simclr)", "chance"]
    assert [text for _, text in columns] == ["care", "simclr", *floors]


def test_many_numbers_are_folded_under_the_headlines():
    run = a_run()
    for i in range(20):
        run.evaluations[40]["encoders"]["trained"][f"r2_{i}"] = {"value": i / 7, "sd": None}
    document = parsed(run)
    assert [c[0][1] for c in document.rows("In short")][2:] == [
        "kNN accuracy ↑",
        "Relative equivariance γ ↓",
    ]
    rows = document.rows("All measurements")
    assert len(rows) == 2 + 4 + 23  # headings, a heading for each group, all measurements
    assert [c[0][1] for c in rows if c[0][0].get("scope") == "rowgroup"][2:] == [
        "Kendall τ",
        "Known factors",
    ]
    assert rows[-1][1][0]["title"] == repr(19 / 7)


def test_every_number_of_the_latest_step_stands_on_the_page_in_full():
    run = a_run()
    rows = parsed(run).rows("What was measured")
    by_title = {cells[0][1]: cells[1:] for cells in rows}
    for name, number in run.evaluations[40]["encoders"]["trained"].items():
        title = f"{tabular.describe(name).title} {'↓' if name == 'gamma' else '↑'}"
        attributes, text = by_title[title][0]
        assert float(attributes["title"]) == number["value"]
        assert text == cell_text(name, Cell(number["value"], number["sd"]))
        floor = run.evaluations[40]["encoders"]["random"][name]["value"]
        assert float(by_title[title][1][0]["title"]) == floor
    assert "40 of 40 steps" in parsed(run).text()
    assert "50.0% at step 40; the best, 60.0% at step 20" in parsed(run).text()
    assert "kNN accuracy on test 70.0% (untrained 60.0%, chance 10.0%)" in parsed(run).text()


def named_throughout(name):
    """Runs that carry `name` wherever a text can stand."""
    config = plain(base())
    config["data"]["name"] = config["model"]["encoder"] = name
    config["roles"] = {name: name}
    result = evaluation(40, 0.5)
    result["dataset"] = result["settings"]["split"] = name
    result["skipped"] = {name: name}
    result["encoders"]["trained"][name] = {"value": 0.5, "sd": None, "n": 1}
    start = {"command": name, "python": name, "packages": {name: name}}
    records, figures = [{"step": 1, name: 1.0}], {name: png()}
    run = Run(name, name, config, records, {40: result}, figures, [start], [name])
    return run, run._replace(name=name + "2")


@pytest.mark.parametrize("count", [1, 2])
def test_names_values_and_notes_are_text_and_never_markup(count):
    evil, tame = (
        Page(page.html_page(named_throughout(name)[:count], shared={name + "3": png(50)}))
        for name in (EVIL, "tame")
    )
    check(evil)
    # A hostile name makes no element and no attribute more than a tame one.
    shapes = [[(n, sorted(a)) for n, a, _ in document.elements] for document in (evil, tame)]
    assert shapes[0] == shapes[1]
    assert EVIL in evil.all("h1")[0][2] and evil.text().count(EVIL) >= 10


def test_text_that_utf8_cannot_hold():
    document = parsed(Run("\ud800", notes=["\udfff"]))
    document.text().encode("utf-8")


@pytest.mark.parametrize(
    "run",
    [
        Run("empty"),
        Run("config", config=plain(base())),
        a_run(records=()),
        a_run(evaluations={}, figures={}),
        a_run(starts=()),
        a_run(evaluations={40: {"encoders": {}}}),
        a_run(evaluations={40: {"encoders": {"trained": {"gamma": {"value": None, "sd": None}}}}}),
        a_run(evaluations={40: {"encoders": {"trained": {"knn": {"value": math.nan, "sd": 0.1}}}}}),
        a_run(evaluations={40: {"encoders": {"trained": {"gamma": {"value": 1.0}}}}}),
        a_run(records=[{"step": 1, "loss": math.nan}, {"step": 2, "loss": math.inf}]),
        a_run(records=[{"step": 1, "loss": "text", "list": [1], "none": None, "yes": True}]),
        a_run(records=[{"step": 3, "loss": 0.0}]),
        a_run(figures={"views": b"no image", "cosines": png()[:50]}),
        a_run(starts=[{"device": None, "commit": None, "packages": None, "command": None}]),
    ],
    ids=range(14),
)  # fmt: skip
def test_nothing_that_is_missing_breaks_the_page(run):
    check(parsed(run))
    check(parsed(run, a_run("whole")))


def test_what_is_missing_is_said():
    assert "Not evaluated yet" in parsed(a_run(evaluations={})).text()
    assert "Not evaluated yet: b." in parsed(a_run(), a_run("b", evaluations={})).text()
    assert "Not recorded for b" in parsed(a_run(), a_run("b", starts=())).text()
    broken = [{"step": 1, "loss": 1.0}, {"step": 2, "loss": math.nan, "info_nce": 1.0}]
    assert "loss not finite at step 2" in parsed(a_run(records=broken)).text()
    assert "1 figures were left out" in parsed(a_run(figures={"views": b"damaged"})).text()


def test_a_page_refuses_no_runs_and_equal_names():
    with pytest.raises(ValueError, match="at least one run"):
        page.html_page([])
    with pytest.raises(ValueError, match="own name"):
        page.html_page([Run("a"), Run("a")])


def test_steps_of_a_budget_in_steps_in_epochs_and_recorded():
    rows = [{"step": 1200, "loss": 1.0}]
    epochs = {"train": {"steps": 0, "epochs": 400.0}}
    assert steps_words(Run("a", records=rows, config=epochs)) == "1,200 steps (budget: 400 epochs)"
    run = Run("a", records=rows, config=epochs, starts=[{"steps": 1200}])
    assert steps_words(run) == "1,200 of 1,200 steps"
    assert steps_words(run._replace(records=rows[:0])) == "0 of 1,200 steps (unfinished)"


@pytest.mark.parametrize(
    ("metric", "cells", "options", "best"),
    [
        # √(2 · 0.02²) · 2 = 0.0566
        ("gamma", [Cell(0.1, 0.02), Cell(0.157, 0.02)], {}, 0),
        ("gamma", [Cell(0.1, 0.02), Cell(0.156, 0.02)], {}, None),
        ("r2_hue", [Cell(0.1, 0.02), Cell(0.157, 0.02)], {}, 1),  # higher is better
        ("natural", [Cell(0.1, 0.01), Cell(0.9, 0.01)], {}, None),  # no direction
        ("gamma", [Cell(0.1), Cell(0.9)], {}, None),  # nothing is known of the spread
        ("gamma", [Cell(0.1, 0.0), Cell(0.9, 0.0)], {}, None),  # equal seeds say nothing
        ("gamma", [Cell(0.1, 0.01), Cell(math.nan, 0.01)], {}, None),  # no other number
        ("gamma", [Cell(0.1, 0.01), Cell(0.9, 0.01), Cell(0.05, 0.01)], {}, None),  # a floor wins
        ("gamma", [Cell(0.1, 0.01), Cell(0.9, 0.01), Cell(0.5)], {"exact": [2]}, 0),
        ("gamma", [Cell(0.1, 0.01), Cell(0.9, 0.01), Cell(0.5)], {}, None),
        # 2 · √(2 · 0.25/100) = 0.141
        ("knn", [Cell(0.43), Cell(0.57)], {"images": 100}, None),
        ("knn", [Cell(0.42), Cell(0.57)], {"images": 100}, 1),
        ("knn", [Cell(0.42), Cell(0.57)], {}, None),
        # The seeds of a probe agree, but a hundred images say little.
        ("probe_top1", [Cell(0.5, 0.001), Cell(0.55, 0.001)], {"images": 100}, None),
    ],
)  # fmt: skip
def test_the_best_is_marked_only_where_it_is_clear(metric, cells, options, best):
    several = [cell._replace(trainings=3) for cell in cells]
    assert numbers.clearly_best(metric, several, runs=2, **options) == best
    # No ranking from one training, nor from two.
    for fewer in (1, 2):
        few = [several[0], several[1]._replace(trainings=fewer), *several[2:]]
        assert numbers.clearly_best(metric, few, runs=2, **options) is None


def test_one_run_is_never_the_best():
    assert numbers.clearly_best("gamma", [Cell(0.1, 0.01), Cell(0.9, 0.01)], runs=1) is None
    assert "strong" not in {name for name, _, _ in parsed(a_run()).elements}


def test_a_mark_stands_in_the_table_of_the_run_it_is_of():
    def trained(name, knn):
        config = plain(base())
        config["train"]["epochs"] = knn  # differs between the two methods alone
        return [
            a_run(f"{name}_{seed}", knn=knn + seed / 1000, config={**config, "seed": seed})
            for seed in range(3)
        ]

    document = parsed(*trained("worse", 0.4), *trained("better", 0.75))
    rows = {cells[0][1]: cells[1:] for cells in document.rows("What was measured")}
    assert [text for a, text in rows["kNN accuracy ↑"] if "clearly" in (a.get("title") or "")] == [
        "75.1 ± 0.1%"
    ]


def test_settings_say_what_differs():
    first, second = a_run("a"), a_run("b", seed=7)
    second.config["roles"] = {"crop": "off"}
    second.config["model"]["encoder"] = first.config["model"]["encoder"] = "resnet50"
    document = parsed(first, second)
    rows = [[text for _, text in cells] for cells in document.rows("What differs between the runs")]
    assert rows == [["Setting", "a", "b"], ["roles.crop", "–", '"off"'], ["seed", "0", "7"]]
    caption = "What differs from the defaults in all of them"
    rows = [[text for _, text in cells] for cells in document.rows(caption)][1:]
    assert rows == [["model.encoder", '"resnet50"', '"resnet18"'], ["train.steps", "40", "0"]]
    whole = [text for _, _, text in document.all("pre") if '"encoder": "resnet50"' in text]
    assert len(whole) == 2


def test_defaults_that_only_name_a_part_are_no_difference():
    run = a_run()
    run.config.update(
        roles={"crop": "invariant"}, role_weights={"crop": 1.0}, sharing={"crop": "auto"}
    )
    rows = parsed(run).rows("What differs from the defaults")
    assert [cells[0][1] for cells in rows] == ["Setting", "train.steps"]


def test_the_environment_and_the_command_of_a_run():
    elsewhere = [*a_run().starts, {**a_run().starts[0], "python": "3.12.0", "from_step": 20}]
    document = parsed(a_run(), a_run("b", starts=elsewhere))
    rows = [[text for _, text in cells] for cells in document.rows("Where it was trained")]
    assert rows[0] == ["", "care, b", "b from step 20"]
    assert ["commit", *["abcdef012345, with uncommitted changes"] * 2] in rows
    assert ["python", "3.11.0", "3.12.0"] in rows and ["jax", "0.10.0", "0.10.0"] in rows
    commands = [text for _, _, text in document.all("pre")]
    assert commands.count(a_run().starts[0]["command"]) == 1
    assert summary.again("runs/care") in commands
