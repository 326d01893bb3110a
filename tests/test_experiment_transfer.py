"""Encoders on other data: every number beside one computed by hand, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_run import tiny_run

from eqssl_jax.experiment.transfer import few_shot, transfer
from eqssl_jax.measures.cards import TooFew


def other(path, classes=2, count=40):
    """Images whose brightness is their class, with noise."""
    images = np.random.default_rng(0).integers(0, 60, (count, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(count) % classes
    images += (60 * labels[:, None, None, None]).astype(np.uint8)
    half = count // 2
    np.savez(path, images=images[:half], labels=labels[:half],
             test_images=images[half:], test_labels=labels[half:])  # fmt: skip
    return str(path)


def test_a_run_and_its_start_on_two_sets(tmp_path, capsys):
    workdir, *_ = tiny_run()
    two, one = other(tmp_path / "two.npz"), other(tmp_path / "one.npz", classes=1)
    found = transfer([str(workdir)], [two, one], tmp_path / "out", shots=(1, 3, 99), weights=5)
    assert [each.encoder for each in found] == ["run", "run untrained"]
    for each in found:
        assert set(each.numbers) == {"linear probe", "kNN", "1-shot", "3-shot"}
        assert all(0 <= number.value <= 1 for number in each.numbers.values())
        assert each.numbers["3-shot"].n == 5 and each.facts["most_frequent_class"] == 0.5
    assert found[0].numbers["linear probe"].value == 1.0
    text = " ".join((tmp_path / "out" / "transfer.md").read_text().split())
    assert "Left out:" in text and "are 0: one class leaves a probe nothing to tell apart" in text
    assert "over draws of the k images a class, not over trainings" in text
    stored = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert stored[0]["numbers"]["kNN"]["value"] == found[0].numbers["kNN"].value
    assert {each.data for each in found} == {two}  # not "arrays", as every .npz would be
    gone = str(tmp_path / "gone.npz")
    with pytest.raises(ValueError, match=r"Nothing could be measured\. .*one class leaves"):
        transfer([str(workdir)], [one, gone], tmp_path / "none", untrained=False, weights=2)
    assert f"Left out: run on {gone}: There is no" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"--data=.*two\.npz is given twice"):
        transfer([str(workdir)], [two, two], tmp_path)
    with pytest.raises(OSError, match=r"--out=.*two\.npz cannot be written to"):
        transfer([str(workdir)], [one], Path(two))
    for wrong in ({"shots": (0,)}, {"images": 0}, {"size": -1}):
        with pytest.raises(ValueError, match="--weights and --images are numbers of at least 1"):
            transfer([str(workdir)], [two], tmp_path, **wrong)


def test_few_shot_is_the_nearest_mean():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    queries, wanted = rng.normal(size=(11, 4)), np.arange(11) % 3
    found = few_shot((x, y), (queries, wanted), 10, classes=3, draws=2)
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    means = np.stack([units[y == label].mean(0) for label in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    hits = [np.argmax(means @ q) == label for q, label in zip(queries, wanted, strict=True)]
    assert found.value == pytest.approx(np.mean(hits))
    assert found.sd == 0.0 and found.n == 2  # all ten of each class: every draw is the same
    with pytest.raises(TooFew, match="Class 0 has 10 training images, and 11 are drawn"):
        few_shot((x, y), (queries, wanted), 11, classes=3, draws=1)
