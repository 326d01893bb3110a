"""The probe is as good as scikit-learn's, chooses on validation alone, and repeats itself."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures.classes import lbfgs
from eqssl_jax.measures.classes.care_probe import _OPTIMIZERS, _dropped, _start, _train, care_probe
from eqssl_jax.measures.classes.linear_probe import Linear, cross_entropy, linear_probe, top_k
from eqssl_jax.transforms.base import Transform

CLASSES, WIDTH = 7, 40


def make(count, seed):
    """Correlated features of very different scales, with overlapping classes."""
    shared = np.random.default_rng(0)
    centres = 0.3 * shared.normal(size=(CLASSES, WIDTH))
    turn = np.linalg.qr(shared.normal(size=(WIDTH, WIDTH)))[0]
    mix = turn * np.logspace(0.3, -1, WIDTH)[None, :]
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    noise = rng.normal(size=(count, WIDTH)) @ mix + rng.normal(size=(count, WIDTH))
    x = (centres[y] + noise) * np.logspace(-2, 2, WIDTH)[None, :]
    return (x + 3).astype(np.float32), y.astype(np.int32)


@pytest.fixture(scope="module")
def problem():
    return (*make(1500, 1), *make(500, 2), *make(2000, 3))


@pytest.fixture(scope="module")
def probed(problem):
    return linear_probe(*problem, classes=CLASSES, steps=600, batch=256)


def test_reaches_scikit_learn(problem, probed):
    x, y, vx, vy, tx, ty = problem
    mean, std = x.mean(axis=0), x.std(axis=0)
    score = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for weight in (1e-4, 1e-3, 1e-2, 1e-1):
            model = LogisticRegression(C=1 / (len(x) * weight), max_iter=300)
            score[weight] = model.fit((x - mean) / std, y).score((vx - mean) / std, vy)
        best = max(score, key=lambda weight: score[weight])
        joined, joined_y = np.concatenate([x, vx]), np.concatenate([y, vy])
        reference = LogisticRegression(C=1 / (len(joined) * best), max_iter=300)
        reached = reference.fit((joined - mean) / std, joined_y).score((tx - mean) / std, ty)
    assert reached > 0.5
    assert probed.top1 > reached - 0.005


def test_is_the_minimum_of_its_objective(problem):
    """Full batches: the penalised loss falls to scikit-learn's, whose ½‖W‖² / C n is ours."""
    from eqssl_jax.measures.classes.linear_probe import _fit

    x, y = problem[:2]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    (model,) = _fit(x, y, [0], [0.03], classes=CLASSES, steps=500, rate=3e-2, batch=len(x))
    reference = LogisticRegression(C=1 / (len(x) * 0.03), tol=1e-8, max_iter=1000).fit(x, y)

    def loss(weight, bias):
        model = Linear(jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32))
        return float(cross_entropy(model, jnp.asarray(x), jnp.asarray(y))) + 0.015 * np.sum(
            np.square(weight)
        )

    best = loss(reference.coef_.T, reference.intercept_)
    assert best - 1e-5 <= loss(model.weight, model.bias) <= best + 2e-4


def test_test_labels_do_not_choose_anything(problem, probed):
    x, y, vx, vy, tx, ty = problem
    shifted = linear_probe(x, y, vx, vy, tx, (ty + 1) % CLASSES, classes=CLASSES, steps=600,
                           batch=256)  # fmt: skip
    assert shifted.regularisation == probed.regularisation
    assert shifted.validation == probed.validation
    assert shifted.top1 < 1 / CLASSES


def test_validation_chooses_the_weight(problem, probed):
    best = max(probed.validation.values())
    assert probed.validation[probed.regularisation] == best
    assert min(probed.validation.values()) < best  # the candidates do differ


def test_noise_features_give_chance():
    rng = np.random.default_rng(4)
    parts = []
    for count in (400, 200, 4000):
        parts += [rng.normal(size=(count, 20)), rng.integers(0, 4, count)]
    probe = linear_probe(*parts, classes=4, steps=50, seeds=(0,))
    assert probe.top1 == pytest.approx(0.25, abs=0.05)
    assert np.isnan(probe.top1_sd) and np.isnan(probe.top5)


def test_scale_and_constant_features_do_not_matter(problem, probed):
    x, y, vx, vy, tx, ty = problem

    def change(features):
        widened = np.concatenate([features * 100 - 7, np.full((len(features), 2), 5.0)], axis=1)
        return widened.astype(np.float32)

    probe = linear_probe(change(x), y, change(vx), vy, change(tx), ty, classes=CLASSES, steps=600,
                         batch=256)  # fmt: skip
    assert probe.top1 == pytest.approx(probed.top1, abs=0.005)


def test_seeds_give_spread_and_repeat(problem, probed):
    again = linear_probe(*problem, classes=CLASSES, steps=600, batch=256)
    assert again == probed
    assert len(probed.per_seed) == 3
    assert probed.top1 == pytest.approx(np.mean(probed.per_seed))
    assert probed.top1_sd == pytest.approx(np.std(probed.per_seed, ddof=1))
    assert probed.top5 > probed.top1


def test_top_k_equals_a_sort():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(50, 6)), rng.integers(0, 9, 50)
    model = Linear(rng.normal(size=(6, 9)), rng.normal(size=9))
    order = np.argsort(-(x @ model.weight + model.bias), axis=1)
    for k in (1, 5):
        assert top_k(model, x, y, k) == np.mean([y[i] in order[i, :k] for i in range(50)])


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, np.zeros((3, WIDTH)), "one label a row"),
        (2, np.zeros((500, 3)), "same H"),
        (1, np.full(1500, CLASSES), "Labels of train must lie in 0 … 6"),
        (5, np.full(2000, -1), "Labels of test"),
        (4, np.full((2000, WIDTH), np.nan), "NaN"),
    ],
)
def test_bad_splits_are_named(problem, position, value, message):
    parts = list(problem)
    parts[position] = value
    with pytest.raises(ValueError, match=message):
        linear_probe(*parts, classes=CLASSES)


@pytest.mark.parametrize("bad", [{"seeds": ()}, {"regularisation": (0.0,)}, {"steps": 0}])
def test_bad_budgets_are_named(problem, bad):
    with pytest.raises(ValueError, match="A probe needs"):
        linear_probe(*problem, classes=CLASSES, **bad)


def read(pool, inputs):
    return pool[inputs]


def flatten(images):
    flat = 4 * images.reshape(images.shape[0], -1)
    return flat, flat


BRIGHTEN = Transform(
    lambda key: {"by": 0.1 * jax.random.normal(key)},
    lambda params, x: x + params["by"],
    {"by": jnp.zeros(())},
)


@pytest.fixture(scope="module")
def dataset():
    def split(count, seed):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 3, count).astype(np.int32)
        x = 0.3 * rng.normal(size=(count, 4, 4, 3)) + 0.4 * np.eye(3)[y][:, None, None, :]
        return Split(count, jnp.asarray(x, jnp.float32), read, y)

    return Dataset(
        "toy", (4, 4, 3), ("a", "b", "c"), (0.5,) * 3, (0.2,) * 3,
        {"train": split(200, 0), "test": split(300, 1)},
    )  # fmt: skip


def test_care_protocol_learns_and_repeats(dataset):
    probe = care_probe(flatten, dataset, BRIGHTEN, epochs=10, batch=50, learning_rate=1e-2)
    again = care_probe(flatten, dataset, BRIGHTEN, epochs=10, batch=50, learning_rate=1e-2)
    assert probe.per_seed == again.per_seed
    assert probe.top1 > 0.9
    assert probe.validation == {}
    barely = care_probe(flatten, dataset, BRIGHTEN, epochs=1, batch=50, learning_rate=1e-6)
    assert barely.top1 < 0.7


def test_care_protocol_sees_new_draws_every_epoch_and_tests_without(dataset):
    applied = []

    def apply(params, x):
        jax.debug.callback(lambda by: applied.append(float(by)), params["by"])
        return x

    watched = BRIGHTEN._replace(apply=apply)
    care_probe(flatten, dataset, watched, epochs=2, batch=50, seeds=(0,), limit=100)
    jax.effects_barrier()
    assert len(applied) == len(set(applied)) == 2 * 100


def test_sgd_of_the_imagenet_probe_is_the_loop_written_out():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 8, 4)).astype(np.float32), rng.integers(3, size=(5, 8))
    models = _start((0,), 4, 3)
    w, b = np.array(models.weight[0], np.float64), np.array(models.bias[0], np.float64)
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    for rows, labels in zip(x, y, strict=True):
        logits = rows @ w + b
        share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        share[np.arange(8), labels] -= 1
        vw = 0.9 * vw + rows.T @ share / 8 + 0.01 * w
        vb = 0.9 * vb + share.mean(0) + 0.01 * b
        w, b = w - 0.5 * vw, b - 0.5 * vb
    rule = _OPTIMIZERS["sgd"]
    trained, _ = _train(
        models, jax.vmap(rule.init)(models), jnp.asarray(x), jnp.asarray(y, jnp.int32),
        jnp.float32(0.5), jnp.float32(0.01), rule=rule,
    )  # fmt: skip
    np.testing.assert_allclose(trained.weight[0], w, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(trained.bias[0], b, rtol=1e-4, atol=1e-6)


def test_its_rate_falls_after_30_40_and_50_of_60_epochs():
    factors = [_dropped(epoch, 60) for epoch in range(60)]
    np.testing.assert_allclose(factors, np.repeat([1, 0.1, 0.01, 0.001], [30, 10, 10, 10]))


def test_the_imagenet_probe_learns(dataset):
    options = {"optimizer": "sgd", "epochs": 6, "batch": 50, "weight_decay": 0.0, "seeds": (0,)}
    probe = care_probe(flatten, dataset, BRIGHTEN, learning_rate=0.1, **options)
    assert probe.top1 > 0.9
    assert care_probe(flatten, dataset, BRIGHTEN, learning_rate=0.0, **options).top1 < 0.7


def test_care_protocol_names_bad_input(dataset):
    with pytest.raises(ValueError, match="adam, sgd, found 'lars'"):
        care_probe(flatten, dataset, BRIGHTEN, optimizer="lars")
    with pytest.raises(ValueError, match="full batch"):
        care_probe(flatten, dataset, BRIGHTEN, batch=201)
    unlabeled = dataset._replace(
        splits={**dataset.splits, "train": dataset.splits["train"]._replace(labels=None)}
    )
    with pytest.raises(ValueError, match="labelled 'train' split; toy has"):
        care_probe(flatten, unlabeled, BRIGHTEN)


def test_lbfgs_chooses_on_validation_and_refits_on_both_from_what_was_chosen(monkeypatch):
    x, y = make(150, 1)
    held, calls = make(90, 2)[0], []
    scaled = [(rows - x.mean(0)) / x.std(0) for rows in (x, held)]
    weights = (1e-4, 1e-2, 3.0)
    models = lbfgs.fit(scaled[0], y, classes=CLASSES, weights=weights)
    small, _, large = (np.argmax(scaled[1] @ m.weight + m.bias, axis=1) for m in models)
    assert np.any(small != large)
    fit = lbfgs.fit

    def recorded(*arguments, **settings):
        calls.append((arguments, settings))
        return fit(*arguments, **settings)

    monkeypatch.setattr(lbfgs, "fit", recorded)
    first = lbfgs.lbfgs_probe(
        (x, y), (held, small), (held, large), classes=CLASSES, weights=weights
    )
    other = lbfgs.lbfgs_probe(
        (x, y), (held, large), (held, small), classes=CLASSES, weights=weights
    )
    assert (first.weight, other.weight) == (1e-4, 3.0)  # each is best on its validation
    assert first.validation[1e-4] == other.validation[3.0] == 1.0
    (rows, labels), settings = calls[1]
    np.testing.assert_array_equal(labels, np.concatenate([y, small]))
    joined = np.concatenate([x, held])
    np.testing.assert_allclose(
        rows, (joined - joined.mean(0)) / joined.std(0), rtol=1e-3, atol=1e-3
    )
    begin = rows @ settings["begin"].weight + settings["begin"].bias  # the model that was chosen
    wanted = ((joined - x.mean(0)) / x.std(0)) @ models[0].weight + models[0].bias
    assert np.abs(begin - wanted).max() < 0.02 * np.abs(wanted).max()
