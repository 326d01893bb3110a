"""JPEGs with and without simplejpeg: the same pixels, whole and scaled, and the same errors."""

import io

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import data, frame, presets
from eqssl_jax.data import images, jpeg
from eqssl_jax.training.datasets import load_dataset

SCALED = images.Decoding(scaled=True)


def picture(height=150, width=200, channels=3):
    """Waves, with edges."""
    y, x = np.mgrid[:height, :width] / 10.0
    layers = [np.cos(x * (1 + k)) * np.sin(y) + (x > 9) for k in range(channels)]
    return np.uint8(255 * np.stack(layers, axis=-1) / 4 + 64)


def encoded(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "JPEG", **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[jpeg.ORIENTATION] = orientation
    return encoded(picture(), exif=exif)


def of_a_phone():
    """Two pictures in one file, which Pillow calls MPO."""
    file = io.BytesIO()
    first, second = Image.fromarray(picture()), Image.fromarray(picture(60, 80))
    first.save(file, "MPO", save_all=True, append_images=[second])
    return file.getvalue()


CASES = {
    "phone": of_a_phone(),
    "colour": encoded(picture(), quality=90),
    "subsampled": encoded(picture(151, 203), quality=60, subsampling=2),
    "progressive": encoded(picture(), progressive=True),
    "grey": encoded(picture(channels=1)),
    "upright": turned(1),
    "turned": turned(6),
    "tiny": encoded(picture(5, 3)),
    "smallest": encoded(np.uint8(np.arange(75).reshape(5, 5, 3) * 37 % 256), quality=95),
    "long": encoded(picture(20, 700)),
}


def both(content, monkeypatch, *arguments):
    """What is decoded with simplejpeg, and without."""
    assert jpeg.decoder() is not None, "the extra jpeg is a part of the extra test"
    fast = images.decode(lambda: content, "x.jpg", *arguments)
    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "decoder", lambda: None)
        return fast, images.decode(lambda: content, "x.jpg", *arguments)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [None, 1, 2, 30, 64, 150])
@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_pixels_are_those_of_pillow(case, size, framed, scaled, monkeypatch):
    how = images.Decoding(framed and size is not None, scaled)  # a frame has a size
    fast, pillow = both(CASES[case], monkeypatch, size, how)
    np.testing.assert_array_equal(fast, pillow)
    assert fast.dtype == np.uint8
    if how.framed:
        assert fast.shape == (size, frame.longest(size), frame.CHANNELS)
    elif size:
        assert fast.shape == (size, size, 3)
    if not how.scaled:
        whole = images.decode(lambda: CASES[case], "x.jpg")
        wanted = whole if size is None else images.fit(whole, size, framed=how.framed)
        np.testing.assert_array_equal(fast, wanted)


def test_simplejpeg_decodes_what_it_can(monkeypatch):
    seen = []
    original = jpeg.decoder().decode_jpeg

    def counting(content, *arguments, **options):
        seen.append(options)
        return original(content, *arguments, **options)

    monkeypatch.setattr(jpeg.decoder(), "decode_jpeg", counting)
    images.decode(lambda: CASES["colour"], "x.jpg", 30, SCALED)
    assert seen == [{"min_height": 38, "min_width": 50}]  # a quarter, rounded up
    images.decode(lambda: CASES["turned"], "x.jpg")
    images.decode(lambda: CASES["grey"], "x.jpg")
    assert len(seen) == 1


def test_scaled_decoding_shows_the_same_picture_and_only_where_twice_the_size_is_there():
    smooth = np.uint8(127 + 100 * np.sin(np.mgrid[:160, :240].sum(axis=0) / 25.0))
    content = encoded(np.repeat(smooth[..., None], 3, axis=2), quality=95)
    for size in (20, 40, 79, 80):
        exact = images.decode(lambda: content, "x.jpg", size).astype(float)
        scaled = images.decode(lambda: content, "x.jpg", size, SCALED)
        assert not np.array_equal(exact, scaled)
        assert np.abs(exact - scaled).max() < 8
    for size in (81, 160):
        exact = images.decode(lambda: content, "x.jpg", size)
        np.testing.assert_array_equal(exact, images.decode(lambda: content, "x.jpg", size, SCALED))


@pytest.mark.parametrize("damage", ["cut", "cut mid-scan", "empty", "noise", "header"])
def test_damaged_files_are_refused_alike(damage, monkeypatch):
    whole = CASES["colour"]
    content = {
        "cut": whole[: len(whole) // 2],
        "cut mid-scan": CASES["progressive"][: len(CASES["progressive"]) // 2],
        "empty": b"",
        "noise": bytes(range(256)) * 8,
        "header": whole[:30],
    }[damage]
    said = []
    for package in (jpeg.decoder(), None):
        monkeypatch.setattr(jpeg, "decoder", lambda package=package: package)
        with pytest.raises(ValueError, match=r"x\.jpg is corrupt") as refused:
            images.decode(lambda: content, "x.jpg", 30)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_a_damaged_scan_is_read_as_pillow_reads_it(monkeypatch):
    """libjpeg warns of a wrong byte and goes on, and so does Pillow."""
    content = bytearray(CASES["colour"])
    middle = len(content) // 2
    content[middle : middle + 3] = b"\x12\x34\x56"
    np.testing.assert_array_equal(*both(bytes(content), monkeypatch, 30))


def test_the_setting_reaches_the_files_and_is_refused_for_others(tmp_path):
    for split in ("train", "test"):
        for name in "ab":
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                (folder / f"{i}.jpg").write_bytes(CASES["colour"])
    loads = [
        data.load(
            name="folder",
            directory=tmp_path,
            size=30,
            validation=0.25,
            on_device=False,
            scaled_decoding=scaled,
        )
        .splits["test"]
        .load(np.arange(1))
        for scaled in (False, True)
    ]
    expected = [
        images.decode(lambda: CASES["colour"], "x", 30, how) for how in (images.EXACT, SCALED)
    ]
    for found, wanted in zip(loads, expected, strict=True):
        np.testing.assert_array_equal(found[0], wanted)
    assert not np.array_equal(*loads)
    config = presets.factored("folder")
    config.data.directory, config.data.size, config.data.on_device = str(tmp_path), 30, "never"
    config.data.validation, config.data.scaled_decoding = 0.25, True
    of_config = load_dataset(config.lock()).splits["test"].load(np.arange(1))
    np.testing.assert_array_equal(of_config[0], expected[1])
    with pytest.raises(ValueError, match=r"scaled_decoding .* JPEG files.*digits"):
        data.load(name="digits", scaled_decoding=True)
    with pytest.raises(ValueError, match="must be True or False, found 'no'"):
        data.load(name="folder", directory=tmp_path, scaled_decoding="no")
