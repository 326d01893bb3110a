"""Who shares a draw: the laws of every pattern, and rendering."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import transforms as t
from eqssl_jax import views

CHAIN = t.chain(
    rotate=t.rotate(), flip=t.horizontal_flip(), jitter=t.color_jitter(), cut=t.center_crop(6)
)
KEY = jax.random.key(5)


def draw(pattern, count, transform=CHAIN):
    return jax.jit(lambda key: pattern.draw(key, transform, count))(KEY)


def render(params, x):
    return jax.jit(lambda p, x: views.render(CHAIN, p, x))(params, x)


def rows(leaf):
    """The drawn values of a leaf [V, N, ...], one row for each image and view."""
    leaf = np.asarray(leaf)
    return leaf.reshape(leaf.shape[0] * leaf.shape[1], -1)


@pytest.mark.parametrize(
    "pattern",
    [
        views.independent(3),
        views.paired(3),
        views.grouped(2, 3),
        views.grouped(2, 3, reference="identity"),
        views.ladder(3),
        views.fixed(3),
        views.mix(views.independent(3), rotate=views.ladder(3), flip=views.fixed(3)),
    ],
)
def test_every_pattern_draws_leaves_of_views_by_images(pattern):
    params, magnitude = jax.eval_shape(lambda key: pattern.draw(key, CHAIN, 4), KEY)
    assert pattern.views == 3
    assert jax.tree.structure(params) == jax.tree.structure(CHAIN.identity)
    for leaf, identity in zip(
        jax.tree.leaves(params), jax.tree.leaves(CHAIN.identity), strict=True
    ):
        assert (leaf.shape, leaf.dtype) == ((3, 4, *identity.shape), identity.dtype)
    assert magnitude is None or magnitude.shape == (3, 4)


def test_independent_draws_all_differ():
    params, magnitude = draw(views.independent(3), 8)
    assert magnitude is None
    assert len(np.unique(rows(params["rotate"]["angle"]))) == 24
    assert len(np.unique(rows(params["jitter"]["hue"]))) == 24


def test_paired_views_share_their_draw_and_images_do_not():
    params, _ = draw(views.paired(3), 8)
    for leaf in jax.tree.leaves(params):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    assert len(np.unique(params["rotate"]["angle"])) == 8


def test_grouped_draws_are_equal_inside_a_chunk_only():
    params, _ = draw(views.grouped(4, 2), 12)
    chunks = jax.tree.map(lambda leaf: leaf.reshape(2, 4, 3, *leaf.shape[2:]), params)
    for leaf in jax.tree.leaves(chunks):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:, :, :1], leaf.shape))
    assert len(np.unique(params["rotate"]["angle"])) == 8  # 2 views × 4 groups


def test_grouped_identity_reference_leaves_the_first_view_alone():
    params, _ = draw(views.grouped(4, 3, reference="identity"), 8)
    for leaf, identity in zip(
        jax.tree.leaves(params), jax.tree.leaves(CHAIN.identity), strict=True
    ):
        np.testing.assert_array_equal(leaf[0], np.broadcast_to(identity, leaf.shape[1:]))
    assert len(np.unique(params["rotate"]["angle"][1:])) == 8
    x = jax.random.uniform(KEY, (8, 6, 6, 3))
    np.testing.assert_array_equal(render(params, x)[0], x)


def test_even_ladder_walks_from_the_identity_to_the_draw():
    params, magnitude = draw(views.ladder(5, spacing="even"), 6)
    np.testing.assert_allclose(magnitude, np.repeat(np.linspace(0, 1, 5)[:, None], 6, axis=1))
    for name, identity in (("rotate", {"angle": 0.0}), ("jitter", {"brightness": 1.0, "hue": 0.0})):
        for leaf_name, value in identity.items():
            leaf = np.asarray(params[name][leaf_name])
            np.testing.assert_array_equal(leaf[0], np.full(6, value, np.float32))
            assert (leaf[4] != value).all()
            want = value + np.linspace(0, 1, 5)[:, None] * (leaf[4:] - value)
            np.testing.assert_allclose(leaf, want, atol=1e-6)


def test_random_ladder_is_sorted_and_drawn_for_each_image():
    params, magnitude = draw(views.ladder(4), 16)
    assert (np.diff(magnitude, axis=0) > 0).all()
    assert magnitude.min() >= 0 and magnitude.max() <= 1
    assert len(np.unique(magnitude)) == 64
    # One draw an image: the angle over the magnitude is the same on every rung.
    ratio = np.asarray(params["rotate"]["angle"] / magnitude)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1], ratio.shape), rtol=1e-4)
    assert len(np.unique(np.abs(params["rotate"]["angle"][-1]))) == 16


def test_ladder_holds_discrete_parameters_as_drawn():
    params, _ = draw(views.ladder(4), 32)
    for leaf in (params["flip"]["flip"], params["jitter"]["order"]):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    assert 0 < np.asarray(params["flip"]["flip"][0]).sum() < 32


def test_fixed_is_the_identity_everywhere():
    x = jax.random.uniform(KEY, (4, 6, 6, 3))
    params, magnitude = draw(views.fixed(2), 4)
    assert magnitude is None
    np.testing.assert_array_equal(render(params, x), jnp.stack([x, x]))


def test_mix_shares_each_part_in_its_own_way():
    pattern = views.mix(
        views.independent(2), rotate=views.paired(2), flip=views.fixed(2), jitter=views.grouped(2)
    )
    params, magnitude = draw(pattern, 8)
    assert magnitude is None
    angle, hue = params["rotate"]["angle"], params["jitter"]["hue"]
    np.testing.assert_array_equal(angle[0], angle[1])
    assert len(np.unique(angle)) == 8 and len(np.unique(hue)) == 4
    assert not np.any(params["flip"]["flip"])
    plain = draw(views.mix(views.independent(2), rotate=views.fixed(2)), 8).params
    assert len(np.unique(plain["jitter"]["hue"])) == 16


def test_mix_passes_on_the_one_ladder():
    part = views.mix(views.paired(3), rotate=views.ladder(3, spacing="even"))
    params, magnitude = draw(part, 4)
    np.testing.assert_array_equal(magnitude[0], np.zeros(4))
    np.testing.assert_array_equal(params["rotate"]["angle"][0], np.zeros(4))
    np.testing.assert_array_equal(params["jitter"]["hue"][0], params["jitter"]["hue"][2])
    base = views.mix(views.ladder(3, spacing="even"), flip=views.fixed(3))
    assert draw(base, 4).magnitude.shape == (3, 4)


def test_render_equals_a_loop():
    x = np.random.default_rng(0).uniform(size=(3, 6, 6, 3)).astype(np.float32)
    params = jax.device_get(draw(views.independent(2), 3).params)
    got = np.asarray(render(params, x))
    assert got.shape == (2, 3, 6, 6, 3)
    apply = jax.jit(CHAIN.apply)
    for v, i in itertools.product(range(2), range(3)):
        drawn = jax.tree.map(lambda leaf, v=v, i=i: leaf[v, i], params)
        np.testing.assert_allclose(got[v, i], apply(drawn, x[i]), atol=2e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: views.independent(0), "at least one view"),
        (lambda: views.paired(0), "at least one view"),
        (lambda: views.fixed(-1), "at least one view"),
        (lambda: views.grouped(2, 0), "at least one view"),
        (lambda: views.grouped(0), "at least one group"),
        (lambda: views.grouped(size=0), "at least one group"),
        (lambda: views.grouped(), "number of groups or the size"),
        (lambda: views.grouped(2, size=2), "number of groups or the size"),
        (lambda: views.grouped(2, reference="first"), "reference"),
        (lambda: views.ladder(1), "2 rungs"),
        (lambda: views.ladder(3, spacing="log"), "spacing"),
        (lambda: views.mix(views.independent(2), flip=views.fixed(3)), "number of views"),
        (lambda: draw(views.grouped(3), 8), "equal groups"),
        (lambda: draw(views.mix(views.paired(2), zoom=views.fixed(2)), 2), "zoom"),
        (
            lambda: draw(views.mix(views.ladder(2), flip=views.ladder(2)), 2),
            "one ladder",
        ),
    ],
)
def test_bad_patterns_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_ladder_inside_a_mix_sees_only_its_part():
    still = t.chain(flip=t.horizontal_flip(1.0), jitter=t.color_jitter(), turn=t.rotate(0.0))
    pattern = views.mix(views.paired(3), turn=views.ladder(3))
    _, magnitude = draw(pattern, 4, still)
    np.testing.assert_array_equal(magnitude, 0)  # the rotation never moves, whatever the jitter


def test_images_that_a_maybe_left_alone_have_no_magnitude():
    sometimes = t.chain(turn=t.maybe(0.5, t.rotate()))
    params, magnitude = draw(views.ladder(4), 64, sometimes)
    moved = np.asarray(params["turn"]["angle"])[-1] != 0
    assert 10 < moved.sum() < 54
    assert (np.asarray(magnitude)[:, ~moved] == 0).all()
    assert (np.diff(np.asarray(magnitude)[:, moved], axis=0) > 0).all()


def test_ladder_parts_are_those_whose_numbers_move():
    parts = t.chain(
        crop=t.random_resized_crop(8), flip=t.horizontal_flip(), jitter=t.color_jitter(),
        gray=t.grayscale(), blur=t.maybe(0.3, t.gaussian_blur()), still=t.hue(0.0),
        cut=t.center_crop(8), sun=t.solarize((0.3, 1.0)),
    )  # fmt: skip
    assert views.ladder_parts(parts) == ("crop", "jitter", "blur", "sun")


@pytest.mark.parametrize("count", [1, 4, 7])
def test_groups_of_a_size_fit_any_number_of_images(count):
    angle = np.asarray(draw(views.grouped(size=3), count).params["rotate"]["angle"])  # [2, N]
    of_group = np.arange(count) // 3
    np.testing.assert_array_equal(angle, angle[:, of_group * 3])
    assert len(np.unique(angle)) == 2 * (of_group[-1] + 1)


def test_groups_of_a_size_are_those_of_their_number():
    by_size, by_number = (draw(p, 12) for p in (views.grouped(size=3), views.grouped(4)))
    jax.tree.map(np.testing.assert_array_equal, by_size, by_number)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (views.independent(2), "drawn for each image and each view"),
        (views.paired(2), "drawn for each image, shared by its views"),
        (views.fixed(2), "at its identity"),
        (views.grouped(2), "drawn for every 4 images and each view"),
        (views.grouped(1), "drawn for all images and each view"),
        (views.grouped(size=3), "drawn for every 3 images and each view"),
        (
            views.grouped(4, reference="identity"),
            "drawn for every 2 images and each view, view 1 at its identity",
        ),
        (views.ladder(3), "drawn for each image, approached in 3 steps from its identity"),
        (views.mix(views.fixed(2), flip=views.paired(2)), "at its identity"),
        (
            views.choose(1, views.paired(2), views.grouped(4)),
            "drawn for every 2 images and each view",
        ),
    ],
)
def test_who_shares_a_draw_is_read_off_the_pattern(pattern, words):
    described = views.describe(pattern, ("rotate", "flip"), 8)
    assert described["rotate"] == words
    if words.startswith("at its") and pattern.views == 2 and described["flip"] != words:
        assert described["flip"] == "drawn for each image, shared by its views"
