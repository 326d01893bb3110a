"""Agreement of small and large trainings, and what following the advice costs."""

import numpy as np
import pytest
from agreement import agreement, regrets
from scipy import stats

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
    assert lacking["turn"][2:] == pytest.approx((0.2, 0.1))
    assert lacking["hue"][:2] == ("invariant", "ordered")
    assert lacking["hue"][2:] == pytest.approx((0.05, 0.05))


def test_refusals():
    few = [{"base": {"p": {"probe_top1": 0.1}}, "other": {"p": {"probe_top1": 0.1}}}]
    with pytest.raises(ValueError, match="three common candidates"):
        agreement(few, few)
    with pytest.raises(ValueError, match="no knn of base"):
        agreement(evidence(range(5)), evidence(range(5)), metric="knn")
