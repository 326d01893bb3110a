"""Laws that every transformation obeys, and chain and maybe."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import transforms as t
from eqssl_jax import views

SIZE = 12
ALL = {
    "random_resized_crop": t.random_resized_crop(SIZE),
    "center_crop": t.center_crop(SIZE),
    "horizontal_flip": t.horizontal_flip(),
    "rotate": t.rotate(),
    "color_jitter": t.color_jitter(),
    "grayscale": t.grayscale(0.5),
    "gaussian_blur": t.gaussian_blur(5),
    "solarize": t.solarize((0.2, 0.8)),
    "normalize": t.normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
    "maybe": t.maybe(0.5, t.gaussian_blur(3)),
    "chain": t.chain(turn=t.rotate(), sun=t.maybe(0.5, t.solarize())),
    "simclr_cifar": t.recipes.simclr_cifar(SIZE),
    "care_imagenet_equivariant": t.recipes.care_imagenet_equivariant(SIZE),
    "shapes": t.recipes.shapes(SIZE),
}
each = pytest.mark.parametrize("name", ALL)


@pytest.fixture(scope="module")
def images():
    """Noise with the values where formulas break: black, white, gray, and a pure colour."""
    x = np.random.default_rng(0).uniform(size=(4, SIZE, SIZE, 3)).astype(np.float32)
    x[:, 0], x[:, 1], x[:, 2], x[:, 3] = 0, 1, 0.5, (1, 0, 0)
    return x


def sample(transform, count):
    """Draws of `count` keys, the last of which repeats the first."""
    keys = jax.random.split(jax.random.key(7), count)
    # As NumPy's: each row that is taken of a device's array is a program.
    return jax.device_get(jax.jit(jax.vmap(transform.sample))(keys.at[-1].set(keys[0])))


@functools.cache
def draws(name):
    return sample(ALL[name], 32)


@functools.cache
def compiled(name):
    return jax.jit(ALL[name].apply)


def at(params, i):
    return jax.tree.map(lambda leaf: leaf[i], params)


@each
def test_identity_changes_no_bit(name, images):
    for x in images:
        np.testing.assert_array_equal(compiled(name)(ALL[name].identity, x), x)


@each
def test_draw_has_the_structure_of_the_identity(name):
    drawn, identity = jax.eval_shape(ALL[name].sample, jax.random.key(0)), ALL[name].identity
    assert jax.tree.structure(drawn) == jax.tree.structure(identity)
    for leaf, identity_leaf in zip(jax.tree.leaves(drawn), jax.tree.leaves(identity), strict=True):
        assert (leaf.shape, leaf.dtype) == (identity_leaf.shape, identity_leaf.dtype)


@each
def test_draws_follow_the_key_alone(name):
    many = draws(name)
    jax.tree.map(np.testing.assert_array_equal, at(many, 0), at(many, 31))
    if name not in ("normalize", "center_crop"):
        assert any(len(np.unique(leaf, axis=0)) > 1 for leaf in jax.tree.leaves(many))


@each
def test_shape_range_jit_and_vmap(name, images):
    transform, params = ALL[name], at(draws(name), slice(4))
    loop = np.stack([compiled(name)(at(params, i), x) for i, x in enumerate(images)])
    assert loop.shape == images.shape
    assert loop.dtype == np.float32
    if name != "normalize":
        assert 0 <= loop.min() <= loop.max() <= 1
    if name in ("horizontal_flip", "chain"):  # outside of a program too: each operation compiles
        eager = transform.apply(at(params, 0), jnp.asarray(images[0]))
        np.testing.assert_allclose(eager, loop[0], atol=2e-6)
    if jax.tree.leaves(params):
        batch = jax.jit(jax.vmap(transform.apply))(params, images)
        np.testing.assert_allclose(batch, loop, atol=2e-6)


@each
def test_gradients_of_parameters_are_finite(name, images):
    def total(real, others, x):
        params = jax.tree.map(lambda a, b: b if a is None else a, real, others, is_leaf=empty)
        return jnp.sum(ALL[name].apply(params, x) ** 2)

    def empty(leaf):
        return leaf is None

    def is_real(leaf):
        return jnp.issubdtype(leaf.dtype, jnp.floating)

    gradient = jax.jit(jax.grad(total))
    for params in (ALL[name].identity, at(draws(name), 0)):
        real = jax.tree.map(lambda leaf: leaf if is_real(leaf) else None, params)
        for leaf in jax.tree.leaves(gradient(real, params, images[0])):
            assert np.isfinite(leaf).all()


def test_chain_applies_from_left_to_right_with_independent_draws(images):
    chained = t.chain(first=t.rotate(), second=t.rotate())
    params = chained.sample(jax.random.key(0))
    assert params["first"]["angle"] != params["second"]["angle"]
    flip = {"flip": jnp.array(True)}
    angle = {"angle": jnp.float32(0.7)}
    two = t.chain(flip=t.horizontal_flip(), turn=t.rotate())
    got = jax.jit(two.apply)({"flip": flip, "turn": angle}, images[0])
    rotate = jax.jit(t.rotate().apply)
    np.testing.assert_array_equal(got, rotate(angle, images[0][:, ::-1]))
    other = rotate(angle, images[0])[:, ::-1]
    assert np.abs(got - other).max() > 0.1


def outside():
    """As users write them: `sample` takes a key, and is no `FromUniform`."""
    return t.Transform(
        lambda key: {"shift": jax.random.normal(key)},
        lambda draw, x: x + draw["shift"],
        {"shift": np.float32(0)},
    )


def test_views_of_a_recipe_call_the_generator_once():
    """Each call is long to compile, and so is a sort."""
    recipe = t.recipes.simclr_cifar(SIZE)
    program = str(
        jax.make_jaxpr(lambda key: views.grouped(2).draw(key, recipe, 4).params)(jax.random.key(0))
    )
    assert program.count("random_bits[") == 1
    assert "random_split" not in program and "sort[" not in program


def test_parts_of_a_chain_draw_independently_of_each_other_and_of_other_images():
    ours, own = t.hue(0.5), outside()
    chained = t.chain(a=ours, own=own, b=ours, other=own, rare=t.maybe(0.5, own))
    assert list(chained.sample(jax.random.key(0))) == ["a", "own", "b", "other", "rare"]
    for transform in (t.chain(a=ours, b=ours), chained):
        drawn = views.independent(2).draw(jax.random.key(3), transform, 2000).params
        columns = [np.asarray(x).reshape(2, -1) for x in jax.tree.leaves(drawn)]  # [V, N] each
        all_columns = np.concatenate(columns + [np.roll(c, 1, axis=1) for c in columns])
        off = np.corrcoef(all_columns) - np.eye(len(all_columns))
        assert np.abs(off).max() < 0.12  # five standard deviations of 2,000 independent draws
        assert all(len(np.unique(c)) > 0.45 * c.size for c in columns)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1])
def test_maybe_draws_the_identity_with_the_rest_of_the_probability(probability):
    used = sample(t.maybe(probability, t.gaussian_blur(3)), 4000)["sigma"] > 0
    assert abs(float(np.mean(used)) - probability) < (0.03 if 0 < probability < 1 else 1e-9)


def test_maybe_replaces_all_parameters_together():
    params = sample(t.maybe(0.5, t.color_jitter()), 200)
    at_rest = np.asarray(params["brightness"]) == 1
    assert 0 < at_rest.sum() < 200
    np.testing.assert_array_equal(np.asarray(params["hue"]) == 0, at_rest)
    orders = np.asarray(params["order"])
    assert (orders[at_rest] == np.arange(4)).all() and (orders[~at_rest] != np.arange(4)).any()


def test_bad_composition_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        t.chain()
    for probability in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="probability"):
            t.maybe(probability, t.rotate())
