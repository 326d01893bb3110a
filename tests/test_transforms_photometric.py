"""Colour jitter, grayscale, blur, solarize, normalize: torchvision's values, laws, bad input."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import transforms as t

jitter = jax.jit(t.color_jitter().apply)


def draws(transform, count):
    params = jax.jit(jax.vmap(transform.sample))(jax.random.split(jax.random.key(0), count))
    return {name: np.asarray(leaf) for name, leaf in params.items()}


def change(order=(0, 1, 2, 3), **factors):
    """Jitter parameters that change only the given factors."""
    real = {name: jnp.float32(value) for name, value in factors.items()}
    return {**t.color_jitter().identity, **real, "order": jnp.array(order, jnp.int32)}


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_jitter_equals_torchvision(golden, name):
    values = golden("torchvision")
    for factor, wanted in zip(values[f"{name}_factor"], values[name], strict=True):
        for image, want in zip(values["images"], wanted, strict=True):
            for order in ((0, 1, 2, 3), (3, 2, 1, 0)):
                got = jitter(change(order, **{name: factor}), image)
                np.testing.assert_allclose(got, want, atol=1e-5)


def test_grayscale_equals_torchvision(golden):
    values = golden("torchvision")
    for image, want in zip(values["images"], values["grayscale"], strict=True):
        got = t.grayscale().apply({"gray": jnp.array(True)}, jnp.asarray(image))
        np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), atol=1e-5)


@pytest.mark.parametrize("kernel", [3, 5])
def test_blur_equals_torchvision(golden, kernel):
    values = golden("torchvision")
    blur = jax.jit(t.gaussian_blur(kernel).apply)
    for sigma, wanted in zip(values[f"blur{kernel}_sigma"], values[f"blur{kernel}"], strict=True):
        for image, want in zip(values["images"], wanted, strict=True):
            np.testing.assert_allclose(blur({"sigma": sigma}, image), want, atol=1e-5)


def test_solarize_equals_torchvision(golden):
    values = golden("torchvision")
    for threshold, wanted in zip(values["solarize_threshold"], values["solarize"], strict=True):
        for image, want in zip(values["images"], wanted, strict=True):
            got = t.solarize().apply({"threshold": threshold}, jnp.asarray(image))
            np.testing.assert_allclose(got, want, atol=1e-5)


def test_every_order_equals_its_changes_one_after_another(golden):
    image = jnp.asarray(golden("torchvision")["images"][3])
    factors = dict(brightness=1.4, contrast=0.6, saturation=1.5, hue=0.1)
    outcomes = []
    for order in itertools.permutations(range(4)):
        want = image
        for kind in order:
            name = list(factors)[kind]
            want = jitter(change(**{name: factors[name]}), want)
        got = jitter(change(order, **factors), image)
        np.testing.assert_allclose(got, want, atol=5e-6)
        outcomes.append(np.asarray(got))
    # The order matters here, so a wrong one would be noticed.
    distances = [np.abs(a - b).max() for a, b in itertools.combinations(outcomes, 2)]
    assert np.median(distances) > 0.05


def test_no_branch_is_run_for_another_order():
    params = jax.jit(jax.vmap(t.color_jitter().sample))(jax.random.split(jax.random.key(0), 2))
    program = str(jax.make_jaxpr(jax.vmap(t.color_jitter().apply))(params, jnp.ones((2, 4, 4, 3))))
    assert "cond[" not in program
    assert program.count("split[") == 1  # the hue is shifted once; it alone splits the channels


def test_jitter_ranges_and_orders():
    drawn = draws(t.color_jitter(0.4, 0.3, 1.5, 0.1), 6000)
    limits = dict(brightness=(0.6, 1.4), contrast=(0.7, 1.3), saturation=(0, 2.5), hue=(-0.1, 0.1))
    for name, (low, high) in limits.items():
        margin = 0.01 * (high - low)
        assert low <= drawn[name].min() < low + margin
        assert high - margin < drawn[name].max() <= high
        assert abs(drawn[name].mean() - (low + high) / 2) < 2 * margin
    orders, counts = np.unique(drawn["order"], axis=0, return_counts=True)
    assert {tuple(order) for order in orders} == set(itertools.permutations(range(4)))
    assert counts.min() > 180 and counts.max() < 320  # 250 each


def test_factors_are_independent():
    drawn = draws(t.color_jitter(), 4000)
    names = ("brightness", "contrast", "saturation", "hue")
    correlation = np.corrcoef([drawn[name] for name in names])
    assert np.abs(correlation - np.eye(4)).max() < 0.06


def test_strength_zero_draws_the_identity():
    drawn = draws(t.color_jitter(0, 0, 0, 0), 3)
    for name in ("brightness", "contrast", "saturation", "hue"):
        want = np.full(3, t.color_jitter().identity[name])
        np.testing.assert_array_equal(drawn[name], want)


def test_hue_has_its_derivative_at_the_identity(golden):
    image = jnp.asarray(golden("torchvision")["images"][3])

    def green(turns, x):
        return jnp.sum(jitter({**change(), "hue": turns}, x)[..., 1])

    slope = jax.grad(green)(jnp.float32(0), image)
    step = 1e-3
    secant = (green(jnp.float32(step), image) - green(jnp.float32(-step), image)) / (2 * step)
    assert abs(slope) > 1
    np.testing.assert_allclose(slope, secant, rtol=0.1)


def test_a_whole_turn_of_hue_returns():
    x = jax.random.uniform(jax.random.key(1), (8, 8, 3))
    np.testing.assert_allclose(jitter(change(hue=1.0), x), x, atol=2e-6)
    red = jnp.zeros((4, 4, 3)).at[..., 0].set(1.0)
    third = jitter(change(hue=1 / 3), red)
    np.testing.assert_allclose(third, np.zeros((4, 4, 3)) + np.array([0, 1, 0]), atol=1e-5)


def test_grayscale_probability():
    for probability in (0.0, 0.2, 1.0):
        share = draws(t.grayscale(probability), 4000)["gray"].mean()
        assert abs(share - probability) < 0.03


def test_blur_equals_a_loop_and_reflects():
    x = np.random.default_rng(0).uniform(size=(5, 6, 1)).astype(np.float32)
    sigma, radius = 1.1, 3
    w = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    w /= w.sum()
    padded = np.pad(x, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    want = np.zeros_like(x)
    for i, j in itertools.product(range(5), range(6)):
        want[i, j] = np.einsum("a,b,abc->c", w, w, padded[i : i + 7, j : j + 7])
    got = jax.jit(t.gaussian_blur(7).apply)({"sigma": np.float32(sigma)}, x)
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_blur_of_almost_nothing_is_nothing():
    x = jax.random.uniform(jax.random.key(0), (6, 6, 3))
    blur = t.gaussian_blur(3)

    def total(sigma):
        blurred = blur.apply({"sigma": sigma}, x)
        return jnp.sum(blurred**2), blurred

    slope = jax.jit(jax.grad(total, has_aux=True))

    for sigma in (0.0, 1e-38, 1e-6, 0.03):
        gradient, blurred = slope(jnp.float32(sigma))
        np.testing.assert_array_equal(blurred, x)
        assert np.isfinite(gradient)
    assert slope(jnp.float32(0.5))[0] < 0  # more blur, less contrast


def test_blur_sigma_range():
    sigma = draws(t.gaussian_blur(3, sigma=(0.1, 2.0)), 2000)["sigma"]
    assert 0.1 <= sigma.min() < 0.13 and 1.97 < sigma.max() <= 2


def test_solarize_identity_keeps_white_and_ladders_start_at_once():
    x = jnp.array([1.0, 0.999, 0.5]).reshape(1, 3, 1)
    sun = t.solarize(0.5)
    assert sun.identity["threshold"] > 1
    np.testing.assert_array_equal(sun.apply(sun.identity, x), x)
    small = sun.identity["threshold"] + 0.01 * (0.5 - sun.identity["threshold"])
    got = sun.apply({"threshold": jnp.float32(small)}, x).ravel()
    np.testing.assert_allclose(got, [0, 0.001, 0.5], atol=1e-6)
    drawn = draws(t.solarize((0.2, 0.4)), 500)["threshold"]
    assert drawn.min() >= 0.2 and drawn.max() <= 0.4


def test_normalize_standardises_each_channel():
    x = jax.random.uniform(jax.random.key(0), (16, 16, 3))
    mean, std = np.asarray(x.mean((0, 1))), np.asarray(x.std((0, 1)))
    scaled = t.normalize(mean.tolist(), std.tolist())
    got = scaled.apply(scaled.sample(jax.random.key(0)), x)
    np.testing.assert_allclose(got.mean((0, 1)), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(got.std((0, 1)), np.ones(3), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: t.color_jitter(brightness=-0.1), "brightness"),
        (lambda: t.color_jitter(contrast=float("nan")), "contrast"),
        (lambda: t.color_jitter(hue=0.6), "hue"),
        (lambda: t.color_jitter(hue=-0.1), "hue"),
        (lambda: t.grayscale(-1), "probability"),
        (lambda: t.gaussian_blur(4), "odd"),
        (lambda: t.gaussian_blur(-3), "odd"),
        (lambda: t.gaussian_blur(3, sigma=(0, 1)), "sigma"),
        (lambda: t.gaussian_blur(3, sigma=(2, 1)), "sigma"),
        (lambda: t.solarize(1.5), "threshold"),
        (lambda: t.solarize((0.6, 0.2)), "threshold"),
        (lambda: t.normalize((0.5,), (0.2, 0.2)), "std"),
        (lambda: t.normalize((0.5,), (0.0,)), "std"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_images_are_refused():
    one_channel, batch = jnp.zeros((8, 8, 1)), jnp.zeros((2, 8, 8, 3))
    for transform in (t.color_jitter(), t.grayscale()):
        for x in (one_channel, batch):
            with pytest.raises(ValueError, match="RGB"):
                transform.apply(transform.identity, x)
    with pytest.raises(ValueError, match="channels"):
        t.normalize((0.5,) * 3, (0.2,) * 3).apply({"mean": 0, "std": 1}, one_channel)
    with pytest.raises(ValueError, match="reflect"):
        t.gaussian_blur(5).apply({"sigma": jnp.float32(1)}, jnp.zeros((2, 8, 3)))
    for transform in (t.gaussian_blur(3), t.solarize()):
        with pytest.raises(ValueError, match=r"jax\.vmap"):
            transform.apply(transform.identity, batch)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_single_factors_are_the_jitter_with_the_others_still(name):
    single = getattr(t, name)(0.3)
    joint = t.color_jitter(**{**dict.fromkeys(("brightness", "contrast", "saturation"), 0.0),
                              "hue": 0.0, name: 0.3})  # fmt: skip
    drawn = jax.jit(single.sample)(jax.random.key(1))
    assert list(drawn) == [name]
    x = np.random.default_rng(0).uniform(size=(8, 8, 3)).astype(np.float32)
    apply = jax.jit(single.apply)
    expected = jax.jit(joint.apply)({**joint.identity, **drawn}, x)
    np.testing.assert_allclose(apply(drawn, x), expected, atol=1e-6)
    assert np.abs(np.asarray(apply(drawn, x)) - x).max() > 1e-2
    np.testing.assert_array_equal(apply(single.identity, x), x)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_single_factors_refuse_bad_strengths(name):
    with pytest.raises(ValueError, match=rf"strength of {name}\(\) is -0.1"):
        getattr(t, name)(-0.1)
