"""Agreement of small and large trainings, and what following the advice costs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import roles
from agreement import agreement, regrets
from scipy import stats

from eqssl_jax.overrides import mistake

NAMES = ("base", "turn_ordered", "turn_off", "hue_ordered", "hue_off")


def evidence(values, seeds=3):
    """Each candidate's probe, the same for each seed but for a common shift."""
    return [
        {n: {"part": {"probe_top1": v + 0.01 * s}} for n, v in zip(NAMES, values, strict=True)}
        | {"random": {"part": {"probe_top1": 0.1}}}
        for s in range(seeds)
    ]


def test_equal_and_opposite_rankings():
    up = [0.1, 0.2, 0.3, 0.4, 0.5]
    same = agreement(evidence(up), evidence([v**2 for v in up]))
    assert (same.correlation, same.candidates) == (pytest.approx(1), NAMES)
    assert np.isnan([same.low, same.high]).all()  # a bootstrap would be sure of 1 … 1
    assert agreement(evidence(up), evidence(up[::-1])).correlation == pytest.approx(-1)


def test_correlation_is_spearmans_and_lies_in_its_interval():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(2, 5))
    result = agreement(evidence(a), evidence(b, seeds=2))
    assert result.correlation == pytest.approx(stats.spearmanr(a, b).statistic)
    assert result.low <= result.correlation <= result.high
    np.testing.assert_allclose(result.small, a + 0.01)


def test_regret_is_what_the_advised_role_lacks_to_the_best():
    large = evidence([0.50, 0.40, 0.60, 0.55, 0.45])
    roles = {role: {} for role in ("invariant", "ordered", "off")}
    advice = {
        "transformations": {
            "turn": {"roles": roles, "own": "invariant", "advice": "ordered"},
            "hue": {
                "roles": roles,
                "own": "invariant",
                "advice": None,
            },  # the base keeps its role, invariant
            "crop": {
                "roles": roles,
                "own": "invariant",
                "advice": "off",
            },  # not among the large trainings
        }
    }
    lacking = regrets(advice, large)
    assert set(lacking) == {"turn", "hue"}
    assert lacking["turn"][:2] == ("ordered", "off")
    assert lacking["turn"][2:4] == pytest.approx((0.2, 0.1))
    assert lacking["turn"].by_seed == pytest.approx((0.2, 0.2, 0.2))
    assert lacking["turn"].unadvised_by_seed == pytest.approx((0.1, 0.1, 0.1))
    assert lacking["hue"][:2] == ("invariant", "ordered")
    assert lacking["hue"][2:4] == pytest.approx((0.05, 0.05))


def test_regret_over_tasks_has_an_interval_over_tasks(tmp_path, monkeypatch):
    """Of made-up trainings of five tasks; one that is not finished is left out."""
    monkeypatch.setattr(roles, "agreement", lambda *_: SimpleNamespace(correlation=0.5))
    lacks = dict(zip(roles.TASKS, (0.0, 0.01, 0.02, 0.03, 0.04), strict=False))
    for task, lack in lacks.items():
        for size, values in (("small", (0.5, 0.6, 0.4)), ("large", (0.5 - lack, 0.6, 0.6 + lack))):
            workdir = tmp_path / task.replace(" ", "_") / size
            for seed in range(3):
                folder = workdir / f"seed_{seed}" / "round_0"
                folder.mkdir(parents=True)
                numbers = dict(zip(("base", "hue_ordered", "hue_off"), values, strict=True))
                shifted = {n: {"hue": {"probe_top1": v + 0.01 * seed}} for n, v in numbers.items()}
                (folder / "evidence.json").write_text(json.dumps(shifted))
            verdict = {"roles": dict.fromkeys(("invariant", "ordered", "off")),
                       "own": "invariant", "advice": "ordered"}  # fmt: skip
            text = json.dumps({"transformations": {"hue": verdict}})
            (workdir / "advice.json").write_text(text)
    table = roles.table(tmp_path)
    assert "| ten outlines | hue | ordered | off | 2.0 | 14.0 | 0.50 |" in table, table
    half = stats.t.ppf(0.975, 4) * np.std([0, 1, 2, 3, 4], ddof=1) / np.sqrt(5)
    assert "Over 5 tasks (each the mean of its parts)" in table
    assert f"advice 2.0 ± {half:.1f}; always invariant 14.0 ± {2 * half:.1f}" in table
    assert f"saved by the advice 12.0 ± {half:.1f}" in table
    (tmp_path / "hue" / "large" / "advice.json").unlink()
    assert "Over 4 tasks" in roles.table(tmp_path) and "Fewer than five" in roles.table(tmp_path)


def test_every_task_has_settings_that_its_config_has(tmp_path):
    for task in roles.TASKS:
        for command in roles.commands(task, tmp_path, "data", True).values():
            assert mistake([*command, "--config.data.directory=d"]) is None, task


def test_refusals():
    few = [{"base": {"p": {"probe_top1": 0.1}}, "other": {"p": {"probe_top1": 0.1}}}]
    with pytest.raises(ValueError, match="three common candidates"):
        agreement(few, few)
    with pytest.raises(ValueError, match="no knn of base"):
        agreement(evidence(range(5)), evidence(range(5)), metric="knn")
