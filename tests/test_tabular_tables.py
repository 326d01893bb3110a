"""Tables: what stands in which cell, and how it is written."""

import csv
import io
import math

import pytest

from eqssl_jax import tabular


def result(trained, random=None, pixels=None, chance=None, skipped=None, step=1200):
    """An evaluation result from plain values or (value, sd) pairs."""

    def encoder(values):
        pairs = {
            name: number if isinstance(number, tuple) else (number, None)
            for name, number in (values or {}).items()
        }
        return {name: {"value": v, "sd": sd, "n": 3} for name, (v, sd) in pairs.items()}

    return {
        "step": step,
        "dataset": "shapes",
        "encoders": {
            "trained": encoder(trained),
            "random": encoder(random),
            "pixels": encoder(pixels),
        },
        "settings": {},
        "chance": chance or {},
        "skipped": skipped or {},
    }


@pytest.fixture
def results():
    floors = {
        "random": {"knn": 0.31, "wahba_per_root_n": 0.6},
        "pixels": {"knn": 0.28},
        "chance": {"knn": 0.125},
    }
    return {
        "simclr": result({"wahba_per_root_n": (0.345, 0.0123), "knn": (0.7123, 0.0041)}, **floors),
        "care": result({"wahba_per_root_n": 0.2, "knn": 0.72, "r2_hue": 0.81}, **floors),
    }


def test_columns_are_runs_then_floors_and_rows_follow_the_table_of_metrics(results):
    table = tabular.comparison_table(results)
    assert table.columns == ("simclr", "care", "random encoder", "raw pixels", "chance")
    assert [row.metric for row in table.rows] == ["knn", "wahba_per_root_n", "r2_hue"]
    assert [cell.value for cell in table.rows[0].cells] == [0.7123, 0.72, 0.31, 0.28, 0.125]
    assert [cell.value for cell in table.rows[2].cells] == [None, 0.81, None, None, None]


def test_chosen_metrics_keep_their_order_and_may_be_missing_everywhere(results):
    table = tabular.comparison_table(results, ["r2_hue", "knn", "gamma"])
    assert [row.metric for row in table.rows] == ["r2_hue", "knn", "gamma"]
    assert all(cell.value is None for cell in table.rows[2].cells)


def test_fewer_neighbours_than_usual_are_said(results):
    results["care"]["settings"] = {"knn_neighbours": 40}
    note = "kNN is by 40 neighbours instead of 200."
    assert note in tabular.comparison_table(results).sheet().notes
    assert note not in tabular.comparison_table(results, ["r2_hue"]).sheet().notes


def test_text_and_markdown_hold_every_cell_under_its_heading(results):
    sheet = tabular.comparison_table(results).sheet()
    lines = tabular.as_text(sheet).splitlines()
    rule = next(i for i, line in enumerate(lines) if set(line) == {"─"})
    assert lines[rule - 1].split() == ["simclr", "care", "encoder", "raw", "pixels", "chance"]
    assert len({len(line) for line in lines[rule : rule + 4]}) == 1  # right-aligned under the rule
    body = {row[0]: row[1:] for row in sheet.rows}
    assert body["kNN accuracy ↑"] == ("71.2 (0.4)%", "72.0%", "31.0%", "28.0%", "12.5%")
    assert body["Wahba error W/√n ↓"] == ("0.345 (0.012)", "0.200", "0.600", "–", "–")
    for line, (name, *cells) in zip(lines[rule + 1 :], sheet.rows, strict=False):
        assert line.split() == " ".join([name, *cells]).split()
    markdown = tabular.as_markdown(sheet).splitlines()
    assert markdown[0] == "| Metric | simclr | care | random encoder | raw pixels | chance |"
    assert markdown[1].count("---:") == len(sheet.columns)
    for line, row in zip(markdown[2:], sheet.rows, strict=False):
        assert [cell.strip() for cell in line.strip("|").split("|")] == list(row)


def test_a_spread_over_trainings_is_told_from_one_within_a_training(results):
    trainings = [result({"knn": (value, 0.004)}, pixels={"knn": 0.2}) for value in (0.6, 0.7, 0.8)]
    several = tabular.merged(trainings)
    knn = several["encoders"]["trained"]["knn"]
    assert knn == {"value": pytest.approx(0.7), "sd": pytest.approx(0.1), "n": 3, "trainings": 3}
    assert several["encoders"]["pixels"]["knn"]["value"] == 0.2  # the same for all: no spread
    table = tabular.comparison_table({"care": several, "simclr": results["simclr"]}, ["knn"])
    [[_, care, simclr, *_floors]] = table.sheet().rows
    assert (care, simclr) == ("70.0 ± 10.0%", "71.2 (0.4)%")
    assert "± one standard deviation over 3 trainings" in table.notes[0]
    assert "(in brackets)" in table.notes[0] and "of one training" in table.notes[0]


def test_runs_that_differ_in_their_seed_alone_are_one_column():
    config = {"train": {"steps": 3}, "model": {"encoder": "a"}}
    other = {"train": {"steps": 4}, "model": {"encoder": "a"}}
    configs = {
        **{f"care, seed {s}": {**config, "seed": s} for s in range(3)},
        "simclr_seed0": {**other, "seed": 0}, "simclr_seed1": {**other, "seed": 1},
        "alone": {"seed": 0},
    }  # fmt: skip
    assert tabular.by_seed(configs) == {
        "care": [f"care, seed {s}" for s in range(3)],
        "simclr": ["simclr_seed0", "simclr_seed1"],
        "alone": ["alone"],
    }
    # Names without a common stem are all said; a stem that is another run's name is not taken.
    assert tabular.by_seed({"a": {"seed": 0}, "b": {"seed": 1}}) == {"a, b": ["a", "b"]}
    taken = {"x": other, "x_0": {**config, "seed": 0}, "x_1": {**config, "seed": 1}}
    assert tabular.by_seed(taken) == {"x": ["x"], "x_0, x_1": ["x_0", "x_1"]}


def test_a_short_table_shows_the_measurements_of_the_roles_in_use():
    measured = ["r2_hue", "gamma", "effective_rank", "rotation_residual", "invariance_error",
                "order_accuracy_amid_rotate", "magnitude_r2_rotate", "order_accuracy_amid_hue",
                "change_r2_hue", "knn"]  # fmt: skip
    ordered = tabular.headlines(measured, [{"rotate": "ordered", "hue": "off"}])
    assert ordered == ["knn", "order_accuracy_amid_rotate", "magnitude_r2_rotate"]
    rotational = tabular.headlines(measured, [{"hue": "rotational"}])
    # γ and the unexplained share lead, never without effective rank and invariance.
    assert rotational == ["knn", "gamma", "rotation_residual", "invariance_error", "effective_rank"]
    assert "change_r2_hue" in tabular.headlines(measured, [{"hue": "predicted"}])
    assert tabular.headlines(measured, []) == rotational


def test_markdown_survives_a_bar_in_a_name():
    text = tabular.as_markdown(tabular.comparison_table({"a|b": result({"knn": 0.5})}).sheet())
    assert text.splitlines()[0] == "| Metric | a\\|b |"


def test_csv_holds_the_same_numbers_to_the_last_bit(results):
    results["simclr"]["encoders"]["trained"]["knn"]["value"] = 1 / 3
    table = tabular.comparison_table(results)
    rows = list(csv.DictReader(io.StringIO(tabular.as_csv(table.sheet()))))
    assert [row["metric"] for row in rows] == [row.metric for row in table.rows]
    assert [row["better"] for row in rows] == ["higher", "lower", "higher"]
    for written, row in zip(rows, table.rows, strict=True):
        for name, cell in zip(table.columns, row.cells, strict=True):
            assert written[name] == ("" if cell.value is None else repr(cell.value))
            assert written[f"{name} sd"] == ("" if cell.sd is None else repr(cell.sd))
    assert float(rows[0]["simclr"]) == 1 / 3


def test_floors_that_differ_get_a_column_for_each_group_of_runs(results):
    results["care"]["encoders"]["random"]["knn"]["value"] = 0.35
    results["again"] = results["care"]
    table = tabular.comparison_table(results, ["knn"])
    assert table.columns == (
        *("simclr", "care", "again"),
        *("random encoder (simclr)", "random encoder (care, again)"),
        *("raw pixels", "chance"),
    )
    values = [cell.value for cell in table.rows[0].cells]
    assert values == [0.7123, 0.72, 0.72, 0.31, 0.35, 0.28, 0.125]


def test_a_floor_that_is_nan_in_all_runs_has_one_column():
    runs = {name: result({"knn": 0.5}, random={"knn": float("nan")}) for name in "ab"}
    table = tabular.comparison_table(runs)
    assert table.columns == ("a", "b", "random encoder")
    assert math.isnan(table.rows[0].cells[2].value)
    assert "nan" in tabular.as_text(table.sheet())


def test_a_run_may_be_called_like_a_floor():
    runs = {"raw pixels": result({"knn": 0.5}, pixels={"knn": 0.2})}
    table = tabular.comparison_table(runs)
    assert table.columns == ("raw pixels", "raw pixels")
    assert [cell.value for cell in table.rows[0].cells] == [0.5, 0.2]


def test_many_runs_stay_within_the_width_and_lose_nothing():
    runs = {
        f"a rather long name of a run, number {i}": result(
            {"knn": (0.1 + i / 100, 0.01), "some_metric_without_an_entry_in_the_table_" * 2: i}
        )
        for i in range(12)
    }
    text = tabular.as_text(tabular.comparison_table(runs).sheet())
    assert max(map(len, text.splitlines())) <= 80
    for i in range(12):
        assert f"{10 + i:.1f} (1.0)%" in text
    narrow = tabular.as_text(tabular.comparison_table(runs).sheet(), width=60)
    assert max(map(len, narrow.splitlines())) <= 60


def test_notes_name_what_differs_and_what_was_skipped():
    runs = {
        "a": result({"knn": 0.5}, skipped={"r2_hue": "no hue is known.", "gamma": "0/0"}),
        "b": result({"knn": 0.5}, skipped={"r2_hue": "no hue is known."}, step=900),
    }
    assert tabular.comparison_table(runs).notes == (
        "a: shapes, step 1200; b: shapes, step 900. ↑ higher is better, ↓ lower is better.",
        "Not measured in a: Relative equivariance γ (0/0).",
        "Not measured: R² of hue (no hue is known).",
    )


@pytest.mark.parametrize(
    ("name", "value", "sd", "text"),
    [
        ("knn", 0.5, None, "50.0%"),
        ("knn", 0.5, 0.0, "50.0 (0.0)%"),
        ("wahba", 12.0, 0.4, "12.0 (0.40)"),
        ("wahba", 123.4, 11.0, "123 (11)"),
        ("gram_error", 4.1234e-6, None, "4.12e-06"),
        ("gamma_dropped", 12345, None, "12,345"),
        ("gamma", float("nan"), 0.1, "nan"),
        ("never_heard_of", 0.25, None, "0.250"),
        ("never_heard_of", None, None, "–"),
    ],
)
def test_numbers_as_they_are_printed(name, value, sd, text):
    table = tabular.comparison_table({"a": result({"knn": 0.5} | {name: (value, sd)})}, [name])
    assert tabular.as_markdown(table.sheet()).splitlines()[2].split(" | ")[1].rstrip(" |") == text


@pytest.mark.parametrize(
    ("name", "title", "better"),
    [
        ("care_probe_top1", "Linear probe as in CARE, top-1", "higher"),
        ("invariance_error", "Invariance error", None),
        ("r2_position_x_out_of_range", "R² of position x, out of range", "higher"),
        ("order_accuracy", "Order accuracy", "higher"),
        ("orbit_error", "orbit error", "lower"),
        ("entropy", "entropy", None),
    ],
)
def test_every_metric_has_a_title_and_a_direction(name, title, better):
    metric = tabular.describe(name)
    assert (metric.title, metric.better) == (title, better)


def test_the_headlines_are_known_metrics():
    assert set(tabular.HEADLINES) <= set(tabular.METRICS)


def test_wahba_over_root_n_leads_nowhere_and_gamma_has_company():
    """A low W/√n is also that of an invariant or collapsed encoder (docs: measures)."""
    measured = dict.fromkeys(tabular.METRICS)
    for headlines in (tabular.HEADLINES, tabular.headlines(measured, [{"hue": "rotational"}])):
        assert not [name for name in headlines if "wahba" in name]
        assert {"gamma", "rotation_residual", "effective_rank", "invariance_error"} <= {*headlines}


def test_what_cannot_be_compared_is_refused(results):
    with pytest.raises(ValueError, match="nothing to compare"):
        tabular.comparison_table({})
    with pytest.raises(ValueError, match="'simclr' holds no metric of its trained encoder"):
        tabular.comparison_table({"simclr": {"step": 3}})
    with pytest.raises(ValueError, match=r"'knnn'.*knn, "):
        tabular.comparison_table(results, ["knn", "knnn"])
