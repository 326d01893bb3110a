"""Crops from whole images of any aspect: how they are read, cut, and never shown with a rim."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_tfds
from PIL import Image

from eqssl_jax import data, presets
from eqssl_jax.data import images, pipeline, stream
from eqssl_jax.experiment.assess import _whole_images
from eqssl_jax.frame import LYING, NOTHING, STANDING
from eqssl_jax.measures.classes.care_probe import care_probe
from eqssl_jax.training.checks import check_crops
from eqssl_jax.training.setup import setup
from eqssl_jax.transforms import center_crop, frames, random_resized_crop, recipes

RED, BLUE = (250, 10, 10), (10, 10, 250)


def ends(height, width):
    """A gray picture whose two ends along its long side are red and blue, a tenth of it each."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    long = pixels if width >= height else pixels.swapaxes(0, 1)
    tenth = long.shape[1] // 10
    long[:, :tenth], long[:, -tenth:] = RED, BLUE
    return pixels


def smooth(height, width):
    """A picture without fine detail, so that two ways of scaling it agree."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(3 * x + 2 * y), np.cos(4 * y - x), np.sin(5 * x * y + 1)]
    return np.round(127 + 100 * np.stack(waves, -1)).astype(np.uint8)


def as_float(frame):
    return jnp.asarray(frame, jnp.float32) / 255


def crops(transform, frame, count, seed=0):
    draws = jax.vmap(transform.sample)(jax.random.split(jax.random.key(seed), count))
    return np.asarray(jax.jit(jax.vmap(transform.apply, (0, None)))(draws, as_float(frame)))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A TFDS set of wide and high pictures with ends of their own colours."""
    shapes = [(40, 56), (60, 42), (32, 48), (36, 36)]
    items = [(tiny_tfds.encode(ends(*shapes[i % 4])), i // 4 % 2) for i in range(48)]
    place = tmp_path_factory.mktemp("frames")
    return tiny_tfds.write(place, {"train": items, "test": items[:16]})


def load(directory, fit, **options):
    return data.load(
        name="tiny_photos", directory=directory, size=32, fit=fit, on_device=False, **options
    )


def shown(dataset, views):
    """Whether red, and whether blue, is in some crop of the first picture of test, 56 × 40."""
    frame = dataset.splits["test"].load(np.arange(1))[0]
    transform = recipes.crop_flip(16, flip=0.0)
    seen = crops(transform, frame, views)
    red, blue = seen[..., 0] - seen[..., 2], seen[..., 2] - seen[..., 0]
    return red.max() > 0.8, blue.max() > 0.8


def test_random_crops_reach_both_ends_of_a_wide_picture_only_in_a_frame(directory):
    framed, center = load(directory, "frame"), load(directory, "center")
    assert framed.image_shape == (32, 48, 4) and center.image_shape == (32, 32, 3)
    assert shown(framed, 200) == (True, True)
    assert shown(center, 200) == (False, False)


@pytest.mark.parametrize(
    ("height", "width", "length", "mark"),
    [(20, 28, 22, LYING), (28, 20, 22, STANDING), (20, 20, 16, LYING), (20, 200, 24, LYING)],
)
def test_a_picture_lies_whole_in_its_frame_and_a_long_one_with_its_middle(
    height, width, length, mark
):
    pixels = ends(height, width)
    frame = images.fit(pixels, 16, framed=True)
    assert frame.shape == (16, 24, 4) and frame.dtype == np.uint8
    assert (frame[:, :length, 3] == mark).all() and (frame[:, length:] == NOTHING).all()
    scale = 16 / min(height, width)
    whole = Image.fromarray(pixels).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.BILINEAR
    )
    whole = np.asarray(whole)
    if mark == STANDING:
        whole = whole.swapaxes(0, 1)
    start = (whole.shape[1] - length) // 2
    np.testing.assert_array_equal(frame[:, :length, :3], whole[:, start : start + length])
    decoded = images.decode(lambda: png(pixels), "x", 16, images.Decoding(framed=True))
    np.testing.assert_array_equal(decoded, frame)


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("aspect", [0.667, 0.9, 1.0, 1.33, 1.5])
def test_a_box_keeps_its_shape_in_pixels_and_its_area_where_it_fits(aspect):
    transform = random_resized_crop(8, scale=(0.08, 1.0))
    drawn = jax.vmap(transform.sample)(jax.random.split(jax.random.key(1), 2000))
    drawn = {name: np.asarray(value, np.float64) for name, value in drawn.items()}
    fit = jax.vmap(frames.fitted, (0, None))(drawn, jnp.float32(aspect))
    box = {name: np.asarray(value, np.float64) for name, value in fit.items()}
    np.testing.assert_allclose(
        box["width"] / box["height"] * aspect, drawn["width"] / drawn["height"], rtol=1e-5
    )
    area, wanted = box["height"] * box["width"], drawn["height"] * drawn["width"]
    fits = np.maximum(drawn["height"] * aspect**0.5, drawn["width"] / aspect**0.5) <= 1
    np.testing.assert_allclose(area[fits], wanted[fits], rtol=1e-5)
    touching = np.maximum(box["height"], box["width"])[~fits]
    np.testing.assert_allclose(touching, 1.0, rtol=1e-6)
    for start, length in (("top", "height"), ("left", "width")):
        assert (box[start] >= 0).all() and (box[start] + box[length] <= 1 + 1e-6).all()
        room = 1 - drawn[length] > 1e-3
        np.testing.assert_allclose(
            box[start][room], (drawn[start] / (1 - drawn[length]) * (1 - box[length]))[room],
            atol=2e-4,
        )  # fmt: skip
    if aspect == 1.0:
        for name in drawn:
            np.testing.assert_allclose(box[name], drawn[name], atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 33), (33, 24), (24, 24)])
def test_a_crop_of_a_frame_is_that_of_the_picture_alone(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    frame = np.array(images.fit(pixels, 24, framed=True))
    frame[frame[..., 3] == NOTHING, :3] = (255, 0, 255)  # whatever lies beside it does not count
    transform = random_resized_crop(12)
    apply = jax.jit(transform.apply)
    for seed in range(5):
        drawn = transform.sample(jax.random.key(seed))
        box = frames.fitted(drawn, jnp.float32(shape[1] / shape[0]))
        wanted = apply(box, as_float(pixels))
        np.testing.assert_allclose(apply(drawn, as_float(frame)), wanted, atol=1e-4)


@pytest.mark.parametrize("shape", [(300, 420), (450, 310)])
def test_evaluation_is_resize_256_and_center_crop_224(shape):
    pixels = smooth(*shape)
    scale = 256 / min(shape)
    height, width = (int(side * scale) for side in shape)  # as torchvision's Resize(256)
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    top, left = round((height - 224) / 2), round((width - 224) / 2)
    wanted = np.asarray(resized.crop((left, top, left + 224, top + 224))) / 255
    frame = as_float(images.fit(pixels, 256, framed=True))
    cut = center_crop(224)
    np.testing.assert_allclose(cut.apply(cut.identity, frame), wanted, atol=2 / 255)
    # The identity of random crops: the largest square in the centre.
    square = random_resized_crop(224)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    middle = Image.fromarray(pixels).crop((left, top, left + side, top + side))
    middle = np.asarray(middle.resize((224, 224), Image.Resampling.BILINEAR)) / 255
    np.testing.assert_allclose(square.apply(square.identity, frame), middle, atol=4 / 255)


@pytest.mark.parametrize("shape", [(20, 23), (23, 20)])
def test_what_lies_beside_a_picture_never_shows(shape):
    frame = images.fit(np.full((*shape, 3), 255, np.uint8), 20, framed=True)
    seen = crops(random_resized_crop(10), frame, 1000)
    assert seen.shape == (1000, 10, 10, 3)
    assert seen.min() > 1 - 1e-4
    assert float(center_crop(18).apply({}, as_float(frame)).min()) == 1.0


def test_statistics_are_of_the_pictures_alone(directory):
    train = load(directory, "frame", validation=0.0).splits["train"]
    frames_of = train.load(np.arange(train.size))
    pixels = frames_of[frames_of[..., 3] > 0][:, :3] / 255
    mean, std = pipeline.statistics(train)
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-6)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-6)


def test_streamed_batches_of_frames_are_equal_across_workers(directory):
    split = load(directory, "frame").splits["train"]

    def rows(step):
        return data.batch_indices(0, step, split.size, 8)

    alone = list(stream(split, rows, start=1, stop=4))
    beside = [np.array(batch) for batch in stream(split, rows, start=1, stop=4, workers=1)]
    assert len(alone) == len(beside) == 3
    for batch, batch_of_workers in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(batch, batch_of_workers)
        assert batch.shape == (8, 32, 48, 4)


def small(directory):
    """CARE on ImageNet-100, with another set of images in its place."""
    config = presets.with_care(presets.contrastive("imagenet100"))
    assert config.data.fit == "frame" and config.data.size == 256
    config.data.name, config.data.directory, config.data.size = "tiny_photos", str(directory), 32
    config.model.encoder = "conv_tiny"
    config.recipe.options.size = 28
    config.train.batch_size, config.objectives.equivariance.images = 16, 16
    config.train.steps = 2
    config.optimizer.warmup_epochs = 0.0
    return config


@pytest.mark.slow
def test_a_run_trains_on_frames_and_evaluates_the_central_pixels(directory):
    run = setup(small(directory))
    assert run.stored.image_shape == (32, 48, 4)
    assert run.dataset.image_shape == (28, 28, 3)
    assert run.inputs_shape().shape == (16, 32, 48, 4)
    test = run.dataset.splits["test"]
    plain = load(directory, "center").splits["test"].load(np.arange(4)) / 255
    np.testing.assert_allclose(
        test.read((), test.load(np.arange(4))), plain[:, 2:30, 2:30], atol=1e-6
    )
    # The probe crops from the whole of its images, too.
    views, shapes = recipes.crop_flip(28), []

    def apply(params, x):
        shapes.append(x.shape)
        return views.apply(params, x)

    whole = _whole_images(run, views)
    care_probe(
        lambda x: (x.reshape(len(x), -1),) * 2, run.dataset, views._replace(apply=apply),
        epochs=1, batch=8, seeds=(0,), test_limit=4, augmented=whole,
    )  # fmt: skip
    assert set(shapes) == {(32, 48, 4)}
    seen = run.split.read((), run.split.load(np.arange(2)))
    for spec in run.method.views.values():
        draws = spec.pattern.draw(jax.random.key(0), spec.transform, 16).params
        first = jax.tree.map(lambda leaf: leaf[0, :2], draws)
        views = jax.eval_shape(jax.vmap(spec.transform.apply), first, seen)
        assert views.shape == (2, 28, 28, 3)


def test_what_cannot_read_frames_is_refused(directory):
    dataset = load(directory, "frame")
    with pytest.raises(ValueError, match=r"data\.fit.*first part of the recipe of contrast is rot"):
        check_crops(dataset, {"contrast": recipes.shapes(16)})
    config = small(directory)
    config.evaluation.recipe = "factors"
    with pytest.raises(ValueError, match=r"recipe of evaluation is rotate.*'center'"):
        setup(config)
    with pytest.raises(ValueError, match=r"config\.data\.size"):
        data.load(name="tiny_photos", directory=directory, fit="frame")
    with pytest.raises(ValueError, match=r"'frame', which is for image files.*bloodcells"):
        data.load(name="bloodcells", directory=directory, size=32, fit="frame")
    with pytest.raises(ValueError, match=r"data\.fit\) must be .* found 'whole'"):
        load(directory, "whole")
