"""SER: maps move as their views do, its gradient reaches the encoder, bad settings are named."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_methods
from toys import drawn, read

from eqssl_jax import encoders, methods
from eqssl_jax.methods import ser
from eqssl_jax.presets.benchmark import benchmark
from eqssl_jax.training.optimizer import permissive
from eqssl_jax.training.state import init_state
from eqssl_jax.training.step import make_step
from eqssl_jax.views import render

SIDE = 8


@pytest.fixture
def config():
    made = tiny_methods.settings_of("ser", "info_nce")
    made.objectives.ser.layer = "stem"
    made.train.batch_size = 8
    return made


def network():
    return encoders.build(encoder="conv_tiny", projector=(8, 4), mean=(0.5,) * 3, std=(0.2,) * 3)


def pooled(images):
    """Means of 2 × 2 pixels: a map that flips and turns as its image does."""
    count = images.shape[0]
    return images.reshape(count, SIDE // 2, 2, SIDE // 2, 2, 3).mean((2, 4))


def test_a_map_that_turns_as_its_image_does_is_moved_onto_the_other_views(config):
    spec = methods.build(config).views["ser_frames"]
    draws = drawn(spec, 32)
    # Without the crop, so that the views differ by their frames alone.
    whole = jax.tree.map(
        lambda leaf, still: jnp.broadcast_to(jnp.asarray(still, leaf.dtype), leaf.shape),
        draws.params[ser.LOOK],
        dict(spec.transform.identity[ser.LOOK]),
    )
    params = {**draws.params, ser.LOOK: whole}
    images = np.random.default_rng(0).uniform(size=(32, SIDE, SIDE, 3)).astype(np.float32)
    rendered = jax.jit(lambda params, images: render(spec.transform, params, images))
    start_map, end_map = (pooled(view) for view in np.asarray(rendered(params, images)))
    start, end = (jax.tree.map(lambda leaf, v=v: leaf[v], params[ser.MOVE]) for v in (0, 1))
    assert (np.asarray(start["turn"]["turns"]) != np.asarray(end["turn"]["turns"])).any()
    np.testing.assert_allclose(jax.jit(ser.moved)(start_map, start, end), end_map, atol=1e-5)
    assert np.abs(np.asarray(start_map) - np.asarray(end_map)).max() > 0.1


def test_both_views_share_the_crop_and_move_apart(config):
    params = drawn(methods.build(config).views["ser_frames"], 16).params
    top, turns = params[ser.LOOK]["crop"]["top"], params[ser.MOVE]["turn"]["turns"]
    np.testing.assert_array_equal(top[0], top[1])
    assert set(np.unique(turns)) == {0, 1, 2, 3}
    assert (np.asarray(turns[0]) != np.asarray(turns[1])).any()
    config.objectives.ser.independent = ("crop",)
    top = drawn(methods.build(config).views["ser_frames"], 16).params[ser.LOOK]["crop"]["top"]
    assert (np.asarray(top[0]) != np.asarray(top[1])).any()


def test_its_gradient_reaches_the_encoder_and_its_loss_falls(config):
    """In the code as published the term trains nothing."""
    del config.objectives.info_nce
    built, optimizer = methods.build(config), permissive(optax.adam(1e-2))
    pool = np.random.default_rng(1).uniform(size=(8, SIDE, SIDE, 3)).astype(np.float32)
    state = init_state(jax.random.key(0), network(), built, optimizer, pool.shape[1:], 8)
    step = jax.jit(make_step(network(), built, optimizer, read, jax.random.key(1)))
    before, losses = state.params["network"]["encoder"], []
    for _ in range(30):
        state, metrics = step(state, pool, np.arange(8, dtype=np.int32))
        losses.append(float(metrics["ser"]))
    after = state.params["network"]["encoder"]
    assert np.abs(after["conv1"]["kernel"] - before["conv1"]["kernel"]).max() > 1e-3
    # The map of the last layer has no part in the loss of the first.
    np.testing.assert_array_equal(after["conv3"]["kernel"], before["conv3"]["kernel"])
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.1, losses


def test_scenes_are_turned_and_not_flipped():
    config = benchmark("solids", "ser")
    params = drawn(methods.build(methods.resolved(config)).views["ser_frames"], 8).params
    assert set(params[ser.MOVE]) == {"turn"}
    turn, floor = (params[ser.LOOK][part] for part in ("turn", "floor"))
    np.testing.assert_array_equal(turn["rotation"][0], turn["rotation"][1])
    assert (np.asarray(floor["hue"][0]) != np.asarray(floor["hue"][1])).all()
    maps = jnp.arange(8 * 4 * 4.0).reshape(8, 4, 4, 1)
    start, end = (jax.tree.map(lambda leaf, v=v: leaf[v], params[ser.MOVE]) for v in (0, 1))
    wanted = [
        np.rot90(image, end["turn"]["turns"][i] - start["turn"]["turns"][i])
        for i, image in enumerate(np.asarray(maps))
    ]
    np.testing.assert_array_equal(jax.jit(ser.moved)(maps, start, end), wanted)


def test_a_layer_that_the_encoder_has_not_is_named_with_those_it_has(config):
    config.objectives.ser.layer = "layer9"
    built = methods.build(config)
    with pytest.raises(ValueError, match=r"'layer9'.*'stem', 'layer1', 'layer2'"):
        init_state(jax.random.key(0), network(), built, optax.identity(), (SIDE, SIDE, 3), 8)


def test_settings_that_do_not_fit(config):
    config.objectives.ser.images = 9
    with pytest.raises(ValueError, match="images is 9, more than the 8"):
        methods.build(config)
    config.objectives.ser.images, config.objectives.ser.independent = 4, ("jitter",)
    with pytest.raises(ValueError, match=r"independent names \['jitter'\]"):
        methods.build(config)


def test_tokens_are_rows_of_a_square():
    tokens = jnp.arange(2 * 9 * 4.0).reshape(2, 9, 4)
    np.testing.assert_array_equal(ser.places(tokens)[1, 2, 0], tokens[1, 6])
    with pytest.raises(ValueError, match="8 tokens"):
        ser.places(tokens[:, :8])
