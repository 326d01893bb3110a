"""Encoders on other data: every number beside one computed by hand, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from jax.tree_util import Partial
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tiny_run import tiny_run

from eqssl_jax.data import from_arrays
from eqssl_jax.encoders.frozen import Encoder
from eqssl_jax.experiment.load import load
from eqssl_jax.experiment.transfer import _before, _measured, few_shot, transfer
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
    two_classes, single_class = other(tmp_path / "two.npz"), other(tmp_path / "one.npz", classes=1)
    transfers = transfer(
        [str(workdir)], [two_classes, single_class], tmp_path / "out", shots=(1, 3, 99), weights=5
    )
    assert [measured.encoder for measured in transfers] == ["run", "run untrained"]
    assert "No 99-shot on" in capsys.readouterr().out
    for measured in transfers:
        assert set(measured.numbers) == {"linear probe", "kNN", "1-shot", "3-shot"}
        assert all(0 <= number.value <= 1 for number in measured.numbers.values())
        assert measured.numbers["3-shot"].n == 5 and measured.facts["most_frequent_class"] == 0.5
    assert transfers[0].numbers["linear probe"].value == 1.0
    capsys.readouterr()
    text = " ".join((tmp_path / "out" / "transfer.md").read_text().split())
    assert "Left out:" in text and "are 0: one class leaves a probe nothing to tell apart" in text
    assert "over draws of the k images a class, not over trainings" in text
    stored = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert stored[0]["numbers"]["kNN"]["value"] == transfers[0].numbers["kNN"].value
    assert {measured.data for measured in transfers} == {
        two_classes
    }  # not "arrays", as every .npz would be
    gone = str(tmp_path / "gone.npz")
    with pytest.raises(ValueError, match=r"Nothing could be measured\. .*one class leaves"):
        transfer(
            [str(workdir)], [single_class, gone], tmp_path / "none", untrained=False, weights=2
        )
    assert f"Left out: run on {gone}: There is no" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"--data=.*two\.npz is given twice"):
        transfer([str(workdir)], [two_classes, two_classes], tmp_path)
    with pytest.raises(OSError, match=r"--out=.*two\.npz cannot be written to"):
        transfer([str(workdir)], [single_class], Path(two_classes))
    for wrong in ({"shots": (0,)}, {"images": 0}, {"size": -1}):
        with pytest.raises(ValueError, match="--weights and --images are numbers of at least 1"):
            transfer([str(workdir)], [two_classes], tmp_path, **wrong)


def test_the_untrained_encoder_is_the_one_that_training_began_with():
    workdir, run, _ = tiny_run()
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype(np.float32)
    encoder = load(str(workdir))
    before = _before(encoder).features(images)
    np.testing.assert_allclose(before, run.encoder(run.init())(images)[0], rtol=1e-5, atol=1e-6)
    assert np.abs(before - encoder.features(images)).max() > 1e-4


def test_numbers_of_transfer_are_those_by_hand():
    """Features are pixels: neighbours in NumPy, the probe of scikit-learn on train + validation."""
    rng, parts = np.random.default_rng(3), {}
    for name, count in {"train": 40, "validation": 24, "test": 60}.items():
        labels = np.arange(count) % 3
        parts[name] = rng.integers(0, 200, (count, 2, 2, 3)).astype(np.uint8), labels
        parts[name][0][..., 0] += (18 * labels[:, None, None]).astype(np.uint8)
    splits = {n: from_arrays(*part, validation=0.0).splits["train"] for n, part in parts.items()}
    data = from_arrays(*parts["train"], classes=("a", "b", "c"))._replace(splits=splits)

    def forward(images):
        rows = images.reshape(len(images), -1)
        return {"features": rows, "embedding": rows}

    measured = _measured(
        Encoder("pixels", "", Partial(forward)), data, (), 1, (1e-3, 1e-1, 10.0), None
    )
    x, y = {}, {}
    for name, (images, labels) in parts.items():
        x[name], y[name] = images.reshape(len(images), -1) / 255, labels
    units = {name: rows / np.linalg.norm(rows, axis=1, keepdims=True) for name, rows in x.items()}
    hits = []
    for query, label in zip(units["test"], y["test"], strict=True):
        cosine = units["train"] @ query
        votes = np.zeros(3)
        for i in np.argsort(-cosine)[:20]:
            votes[y["train"][i]] += np.exp(cosine[i] / 0.07)
        hits.append(votes.argmax() == label)
    assert measured.numbers["kNN"].value == pytest.approx(np.mean(hits))

    def fitted(rows, labels, weight):
        scaled = StandardScaler().fit(rows)
        model = LogisticRegression(C=1 / (len(rows) * weight), max_iter=1000)
        model.fit(scaled.transform(rows), labels)
        return lambda part: float(np.mean(model.predict(scaled.transform(x[part])) == y[part]))

    scores = {w: fitted(x["train"], y["train"], w)("validation") for w in (1e-3, 1e-1, 10.0)}
    weight = max(scores, key=lambda w: (scores[w], w))
    assert measured.facts["weight"] == weight
    joined = [np.concatenate([part["train"], part["validation"]]) for part in (x, y)]
    assert measured.numbers["linear probe"].value == pytest.approx(fitted(*joined, weight)("test"))
    assert 0.4 < measured.numbers["linear probe"].value < 0.9


def test_few_shot_is_the_nearest_mean():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    queries, wanted = rng.normal(size=(11, 4)), np.arange(11) % 3
    number = few_shot((x, y), (queries, wanted), 10, classes=3, draws=2)
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    means = np.stack([units[y == label].mean(0) for label in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    hits = [np.argmax(means @ q) == label for q, label in zip(queries, wanted, strict=True)]
    assert number.value == pytest.approx(np.mean(hits))
    assert number.sd == 0.0 and number.n == 2  # all ten of each class: every draw is the same
    drawn = few_shot((x, y), (queries, wanted), 3, classes=3, draws=4)
    assert drawn.sd > 0 and drawn.n == 4  # different images
    with pytest.raises(TooFew, match="Class 0 has 10 training images, and 11 are drawn"):
        few_shot((x, y), (queries, wanted), 11, classes=3, draws=1)
