"""Studies of the role of the rotation: what differs between their runs, and what they compare."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from eqssl_jax import methods, studies
from eqssl_jax.settings import differences
from eqssl_jax.studies import folders, roles
from eqssl_jax.studies.base import DataChoice, Outcome, read
from eqssl_jax.studies.scales import recognised
from eqssl_jax.training.checks import check_measurements

ROLES, FACTORS = studies.find("roles"), studies.find("order_factors")


def built(config):
    return methods.build(methods.resolved(config))


def changed(first, second):
    return {name: new for name, (_, new) in differences(first.to_dict(), second.to_dict()).items()}


def test_runs_differ_in_the_role_of_the_rotation_alone_and_the_control_has_no_loss():
    runs = ROLES.runs("smoke", DataChoice())
    assert list(runs) == [f"{role}@digits" for role in roles.ROLES]
    invariant, control = runs["invariant@digits"], runs["shared@digits"]
    for name, config in runs.items():
        assert set(changed(invariant, config)) <= {"roles.rotate", "role_weights.rotate"}, name
        check_measurements(config)
    losses = {name.partition("@")[0]: set(built(c).objectives) for name, c in runs.items()}
    assert losses["ordered"] == {"info_nce", "order_rotate"}
    assert losses["shared"] == losses["off"] == losses["invariant"] == {"info_nce"}
    assert len(losses["predicted"]) == 2
    table = methods.resolve(control, methods.build_recipe("factors", control.recipe.options))
    assert (table["rotate"].sharing, table["hue"].sharing) == ("shared", "independent")


def test_each_factor_of_the_order_loss_is_another_alone():
    runs = FACTORS.runs("reduced", DataChoice())
    usual = runs["ordered@digits"]
    expected = {
        f"{factor}_{value}@digits": value
        for factor, values in roles.FACTORS.items()
        for value in values
        if value != roles.USUAL[factor]
    }
    assert set(runs) == {"ordered@digits", *expected}
    for name, value in expected.items():
        assert list(changed(usual, runs[name]).values()) == [value], name
    order = methods.resolved(usual).objectives.order
    assert {key: order[key] for key in ("rungs", "margin", "form")} == {
        key: roles.USUAL[key] for key in ("rungs", "margin", "form")
    }
    ordered, control = (ROLES.runs("reduced", DataChoice())[f"{n}@digits"]
                        for n in ("ordered", "shared"))  # fmt: skip
    digest = folders.digest
    assert digest(methods.resolved(usual)) == digest(methods.resolved(ordered))
    assert digest(methods.resolved(runs["weight_0.0@digits"])) == digest(methods.resolved(control))


def test_folders_are_those_of_fruits_and_cells(tmp_path):
    folder = DataChoice("folder", str(tmp_path))
    assert recognised(folder, roles.DATA) == folder
    (tmp_path / "bccd_boxes.csv").touch()
    assert recognised(folder, roles.DATA).name == "bloodcells"
    assert recognised(folder, ("fruits360",)) == folder
    [invariant, *_] = ROLES.runs("reduced", folder).values()
    assert (invariant.data.name, invariant.data.options.task) == ("bloodcells", "kind")
    assert invariant.data.directory == str(tmp_path)
    (tmp_path / "bccd_boxes.csv").unlink()
    (tmp_path / "manifest.csv").write_text("path,approx_angle_deg\n")
    assert list(ROLES.runs("reduced", folder))[1] == "ordered@fruits360"


def outcome(seed, probe, amid):
    numbers = {"probe_top1": probe, roles.AMID: amid}
    trained = {name: {"value": value, "sd": None, "n": 1} for name, value in numbers.items()}
    result = {"encoders": {"trained": trained}, "chance": {}}
    return Outcome(ConfigDict({"seed": seed}), [], {6: result}, {})


def test_ordered_is_compared_with_invariant_and_with_its_control(tmp_path):
    level = {"invariant": 0.5, "ordered": 0.8, "predicted": 0.7, "off": 0.6, "shared": 0.75}
    jitter = np.array([0.0, 0.01, 0.03])
    trainings = {
        f"{role}@digits": [outcome(s, 0.9 - x / 10, x + j * (1 + x)) for s, j in enumerate(jitter)]
        for role, x in level.items()
    }
    written = ROLES.figure(trainings, tmp_path / "roles-smoke")
    texts = {path.name: path.read_text() for path in written if path.suffix == ".md"}
    assert set(texts) == {"roles-smoke-intervals.md", "roles-smoke-control-intervals.md"}
    [line] = [x for x in texts["roles-smoke-intervals.md"].splitlines() if x.startswith("| off@")]
    assert "| 0.840 ± 0.000 (no p) | 0.621 ± 0.061 (better, p 0.000) |" in line, line
    control = texts["roles-smoke-control-intervals.md"]
    assert "difference to\nshared" in control and "| off@" not in control
    assert "Published" not in control
    assert [path.name for path in written if path.suffix == ".png"] == [
        "roles-smoke-digits-pareto.png"
    ]


@pytest.mark.slow
def test_a_training_has_the_numbers_of_its_table(tmp_path):
    from eqssl_jax.studies import produce

    choice = folders.choose(ROLES, "smoke", DataChoice(), only=["ordered"])
    paths = produce.produce(ROLES, "smoke", choice, tmp_path)
    assert all(path.stat().st_size for path in paths)
    measured = read(produce.place_of(choice.wanted[0], tmp_path)).last()["encoders"]["trained"]
    assert {"probe_top1", roles.AMID, roles.ANGLE, f"{roles.ANGLE}_embedding"} <= set(measured)
