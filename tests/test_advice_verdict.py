"""When is a difference between roles clear, and what is advised then?"""

import math

import numpy as np
import pytest
from scipy import stats

from eqssl_jax.advice.candidates import Candidate
from eqssl_jax.advice.verdict import _image_noise, verdicts
from eqssl_jax.methods import Role

SHARING = {"invariant": "independent", "ordered": "shared", "off": "fixed"}
PARTS = ("rotate", "crop", "hue")
BASE = {part: Role("invariant", "independent") for part in PARTS}


def changed(part, role):
    return Candidate({**BASE, part: Role(role, SHARING[role])}, (part, role))


TABLES = [Candidate(BASE), *(changed(p, r) for p in PARTS for r in ("ordered", "off"))]


def evidence(numbers, metric="probe_top1", tables=TABLES, more=None):
    """Evidence of a table [K, S], the same for every part, as that of classes is."""
    seed_numbers = []
    for s in range(np.shape(numbers)[1]):
        seed = {}
        for k, candidate in enumerate(tables):
            parts = [candidate.changed[0]] if candidate.changed else list(PARTS)
            extra = {} if more is None else more(candidate, s)
            seed[candidate.name] = {p: {metric: float(numbers[k][s]), **extra} for p in parts}
        seed["random"] = {p: {metric: 0.1} for p in PARTS}
        seed_numbers.append(seed)
    return seed_numbers


def noisy(seed=0, seeds=3, scale=0.01, **means):
    rows = np.random.default_rng(seed).normal(0.5, scale, (len(TABLES), seeds))
    for k, candidate in enumerate(TABLES):
        rows[k] += means.get(candidate.name, 0.0)
    return rows


def test_a_clearly_better_role_is_advised_with_what_it_gains():
    rows = noisy(hue_ordered=0.3)
    verdict = verdicts(evidence(rows), TABLES, metric="probe_top1")["transformations"]["hue"]
    assert verdict["advice"] == "ordered"
    means = dict(zip((candidate.name for candidate in TABLES), rows.mean(axis=1), strict=True))
    best = means["hue_ordered"]
    for role, name in (("invariant", "base"), ("off", "hue_off")):
        assert verdict["roles"][role]["probe_top1"]["value"] == pytest.approx(means[name])
        assert f"{role} by {100 * (best - means[name]):.1f}" in verdict["reason"]
    assert verdict["reason"].startswith("Linear probe, top-1: ordered beats")


def test_no_clear_difference_leaves_the_role_as_it_is():
    verdict = verdicts(evidence(noisy()), TABLES, metric="probe_top1")["transformations"]
    for part in PARTS:
        assert verdict[part]["advice"] is None
        assert f"{part} keeps the role it has, invariant" in verdict[part]["reason"]


def test_a_role_that_ties_with_the_best_is_named():
    advice = verdicts(evidence(noisy(crop_off=-0.3)), TABLES, metric="probe_top1")
    crop = advice["transformations"]["crop"]
    assert crop["advice"] == "invariant"  # whichever leads: the own role is kept in a tie
    assert "beats off by" in crop["reason"] and "ordered cannot be told" in crop["reason"]


def test_a_tie_of_new_roles_above_the_own_names_both():
    advice = verdicts(evidence(noisy(crop_off=0.3, crop_ordered=0.3)), TABLES, metric="probe_top1")
    crop = advice["transformations"]["crop"]
    other = {"off": "ordered", "ordered": "off"}[crop["advice"]]
    assert "beats invariant by" in crop["reason"] and f"{other} cannot be told" in crop["reason"]


def least_clear(rows, pairs, confidence):
    """The least clear difference, as the module's docstring says, by loops."""
    count, seeds = len(rows), len(rows[0])
    total = 0.0
    total_mean = sum(map(sum, rows)) / (count * seeds)
    for k in range(count):
        for s in range(seeds):
            candidate_mean = sum(rows[k]) / seeds
            column = sum(row[s] for row in rows) / count
            total += (rows[k][s] - candidate_mean - column + total_mean) ** 2
    freedom = (count - 1) * (seeds - 1)
    t = stats.t.ppf(1 - (1 - confidence) / pairs / 2, freedom)
    return t * math.sqrt(total / freedom) * math.sqrt(2 / seeds)


@pytest.mark.parametrize(("seeds", "confidence"), [(2, 0.9), (3, 0.5), (5, 0.99)])
def test_intervals_meet_exactly_when_a_difference_is_not_clear(seeds, confidence):
    for draw in range(20):
        means = {candidate.name: 0.02 * k for k, candidate in enumerate(TABLES)}
        rows = noisy(draw, seeds, **means)
        advice = verdicts(evidence(rows), TABLES, metric="probe_top1", confidence=confidence)
        least = least_clear(rows.tolist(), pairs=3 * len(PARTS), confidence=confidence)
        for part in PARTS:
            intervals = {
                role: trial["probe_top1"]
                for role, trial in advice["transformations"][part]["roles"].items()
            }
            assert len(intervals) == 3 and intervals["off"]["n"] == seeds
            for a in intervals.values():
                assert a["high"] - a["low"] == pytest.approx(least)
                for b in intervals.values():
                    apart = a["high"] < b["low"] or b["high"] < a["low"]
                    assert apart == (abs(a["value"] - b["value"]) > least)


def test_what_a_seed_does_to_all_candidates_changes_no_verdict():
    rows = noisy(hue_off=0.05)
    moved = rows + np.array([[0.2, -0.1, 0.05]])
    plain, shifted = (verdicts(evidence(r), TABLES, metric="probe_top1") for r in (rows, moved))
    for part in PARTS:
        a, b = plain["transformations"][part], shifted["transformations"][part]
        assert (a["advice"], a["reason"]) == (b["advice"], b["reason"])
        for role in a["roles"]:
            x, y = (v["roles"][role]["probe_top1"] for v in (a, b))
            assert x["high"] - x["low"] == pytest.approx(y["high"] - y["low"])


def test_metrics_along_a_ladder_are_tables_of_their_own_part():
    """The noise of one part's R² says nothing about that of another; the confidence is shared."""
    rows = noisy()

    def more(candidate, s):
        part = candidate.changed[0] if candidate.changed else "rotate"
        scale = {"rotate": 0.001, "crop": 0.1, "hue": 0.01}[part]
        return {"magnitude_r2": float(scale * np.cos(7.0 * s + len(candidate.name)))}

    seeds = evidence(rows, more=more)
    parts = verdicts(seeds, TABLES, metric="probe_top1")["transformations"]
    for part in PARTS:
        names = ["base", f"{part}_ordered", f"{part}_off"]
        values = [[seed[name][part]["magnitude_r2"] for seed in seeds] for name in names]
        least = least_clear(values, pairs=9, confidence=0.9)
        trial = parts[part]["roles"]["off"]["magnitude_r2"]
        assert trial["high"] - trial["low"] == pytest.approx(least)


def test_a_metric_that_one_role_lacks_is_left_out():
    seeds = evidence(noisy(), more=lambda candidate, s: {"order_accuracy_amid": 0.5 + 0.01 * s})
    del seeds[1]["hue_off"]["hue"]["order_accuracy_amid"]
    parts = verdicts(seeds, TABLES, metric="probe_top1")["transformations"]
    assert all("order_accuracy_amid" not in trial for trial in parts["hue"]["roles"].values())
    assert all("order_accuracy_amid" in trial for trial in parts["crop"]["roles"].values())


def outcomes(rng, *, images, seeds=3, level=0.7, own=2.5):
    """Evidence of candidates that are equal but for the draw of seeds and images.

    An image is easy or hard for all; besides, each candidate finds some images easier than others
    do (`own`, in logits), from every seed. Over all images that could be drawn they are equal.
    """
    base = math.log(level / (1 - level)) + 1.5 * rng.normal(size=images)
    kinds = own * rng.normal(size=(len(TABLES), 1, images))
    trained = 0.5 * rng.normal(size=(len(TABLES), seeds, images))
    logits = base + kinds + trained + 0.03 * rng.normal(size=(len(TABLES), seeds, 1))
    right = rng.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))
    seed_numbers = evidence(right.mean(axis=2))
    for s, seed in enumerate(seed_numbers):
        for k, candidate in enumerate(TABLES):
            text = " ".join(map(str, right[k, s].astype(int)))
            for numbers in seed[candidate.name].values():
                numbers["images"] = {"probe_top1": text}
    return seed_numbers


def clear(seeds):
    """Whether any two roles of a part differ clearly."""
    parts = verdicts(seeds, TABLES, metric="probe_top1", confidence=0.9)["transformations"]
    for part in parts.values():
        roles = [trial["probe_top1"] for trial in part["roles"].values()]
        if max(trial["low"] for trial in roles) > min(trial["high"] for trial in roles):
            return True
    return False


def test_equal_candidates_are_told_apart_no_more_often_than_the_confidence_says():
    """The noise of held-out images counts: without it these differences are called clear."""
    rng, tries = np.random.default_rng(2), 120
    alarms = np.zeros(2)
    for _ in range(tries):
        seeds = outcomes(rng, images=256)
        bare = [
            {
                n: {p: {"probe_top1": v["probe_top1"]} for p, v in numbers.items()}
                for n, numbers in s.items()
            }
            for s in seeds
        ]
        alarms += [clear(seeds), clear(bare)]
    with_images, without = alarms / tries
    assert with_images <= 0.1 < 0.25 < without


def test_a_real_difference_is_still_found_among_noisy_images():
    rng = np.random.default_rng(3)
    seeds = outcomes(rng, images=2000)
    for seed in seeds:
        numbers = seed["hue_off"]["hue"]
        hits = np.array(numbers["images"]["probe_top1"].split(), int)
        hits[:240] = 0  # 8 points lower
        numbers["images"] = {"probe_top1": " ".join(map(str, hits))}
        numbers["probe_top1"] = float(hits.mean())
    hue = verdicts(seeds, TABLES, metric="probe_top1")["transformations"]["hue"]
    assert hue["advice"] == "invariant" and "beats off" in hue["reason"]


def test_the_noise_of_images_is_that_of_a_paired_bootstrap():
    seeds = outcomes(np.random.default_rng(4), images=400)
    variance, count = _image_noise(seeds, "base", "hue_off", "hue", "probe_top1")
    rows = [
        np.mean(
            [np.fromstring(s[n]["hue"]["images"]["probe_top1"], sep=" ") for s in seeds], axis=0
        )
        for n in ("base", "hue_off")
    ]
    rng = np.random.default_rng(5)
    drawn = [(rows[0] - rows[1])[rng.integers(0, 400, 400)].mean() for _ in range(4000)]
    assert count == 400 and variance == pytest.approx(np.var(drawn), rel=0.1)
    alone = [
        {n: {"hue": {"probe_top1": 0.5, "variance": {"probe_top1": 0.01 * (1 + s)}}}
         for n in ("base", "hue_off")}
        for s in range(2)
    ]  # fmt: skip
    unpaired, _ = _image_noise(alone, "base", "hue_off", "hue", "probe_top1")
    assert unpaired == pytest.approx(2 * 0.015)


def test_each_part_is_held_against_the_untrained_encoder():
    rows = noisy(hue_ordered=0.3)
    seeds = evidence(rows)
    for seed in seeds:
        seed["random"] = {p: {"probe_top1": 0.5} for p in PARTS}
    advice = verdicts(seeds, TABLES, metric="probe_top1")
    parts = advice["transformations"]
    assert parts["hue"]["warning"] == ""
    for part in ("rotate", "crop"):
        assert parts[part]["warning"].startswith(
            f"{part}: not better than an untrained encoder (50"
        )
        assert parts[part]["warning"] in advice["warning"]
    assert "hue:" not in advice["warning"]
    assert verdicts(evidence(rows), TABLES, metric="probe_top1")["warning"] == ""


def test_pure_noise_gives_advice_no_more_often_than_the_confidence_says():
    rng, alarms, tries = np.random.default_rng(1), 0, 400
    for _ in range(tries):
        rows = rng.normal(size=(len(TABLES), 3)) + 5 * rng.normal(size=(1, 3))
        advice = verdicts(evidence(rows), TABLES, metric="probe_top1", confidence=0.8)
        alarms += any(entry["advice"] for entry in advice["transformations"].values())
    # At most 0.2 by Bonferroni, and not far below: a rule that never speaks is no use.
    sd = math.sqrt(0.2 * 0.8 / tries)
    assert 0.05 < alarms / tries < 0.2 + 2 * sd


def label_free(r2=0.5, cost=0.0, natural=0.5, ladder=True):
    """hue ordered or off gains `r2` at `cost` in InfoNCE; all else is small noise."""
    rng = np.random.default_rng(3)

    def more(candidate, s):
        is_ordered = candidate.name == "hue_ordered"
        numbers = {
            "info_nce": 3 + 0.01 * rng.normal() + cost * is_ordered,
            "natural": natural + 0.001 * rng.normal(),
        }
        if ladder:
            numbers["magnitude_r2"] = 0.2 + 0.01 * rng.normal() + r2 * is_ordered
        return numbers

    seeds = evidence(noisy(), metric="knn", more=more)
    return verdicts(seeds, TABLES, metric="label_free")


def test_without_labels_a_role_is_advised_that_keeps_more_at_no_cost_and_naturally():
    advice = label_free()
    assert advice["metric"] is None
    hue = advice["transformations"]["hue"]
    assert hue["advice"] == "ordered"
    assert "ordered keeps more of the magnitude (R² +0.5" in hue["reason"]
    assert advice["transformations"]["crop"]["advice"] is None


@pytest.mark.parametrize(
    "changes", [{"r2": 0.0}, {"r2": -0.5}, {"cost": 0.5}, {"natural": 0.1}], ids=str
)
def test_without_labels_each_condition_is_needed(changes):
    hue = label_free(**changes)["transformations"]["hue"]
    assert hue["advice"] is None
    assert "no role keeps clearly more" in hue["reason"]
    assert "hue keeps the role it has, invariant" in hue["reason"]


def test_a_lower_info_nce_is_no_cost():
    assert label_free(cost=-0.5)["transformations"]["hue"]["advice"] == "ordered"


def test_without_labels_and_ladder_there_is_nothing_to_decide_by():
    hue = label_free(ladder=False)["transformations"]["hue"]
    assert hue["advice"] is None and "nothing to decide by" in hue["reason"]


def test_dropped_roles_are_said_and_the_floor_is_the_untrained_encoder():
    note = {"hue": "Dropped at step 5, in the worse half: off."}
    advice = verdicts(evidence(noisy()), TABLES, metric="probe_top1", dropped=note)
    assert advice["transformations"]["hue"]["reason"].endswith(note["hue"])
    assert advice["floor"] == {"probe_top1": pytest.approx(0.1)}


@pytest.mark.parametrize(
    ("seeds", "confidence", "message"),
    [(1, 0.9, "at least 2, found 1.*seeds"), (2, 1.0, "is 1.0; it must"), (2, 0.0, "confidence")],
)
def test_what_cannot_be_judged_is_refused(seeds, confidence, message):
    rows = noisy(seeds=seeds)
    with pytest.raises(ValueError, match=message):
        verdicts(evidence(rows), TABLES, metric="probe_top1", confidence=confidence)


def test_numbers_that_agree_over_seeds_are_known_no_better_than_one_image():
    """Two seeds without any spread: a lead of one image in a thousand is not clear."""
    rows = np.full((len(TABLES), 2), 0.5)
    rows[1] += 0.001
    plain, careful = (
        verdicts(evidence(rows), TABLES, metric="probe_top1", resolution=resolution)
        for resolution in (0.0, 0.001)
    )
    part, role = TABLES[1].changed
    assert plain["transformations"][part]["advice"] == role
    assert careful["transformations"][part]["advice"] is None
