"""Evidence for a role: what is natural, what classes say, and which images are looked at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from tiny_advice import tiny

from eqssl_jax.advice.bench import bench
from eqssl_jax.advice.evidence import _classes, _features, gather
from eqssl_jax.data.base import Split
from eqssl_jax.transforms import Transform, chain


def itself(images):
    flat = images.reshape(images.shape[0], -1)
    return flat, flat


def read(pool, indices):
    return pool[indices]


def split(images, labels=None):
    images = jnp.asarray(images, jnp.float32)
    return Split(len(images), images, read, labels if labels is None else np.int32(labels))


def turn(quarters: bool) -> Transform:
    """Turns the plane of two pixels by any angle, or throws the second pixel far off."""

    def apply(params, x):
        a, b = x[0, 0, 0], x[0, 1, 0]
        cos, sin = jnp.cos(params["angle"]), jnp.sin(params["angle"])
        if quarters:
            return x.at[0, 0, 0].set(cos * a - sin * b).at[0, 1, 0].set(sin * a + cos * b)
        return x.at[0, 2, 0].set(x[0, 2, 0] + 3 * params["angle"])

    return Transform(
        lambda key: {"angle": jax.random.uniform(key, (), minval=1.0, maxval=5.0)},
        apply,
        {"angle": jnp.zeros(())},
    )


def circle(count, seed):
    """Points of a circle as images of 1 × 3 pixels; the third is always 0."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, count)
    points = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    return points.reshape(count, 1, 3, 1)


def circles():
    """A bench whose data is closed under one part, and is left by the other."""
    return bench(tiny())._replace(
        bank=split(circle(400, 1)),
        chooser=split(circle(50, 2)),
        held_out=split(circle(200, 3)),
        transform=chain(round=turn(True), away=turn(False)),
        classes=0,
        batch=40,
        images=8,
    )


def with_draws(from_, seed=0):
    count, angle = from_.held_out.size, np.random.default_rng(seed)
    names = tuple(from_.transform.identity)
    drawn = {n: {"angle": angle.uniform(1, 5, (2, count)).astype(np.float32)} for n in names}
    return from_._replace(draws=drawn)


def test_natural_is_one_half_where_the_data_varies_by_itself_and_zero_where_it_is_left():
    from_ = with_draws(circles())
    numbers = gather({"itself": Partial(itself)}, {"itself": ["round", "away"]}, from_)["itself"]
    assert numbers["round"]["natural"] == pytest.approx(0.5, abs=0.1)
    assert numbers["away"]["natural"] == 0
    assert numbers["round"].keys() >= {"natural", "info_nce", "order_accuracy_amid", "magnitude_r2"}
    assert "probe_top1" not in numbers["round"]  # no labels


def info_nce_of(from_, part):
    return gather({"itself": Partial(itself)}, {"itself": [part]}, from_)["itself"][part][
        "info_nce"
    ]


def test_info_nce_is_under_the_other_parts_alone():
    from_ = with_draws(circles())
    again = with_draws(from_, seed=1)
    redrawn = from_._replace(draws={**from_.draws, "round": again.draws["round"]})
    other = from_._replace(draws={**from_.draws, "away": again.draws["away"]})
    assert info_nce_of(redrawn, "round") == info_nce_of(from_, "round")
    assert info_nce_of(other, "round") != info_nce_of(from_, "round")


def test_info_nce_equals_loops_over_whole_batches():
    from_ = with_draws(circles())
    from_ = from_._replace(batch=60)  # 200 images: three batches, and 20 are left out
    total = []
    images = np.asarray(from_.held_out.pool)[..., 0].reshape(200, 3)
    for start in (0, 60, 120):
        chosen = slice(start, start + 60)
        seen = np.repeat(images[None, chosen], 2, axis=0).astype(np.float64)
        seen[:, :, 2] += 3 * from_.draws["away"]["angle"][:, chosen]
        z = seen / np.linalg.norm(seen, axis=-1, keepdims=True)
        points = np.concatenate([z[0], z[1]])
        for i in range(120):
            cosines = points @ points[i] / from_.temperature
            others = np.delete(np.exp(cosines), i).sum()
            total.append(np.log(others) - cosines[(i + 60) % 120])
    assert info_nce_of(from_, "round") == pytest.approx(np.mean(total), rel=1e-4)


def classes(labels_of):
    rng = np.random.default_rng(0)
    from_ = circles()
    parts = {}
    for name in ("bank", "chooser", "held_out"):
        truth = rng.integers(0, 4, getattr(from_, name).size)
        images = rng.normal(size=(len(truth), 1, 3, 1)) * 0.02
        images[:, 0, :, 0] += np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]])[truth]
        parts[name] = split(images, labels_of(rng, truth))
    from_ = with_draws(from_._replace(**parts, classes=4))
    return gather({"itself": Partial(itself)}, {"itself": ["away"]}, from_)["itself"]["away"]


def test_the_probe_reads_classes_that_are_there_and_none_that_are_not():
    apart = classes(lambda rng, truth: truth)
    assert apart["probe_top1"] == 1 and apart["knn"] == 1
    chance = classes(lambda rng, truth: rng.integers(0, 4, len(truth)))
    for metric in ("probe_top1", "knn"):
        assert 0.1 < chance[metric] < 0.4  # 1/4, of 200 images


def test_the_probe_is_fitted_on_other_images_than_it_is_judged_by():
    """150 random features fit 40 images exactly: a probe that had seen them would have 100 %."""
    rng = np.random.default_rng(1)
    from_ = circles()
    parts = {
        name: split(rng.normal(size=(count, 1, 150, 1)), rng.integers(0, 4, count))
        for name, count in (("bank", 60), ("chooser", 20), ("held_out", 40))
    }
    from_ = with_draws(from_._replace(**parts, classes=4, batch=20))
    assert _classes(_features(Partial(itself), from_), from_)["probe_top1"].mean() < 0.6


def test_numbers_do_not_depend_on_who_else_is_measured():
    from_ = with_draws(circles())
    alone = gather({"a": Partial(itself)}, {"a": ["round"]}, from_)
    encoders = {"a": Partial(itself), "b": Partial(double)}
    beside = gather(encoders, {"a": ["round"], "b": ["away"]}, from_)
    assert beside["a"] == alone["a"]
    assert list(beside["b"]) == ["away"]


def double(images):
    flat = 2 * images.reshape(images.shape[0], -1)
    return flat, flat


def test_the_three_sets_are_apart_and_the_test_split_is_not_read():
    run = tiny()
    size = run.dataset.splits["train"].size

    def forbidden(pool, indices):
        raise AssertionError("the test split was read")

    splits = {**run.dataset.splits}
    splits["test"] = splits["test"]._replace(read=forbidden)
    run = run._replace(dataset=run.dataset._replace(splits=splits))
    from_ = bench(run)
    gather({"itself": Partial(itself)}, {"itself": ["scale"]}, from_)
    assert from_.bank.size + from_.chooser.size == size
    images = [
        {x.tobytes() for x in np.asarray(split.read(split.pool, np.arange(split.size)))}
        for split in (from_.bank, from_.chooser, from_.held_out)
    ]
    assert not (images[0] & images[1] or images[0] & images[2] or images[1] & images[2])
    with run.config.unlocked():
        run.config.advice.held_out = "test"
    with pytest.raises(AssertionError, match="was read"):
        gather({"itself": Partial(itself)}, {"itself": ["scale"]}, bench(run))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advice__held_out": "train"}, r"held_out = 'train', validation or test"),
        ({"advice__held_out": "validate"}, r"data has \['test', 'train', 'validation'\]"),
        ({"advice__train_images": 9}, "at least 10 training and 8 held-out images, found 9 and"),
        ({"advice__held_out_images": 5}, "found 72 and 5"),
    ],
)
def test_images_that_do_not_suffice_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        bench(tiny(**changes))


def test_without_a_validation_split_the_fix_is_said():
    run = tiny()
    splits = {n: s for n, s in run.dataset.splits.items() if n != "validation"}
    with pytest.raises(ValueError, match=r"config\.data\.validation, e\.g\. 0\.2"):
        bench(run._replace(dataset=run.dataset._replace(splits=splits)))
