"""Crops, flips and rotations: torchvision's values, their sampling laws, and bad input."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import transforms as t
from eqssl_jax.transforms.geometry import _resampling


@functools.cache
def crop_to(size):
    return jax.jit(t.random_resized_crop(size).apply)


turn = jax.jit(t.rotate().apply)


def draws(transform, count):
    params = jax.jit(jax.vmap(transform.sample))(jax.random.split(jax.random.key(0), count))
    return {name: np.asarray(leaf) for name, leaf in params.items()}


def box(top, left, height, width):
    return {
        name: jnp.float32(value)
        for name, value in dict(top=top, left=left, height=height, width=width).items()
    }


@pytest.mark.parametrize("size", [16, 32])
def test_crop_equals_torchvision(golden, size):
    values = golden("torchvision")
    crop = crop_to(size)
    for pixels, wanted in zip(
        values["crop_boxes_top_left_height_width"], values[f"resized_crop{size}"], strict=True
    ):
        for image, want in zip(values["images"], wanted, strict=True):
            np.testing.assert_allclose(crop(box(*pixels / 32), image), want, atol=1e-5)


def test_flip_equals_torchvision(golden):
    values = golden("torchvision")
    flip = {"flip": jnp.array(True)}
    for image, want in zip(values["images"], values["hflip"], strict=True):
        np.testing.assert_array_equal(t.horizontal_flip().apply(flip, jnp.asarray(image)), want)


def test_rotation_equals_torchvision(golden):
    values = golden("torchvision")
    for degrees, wanted in zip(
        values["rotate_degrees_counterclockwise"],
        values["rotate_bilinear_zero_fill"],
        strict=True,
    ):
        for image, want in zip(values["images"], wanted, strict=True):
            got = turn({"angle": jnp.deg2rad(degrees)}, image)
            np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("size", [1, 33, 100, 224])
def test_whole_box_is_the_identity_at_any_size(size):
    x = jax.random.uniform(jax.random.key(size), (size, size, 1))
    crop = t.random_resized_crop(size)
    np.testing.assert_array_equal(jax.jit(crop.apply)(crop.identity, x), x)


def in_passes(a, b, count):
    """a @ b as an accelerator multiplies: float32 as a sum of bfloat16 parts, `count` products."""
    orders, halves = {1: (1, 1), 3: (2, 2), 6: (3, 3)}[count], []
    for x in (a, b):
        halves.append([])
        for _ in range(orders[0]):
            halves[-1].append(x.astype(jnp.bfloat16).astype(np.float32))
            x = x - halves[-1][-1]
    pairs = [(i, j) for i in range(orders[0]) for j in range(orders[0]) if i + j < orders[1]]
    return sum(halves[0][i] @ halves[1][j] for i, j in sorted(pairs, key=sum, reverse=True))


def cropped_in_passes(image, box, size, count):
    pixels = image.shape[0]
    down, across = (np.asarray(_resampling(box[i], box[i + 2], pixels, size)) for i in (0, 1))
    rows = in_passes(down, image.reshape(pixels, -1), count).reshape(size, pixels, -1)
    columns = in_passes(across, np.swapaxes(rows, 0, 1).reshape(pixels, -1), count)
    return np.minimum(np.swapaxes(columns.reshape(size, size, -1), 0, 1), 1)


def test_three_passes_of_bfloat16_would_not_do_for_a_crop(golden):
    """Precision.HIGH on a TPU; six are HIGHEST, which the crop asks for in both products."""
    values = golden("torchvision")
    boxes, images = values["crop_boxes_top_left_height_width"] / np.float32(32), values["images"]
    errors = {
        count: max(
            np.abs(cropped_in_passes(image, box, 16, count) - want).max()
            for box, wanted in zip(boxes, values["resized_crop16"], strict=True)
            for image, want in zip(images, wanted, strict=True)
        )
        for count in (1, 3, 6)
    }
    assert errors[6] < 1e-6 < 1e-5 < errors[3] < 2e-5 and errors[1] > 1e-3
    whole = np.array([0, 0, 1, 1], np.float32)
    np.testing.assert_array_equal(cropped_in_passes(images[0], whole, 32, 6), images[0])
    assert np.abs(cropped_in_passes(images[0], whole, 32, 3) - images[0]).max() > 1e-6
    crop = t.random_resized_crop(16)
    text = str(jax.make_jaxpr(crop.apply)(crop.identity, images[0]))
    assert text.count("dot_general[") == 2 and text.count("HIGHEST") >= 2


def test_crop_samples_a_ramp_at_the_centres_of_its_cells():
    # Linear interpolation repeats a linear image, so a box of fractional pixels reads off
    # coordinates; the outermost samples have no neighbour outside the box.
    ramp = jnp.broadcast_to(
        ((jnp.arange(20, dtype=jnp.float32) + 0.5) / 20)[:, None, None], (20, 20, 1)
    )
    top, height = 0.213, 0.51
    got = crop_to(16)(box(top, 0.1, height, 0.7), ramp)[:, 3, 0]
    want = top + height * (np.arange(16) + 0.5) / 16
    np.testing.assert_allclose(got[2:-2], want[2:-2], atol=1e-6)


def test_nothing_outside_the_box_is_seen():
    x = np.full((20, 30, 3), np.float32(0.25))
    x[5:12, 6:24] = 0.75
    for size in (4, 7, 16):
        got = crop_to(size)(box(5 / 20, 6 / 30, 7 / 20, 18 / 30), jnp.asarray(x))
        np.testing.assert_allclose(got, np.full((size, size, 3), 0.75), atol=1e-6)


def test_crop_is_smooth_in_its_box():
    x = jax.random.uniform(jax.random.key(0), (16, 16, 3))
    crop = crop_to(16)
    for top in np.linspace(0.1, 0.4, 25):
        near, far = (crop(box(top + d, 0.2, 0.5, 0.6), x) for d in (0.0, 1e-4))
        assert np.abs(near - far).max() < 16 * 1e-4 * 2


def reference_boxes(rng, count, scale, ratio):
    """torchvision's rejection loop on the unit square, without rounding to pixels."""
    boxes = np.empty((count, 4))
    for i in range(count):
        for _ in range(10):
            area = rng.uniform(*scale)
            shape = np.exp(rng.uniform(*np.log(ratio)))
            width, height = np.sqrt(area * shape), np.sqrt(area / shape)
            if width <= 1 and height <= 1:
                boxes[i] = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width), height, width
                break
        else:
            boxes[i] = 0, 0, 1, 1
    return boxes


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.9, 1.0)])
def test_boxes_follow_torchvisions_law(scale):
    ratio = (3 / 4, 4 / 3)
    drawn = draws(t.random_resized_crop(8, scale=scale, ratio=ratio), 8000)
    wanted = reference_boxes(np.random.default_rng(0), 8000, scale, ratio)
    for i, name in enumerate(("top", "left", "height", "width")):
        quantiles = np.linspace(0.02, 0.98, 25)
        got, want = np.quantile(drawn[name], quantiles), np.quantile(wanted[:, i], quantiles)
        np.testing.assert_allclose(got, want, atol=0.025)
    area, shape = drawn["height"] * drawn["width"], drawn["width"] / drawn["height"]
    assert scale[0] - 1e-5 <= area.min() and area.max() <= 1
    assert ratio[0] - 1e-4 <= shape.min() <= shape.max() <= ratio[1] + 1e-4
    for start, length in (("top", "height"), ("left", "width")):
        assert drawn[start].min() >= 0 and (drawn[start] + drawn[length]).max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("ratio", "aspect", "want"),
    [
        ((3.0, 3.0), 1.0, (1 / 3, 0, 1 / 3, 1)),
        ((0.5, 0.5), 1.0, (0, 0.25, 1, 0.5)),
        ((1.0, 1.0), 2.0, (0, 0.25, 1, 0.5)),
    ],
)
def test_boxes_that_never_fit_become_the_largest_central_one(ratio, aspect, want):
    crop = t.random_resized_crop(8, scale=(1, 1), ratio=ratio, aspect=aspect)
    got = [v.item() for v in crop.sample(jax.random.key(0)).values()]
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_ratio_is_in_pixels_of_wide_images():
    drawn = draws(t.random_resized_crop(8, scale=(0.1, 0.3), aspect=2.0), 2000)
    shape = 2 * drawn["width"] / drawn["height"]
    assert 0.74 < shape.min() < 0.8 and 1.25 < shape.max() < 1.34


def test_center_crop_cuts_the_middle():
    x = jax.random.uniform(jax.random.key(0), (10, 14, 3))
    np.testing.assert_array_equal(t.center_crop(6).apply({}, x), x[2:8, 4:10])


def test_flip_probability():
    for probability in (0.0, 0.3, 1.0):
        share = draws(t.horizontal_flip(probability), 4000)["flip"].mean()
        assert abs(share - probability) < 0.03


def test_angles_fill_their_range():
    angles = draws(t.rotate(0.5), 2000)["angle"]
    assert -0.5 <= angles.min() < -0.48 and 0.48 < angles.max() <= 0.5


def test_quarter_turns_are_exact_moves_counter_clockwise():
    x = jax.random.uniform(jax.random.key(0), (9, 9, 3))
    for quarters in range(-2, 3):
        got = turn({"angle": jnp.float32(quarters * np.pi / 2)}, x)
        np.testing.assert_allclose(got, np.rot90(x, quarters), atol=5e-6)


def test_rotation_of_a_wide_image_is_about_its_centre_and_empties_the_rest():
    x = jax.random.uniform(jax.random.key(0), (6, 11, 1), minval=0.5)
    half = turn({"angle": jnp.float32(np.pi)}, x)
    np.testing.assert_allclose(half, x[::-1, ::-1], atol=5e-6)
    quarter = np.asarray(turn({"angle": jnp.float32(np.pi / 2)}, x))
    assert (quarter[:, :2] == 0).all() and (quarter[:, -2:] == 0).all()
    assert (quarter[:, 4:7] > 0).all()


def test_bilinear_values_equal_a_loop():
    x = np.random.default_rng(0).uniform(size=(5, 7, 2)).astype(np.float32)
    angle = 0.6
    want = np.zeros_like(x, dtype=np.float64)
    for i, j in itertools.product(range(5), range(7)):
        down, right = i - 2.0, j - 3.0
        row = np.sin(angle) * right + np.cos(angle) * down + 2
        column = np.cos(angle) * right - np.sin(angle) * down + 3
        for a, b in itertools.product(range(5), range(7)):
            want[i, j] += max(0, 1 - abs(row - a)) * max(0, 1 - abs(column - b)) * x[a, b]
    got = turn({"angle": jnp.float32(angle)}, jnp.asarray(x))
    np.testing.assert_allclose(got, want, atol=2e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: t.random_resized_crop(0), "size"),
        (lambda: t.random_resized_crop(8, scale=(0, 1)), "scale"),
        (lambda: t.random_resized_crop(8, scale=(0.5, 1.5)), "scale"),
        (lambda: t.random_resized_crop(8, scale=(0.5, 0.2)), "scale"),
        (lambda: t.random_resized_crop(8, scale=0.5), "scale"),
        (lambda: t.random_resized_crop(8, ratio=(-1, 1)), "ratio"),
        (lambda: t.random_resized_crop(8, ratio=(1, float("inf"))), "ratio"),
        (lambda: t.random_resized_crop(8, aspect=0), "aspect"),
        (lambda: t.center_crop(0), "size"),
        (lambda: t.horizontal_flip(1.5), "probability"),
        (lambda: t.rotate(-0.1), "radians"),
        (lambda: t.rotate(30), "radians"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_images_are_refused():
    batch = jnp.zeros((2, 8, 8, 3))
    for transform in (t.random_resized_crop(8), t.center_crop(8), t.horizontal_flip(), t.rotate()):
        with pytest.raises(ValueError, match=r"jax\.vmap"):
            transform.apply(transform.identity, batch)
    with pytest.raises(ValueError, match="smaller"):
        t.center_crop(9).apply({}, batch[0])


def test_rotate_fills_the_corners_as_asked():
    x = jax.random.uniform(jax.random.key(0), (9, 9, 3))
    params = {"angle": jnp.float32(np.pi / 4)}
    assert np.asarray(t.rotate().apply(params, x))[0, 0].max() == 0
    np.testing.assert_allclose(np.asarray(t.rotate(fill=0.75).apply(params, x))[0, 0], 0.75)
    plain = np.asarray(t.rotate(fill=0.75).apply({"angle": jnp.float32(0)}, x))
    np.testing.assert_array_equal(plain, x)
    # Mirrored at the border, an image that is constant along the border has that value there.
    rim = jnp.array([0, 1, 2, -3, -2, -1])  # the corner comes from 1.7 pixels inside
    framed = x.at[rim].set(0.5).at[:, rim].set(0.5)
    turned = np.asarray(t.rotate(fill="reflect").apply(params, framed))
    np.testing.assert_allclose(turned[0, 0], 0.5, atol=1e-6)


def test_rotate_by_a_quarter_needs_no_fill():
    x = jax.random.uniform(jax.random.key(0), (8, 8, 3))
    params = {"angle": jnp.float32(np.pi / 2)}
    for fill in (0.0, 1.0, "reflect"):
        turned = t.rotate(fill=fill).apply(params, x)
        np.testing.assert_allclose(turned, jnp.rot90(x), atol=1e-5)


@pytest.mark.parametrize("fill", [-0.1, 2.0, "wrap"])
def test_rotate_refuses_another_fill(fill):
    with pytest.raises(ValueError, match="fill of"):
        t.rotate(fill=fill)


def test_reflected_corners_hold_the_mirrored_image():
    """Against NumPy's reflecting pad: the corner of the turned image is bilinear in the padded."""
    x = np.asarray(jax.random.uniform(jax.random.key(3), (9, 9, 3)))
    turned = t.rotate(fill="reflect").apply({"angle": jnp.float32(np.pi / 4)}, jnp.asarray(x))
    padded = np.pad(x, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    for i, j in ((0, 0), (0, 8), (8, 3)):
        down, right = i - 4, j - 4
        row = np.sin(np.pi / 4) * right + np.cos(np.pi / 4) * down + 8  # in the padded image
        column = np.cos(np.pi / 4) * right - np.sin(np.pi / 4) * down + 8
        r, c = int(np.floor(row)), int(np.floor(column))
        a, b = row - r, column - c
        box = padded[r : r + 2, c : c + 2]
        expected = (1 - a) * ((1 - b) * box[0, 0] + b * box[0, 1])
        expected = expected + a * ((1 - b) * box[1, 0] + b * box[1, 1])
        np.testing.assert_allclose(turned[i, j], expected, atol=1e-5)
