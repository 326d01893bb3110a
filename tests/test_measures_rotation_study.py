"""A study measures each encoder under the same draws, and says what it had to leave out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures import built_in, evaluate, settings, wahba
from eqssl_jax.transforms.base import Transform

N = 90


def read(pool, inputs):
    return pool[inputs]


@pytest.fixture(scope="module")
def split():
    return Split(N, jax.random.uniform(jax.random.key(0), (N, 4, 4, 3)), read)


def cycle():
    """Permute the channels: an even permutation, so a rotation of any pixel embedding."""
    return Transform(
        lambda key: {"shift": jax.random.randint(key, (), 1, 3)},
        lambda p, x: jnp.take(x, (jnp.arange(3) + p["shift"]) % 3, axis=-1),
        {"shift": jnp.zeros((), jnp.int32)},
    )


def colours(images):
    """The mean colour: turned by `cycle` exactly as the channels are."""
    mean = jnp.mean(images, axis=(1, 2)) - 0.5
    return mean, mean


def corner(images):
    """Six pixels of the first channel: what `cycle` puts there is unrelated."""
    flat = images[..., 0].reshape(images.shape[0], -1)[:, :6] - 0.5
    return flat, flat


def constant(images):
    out = jnp.ones((images.shape[0], 4))
    return out, out


def wide(images):
    flat = images.reshape(images.shape[0], -1)
    return flat, jnp.concatenate([flat, flat], axis=1)


def rotation_study(encoders, split, transform, key, *, augmentations=5, pairs=3, batch=32):
    """What the cards of rotation give figures, of all images."""
    names = ("invariance", "gram", "wahba", "gamma", "composition", "effective_rank")
    budget = settings("full", augmentations=augmentations, pairs=pairs, batch=batch)
    dataset = Dataset("toy", (4, 4, 3), (), (0.0,) * 3, (1.0,) * 3, {"test": split})
    cards = [card for card in built_in() if card.name in names]
    return evaluate(encoders, dataset, transform, key, settings=budget, cards=cards)[1].study


@pytest.fixture(scope="module")
def studies(split):
    return rotation_study(
        {"colours": colours, "corner": corner, "constant": constant, "wide": wide},
        split,
        cycle(),
        jax.random.key(1),
        augmentations=5,
        pairs=3,
        batch=32,
    )


def test_an_equivariant_encoder_scores_zero_everywhere(studies):
    measures = studies["colours"].measures
    for name in ("wahba_per_root_n", "wahba_held_out_per_root_n", "gamma", "gram_error"):
        assert measures[name].max() < 1e-5, name
    assert measures["rotation_residual"].max() < 1e-9
    assert measures["composition_error"].max() < 1e-5
    # Two shifts that undo each other move nothing: 0/0.
    assert np.nanmax(measures["composition_held_out"]) < 1e-5
    assert np.nanmax(measures["composition_residual"]) < 1e-9
    assert measures["invariance_error"].min() > 0.1  # it does move
    assert not studies["colours"].skipped


def test_an_unrelated_encoder_does_not(studies):
    measures = studies["corner"].measures
    assert measures["wahba_held_out_per_root_n"].min() > 1
    assert measures["rotation_residual"].min() > 0.5
    assert measures["composition_relative"].min() > 0.3
    assert np.nanmin(measures["composition_residual"]) > 0.5


def test_shapes_and_scales(studies):
    study = studies["corner"]
    np.testing.assert_allclose(
        study.measures["wahba"], study.measures["wahba_per_root_n"] * np.sqrt(N)
    )
    assert {len(study.measures[k]) for k in ("wahba", "gamma", "invariance_error")} == {5}
    assert len(study.measures["composition_error"]) == 3
    assert study.cosines.shape == (5, N)
    np.testing.assert_allclose(
        study.measures["invariance_error"], 2 - 2 * study.cosines.mean(axis=1)
    )


@jax.jit
def augmented(key, images):
    """Embeddings by `corner` under the draw of a key."""
    return corner(jax.vmap(cycle().apply, in_axes=(None, 0))(cycle().sample(key), images))[1]


def test_positive_pairs_are_of_two_augmentations(split, studies):
    study = studies["corner"]
    keys = jax.random.split(jax.random.key(1), 5)
    z = []
    for key in keys:
        embeddings = np.asarray(augmented(key, split.pool), np.float64)
        z.append(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    expected = [[z[2 * p][i] @ z[2 * p + 1][i] for i in range(N)] for p in range(2)]
    assert study.positive_cosines.shape == (2, N)  # the fifth augmentation has no partner
    np.testing.assert_allclose(study.positive_cosines, expected, atol=1e-6)
    np.testing.assert_allclose(study.measures["positive_cosine"], np.mean(expected, axis=1))
    np.testing.assert_allclose(study.measures["cosine_variance"], study.cosines.var(axis=1))
    assert studies["constant"].measures["cosine_variance"].max() == 0
    alone = rotation_study({"corner": corner}, split, cycle(), jax.random.key(1),
                           augmentations=1)["corner"]  # fmt: skip
    assert alone.positive_cosines.shape == (0, N)
    assert alone.skipped["positive_cosine"] == "a pair needs two augmentations"


def plane(images):
    """Two dimensions in the plane across gray, where `cycle` is a turn by thirds."""
    mean = jnp.mean(images, axis=(1, 2)) - jnp.mean(images, axis=(1, 2, 3))[:, None]
    axes = jnp.array([[2.0, -1, -1], [0, np.sqrt(3), -np.sqrt(3)]]) / jnp.sqrt(6.0)
    return mean, mean @ axes.T


def test_embeddings_on_the_circle(split):
    """Of two dimensions every measure is there, zero for a rotation, and the points are kept."""
    studied = rotation_study(
        {"plane": plane, "colours": colours}, split, cycle(), jax.random.key(1),
        augmentations=4, pairs=3, batch=32,
    )  # fmt: skip
    measures = studied["plane"].measures
    for name in ("wahba_per_root_n", "wahba_held_out_per_root_n", "gamma", "gram_error",
                 "composition_error", "cosine_variance"):  # fmt: skip
        assert measures[name].max() < 1e-5, name
    assert not studied["plane"].skipped and 1 < measures["effective_rank"][0] <= 2
    # Each augmentation turns all images by one third, this way or that.
    np.testing.assert_allclose(studied["plane"].cosines, -0.5, atol=1e-5)
    circle = studied["plane"].circle
    assert circle.shape == (5, N, 2) and studied["colours"].circle is None
    np.testing.assert_allclose(np.linalg.norm(circle, axis=-1), 1)
    np.testing.assert_allclose(
        np.einsum("nd,and->an", circle[0], circle[1:]), studied["plane"].cosines
    )


def test_an_invariant_encoder_is_seen_as_one(studies):
    measures = studies["constant"].measures
    assert measures["invariance_error"].max() == 0
    assert np.isnan(measures["gamma"]).all()
    assert (measures["gamma_dropped"] == N * (N - 1) // 2).all()
    assert np.isnan(measures["rotation_residual"]).all()
    assert measures["effective_rank"][0] == pytest.approx(1)


def test_too_many_dimensions_are_skipped_with_the_reason(studies):
    study = studies["wide"]  # 96 dimensions, 90 images
    assert "wahba" not in study.measures and "composition_error" not in study.measures
    assert "more than 96 images" in study.skipped["wahba"]
    assert "more than 192 images" in study.skipped["wahba_held_out_per_root_n"]
    assert "more than 192 images" in study.skipped["composition_residual"]
    assert np.isfinite(study.measures["gram_error"]).all()


def test_what_one_image_cannot_give_is_left_out_and_the_rest_is_kept(split):
    alone = Split(1, split.pool[:1], read)
    study = rotation_study(
        {"colours": colours}, alone, cycle(), jax.random.key(1), augmentations=2, pairs=1, batch=1
    )["colours"]
    for name in ("gamma", "gamma_dropped", "gram_error", "effective_rank"):
        assert study.skipped[name] == "needs two images; found 1"
    assert "more than 3 images" in study.skipped["composition_error"]
    assert set(study.measures) == {"invariance_error", "cosine_variance", "positive_cosine"}


def test_one_encoder_alone_gives_the_same(split, studies):
    alone = rotation_study({"corner": corner}, split, cycle(), jax.random.key(1), pairs=0)["corner"]
    np.testing.assert_allclose(alone.measures["wahba"], studies["corner"].measures["wahba"])
    assert "composition_error" not in alone.measures


def test_the_study_is_wahba_on_the_drawn_augmentations(split, studies):
    keys = jax.random.split(jax.random.key(1), 5)
    images = split.pool
    z = np.asarray(corner(images)[1], np.float64)
    for a, key in enumerate(keys):
        z_a = np.asarray(augmented(key, images), np.float64)
        expected = wahba(*(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (z, z_a))).error
        assert studies["corner"].measures["wahba"][a] == pytest.approx(expected, rel=1e-5)
