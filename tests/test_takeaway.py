"""An encoder leaves the house: loaded from anything that holds one, and its features as files."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from tiny_run import arrays, tiny_run

import eqssl_jax
from eqssl_jax.experiment import embed as embedding

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def trained():
    return tiny_run()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).random((5, 8, 8, 3), np.float32)


def same(computed, expected):
    np.testing.assert_allclose(computed, expected, rtol=1e-5, atol=1e-6)


def test_importing_the_package_imports_nothing_heavy():
    program = (
        "import sys, eqssl_jax\n"
        "assert not {'jax', 'flax', 'numpy', 'absl'} & set(sys.modules)\n"
        "assert callable(eqssl_jax.load) and 'jax' in sys.modules\n"
        "assert not hasattr(eqssl_jax, 'lood')\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=300)


def test_a_run_is_loaded_from_its_workdir_alone(trained, images):
    workdir, run, state = trained
    file = workdir.parent / "data.npz"
    hidden = file.rename(file.with_suffix(".gone"))
    try:
        encoder = eqssl_jax.load(workdir, batch=4)
    finally:
        hidden.rename(file)
    assert repr(encoder) == f'Encoder("{workdir.name}": {encoder.origin}, images [N, 8, 8, 3])'
    features, embeddings = jax.jit(run.encoder(state))(images)
    same(encoder(images), features)
    same(encoder.embeddings(images), embeddings)
    layers = encoder.layers(images)
    assert next(iter(layers)) == "stem"
    assert [*layers][-1] == "embedding"
    same(layers["features"], features)
    assert (encoder.image_shape, encoder.name) == ((8, 8, 3), "run")
    assert (encoder.mean, encoder.std) == (run.dataset.mean, run.dataset.std)
    assert encoder.classes == ("0", "1", "2")
    assert "step 2 of the run" in encoder.origin


@pytest.mark.slow
def test_the_step_is_chosen_by_argument_or_name(trained, images):
    workdir, *_ = trained
    for loaded in (
        eqssl_jax.load(workdir, 2),
        eqssl_jax.load(f"{workdir}@2"),
        eqssl_jax.load(f"{workdir}@best", name="best"),
    ):
        same(loaded(images), eqssl_jax.load(str(workdir))(images))
    assert loaded.name == "best"


OUTSIDE = """
import numpy as np


def encode(images):
    return images.reshape(len(images), -1)[:, :6]


def build(*, width=5):
    return lambda images: images.reshape(len(images), -1)[:, :width]


class Model:
    def __call__(self, images):
        return images.mean((1, 2))


def broken():
    raise SystemExit("no weights")


number = 3
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    (tmp_path / "own_encoders.py").write_text(OUTSIDE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_functions_are_named_by_module_and_attribute(outside, images):
    flat = images.reshape(5, -1)
    same(eqssl_jax.load("own_encoders:encode")(images), flat[:, :6])
    same(eqssl_jax.load("own_encoders:build")(images), flat[:, :5])
    same(eqssl_jax.load("own_encoders:build", width=2)(images), flat[:, :2])
    same(eqssl_jax.load("own_encoders:Model", image_shape=(8, 8, 3))(images), images.mean((1, 2)))
    same(eqssl_jax.load(lambda x: x.mean((1, 2)), name="mean")(images), images.mean((1, 2)))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("", {}, "named by"),
        (None, {}, "named by"),
        (3, {}, "named by"),
        ("nowhere/at/all", {}, "There is no nowhere"),
        ("nowhere@best", {}, "There is no nowhere"),
        (".", {}, "not the folder of a run"),
        ("own_encoders.py", {}, "is no encoder"),
        ("own_encoders:nothing", {}, "has no 'nothing'"),
        ("own_encoderz:encode", {}, "cannot be imported"),
        ("own_encoders:number", {}, "cannot be called"),
        ("own_encoders:build", {"depth": 3}, "depth"),
        ("own_encoders:broken", {}, r"own_encoders:broken\(\) failed with SystemExit: no weights"),
        ("own_encoders:encode", {"image_shape": "8"}, "image_shape is '8'"),
        ("own_encoders:encode", {"width": 3}, "takes no options"),
        ("own_encoders:encode", {"batch": 0}, "batch=0"),
    ],
)
def test_what_holds_no_encoder_is_refused(outside, source, options, message):
    with pytest.raises((ValueError, OSError), match=message) as caught:
        eqssl_jax.load(source, **options)
    assert "\n" not in str(caught.value)


def test_a_run_takes_no_options_and_only_its_own_steps(trained):
    with pytest.raises(ValueError, match="takes no options"):
        eqssl_jax.load(trained[0], heads=3)
    with pytest.raises(ValueError, match="step 7 of"):
        eqssl_jax.load(trained[0], 7)


def read(path):
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    from pyarrow import parquet

    table = parquet.read_table(path)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    keys = {"name": "names", "label": "labels"}
    return {keys.get(name, name): np.array(values) for name, values in columns.items()}


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_features_of_the_data_of_a_run(trained, tmp_path, suffix):
    workdir, run, _ = trained
    out = tmp_path / f"features{suffix}"
    assert embedding.embed(workdir, out, batch=7) == 48
    table = read(out)
    encoder = eqssl_jax.load(workdir)
    start = 0
    for name, split in run.dataset.splits.items():
        rows = slice(start, start + split.size)
        pixels = np.asarray(split.read(split.pool, np.arange(split.size)))
        assert set(table["split"][rows]) == {name}
        same(table["features"][rows], encoder(pixels))
        same(table["embeddings"][rows], encoder.embeddings(pixels))
        np.testing.assert_array_equal(table["labels"][rows], split.labels)
        start += split.size
    assert len(table["names"]) == len(set(table["names"])) == start
    assert [*tmp_path.iterdir()] == [out]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of two classes and unequal sizes, none of them 8 × 8."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(8):
        kind = folder / ("cats" if number % 2 else "dogs")
        kind.mkdir(exist_ok=True)
        pixels = np.full((12 + number, 20, 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(kind / f"{number}.png")
    return folder


def test_pictures_of_any_size_are_brought_to_the_encoder(trained, pictures, tmp_path):
    out = tmp_path / "f.npz"
    assert embedding.embed(trained[0], out, data=str(pictures)) == 8
    table, encoder = read(out), eqssl_jax.load(trained[0])
    assert sorted(table["names"]) == sorted(
        str(path.relative_to(pictures)) for path in pictures.rglob("*.png")
    )
    assert table["class_names"].tolist() == ["cats", "dogs"]
    for name, label, features in zip(
        table["names"], table["labels"], table["features"], strict=True
    ):
        assert name.startswith(str(table["class_names"][label]))
        flat = np.full((1, 8, 8, 3), 20 * int(name[-5]) / 255, np.float32)
        same(features, encoder(flat)[0])


def test_a_run_that_fails_leaves_nothing_and_keeps_what_was_there(trained, pictures, tmp_path):
    (tmp_path / "bad").mkdir()
    for path in pictures.rglob("*.png"):
        target = tmp_path / "bad" / path.relative_to(pictures)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes() if path.stem != "7" else b"no picture")
    out = tmp_path / "out" / "f.npz"
    with pytest.raises(ValueError, match=r"7\.png"):
        embedding.embed(trained[0], out, data=str(tmp_path / "bad"), batch=2)
    assert not [*out.parent.iterdir()]
    out.write_text("earlier")
    with pytest.raises(ValueError, match=r"7\.png"):
        embedding.embed(trained[0], out, data=str(tmp_path / "bad"), batch=2)
    assert out.read_text() == "earlier"
    assert embedding.embed(trained[0], out, data=str(tmp_path / "bad"), corrupt="skip") == 7


def test_an_encoder_of_ones_own_takes_the_images_as_they_are(outside, tmp_path):
    arrays(tmp_path / "set.npz", count=30)
    out = tmp_path / "f.npz"
    embedding.embed("own_encoders:encode", out, data=str(tmp_path / "set.npz"), batch=8)
    table = read(out)
    with np.load(tmp_path / "set.npz") as file:
        expected = file["images"].reshape(30, -1)[:, :6] / 255
    same(table["features"][table["split"] == "train"], expected)


@pytest.mark.parametrize(
    ("out", "data", "message"),
    [
        ("f.csv", "", "npz or .parquet"),
        (".", "", "npz or .parquet"),
        ("f.npz", "nowhere/", "no nowhere/"),
        ("f.npz", "own_encoders.py", "is no data set"),
    ],
)
def test_what_cannot_be_embedded_is_refused(trained, outside, out, data, message):
    with pytest.raises((ValueError, OSError), match=message):
        embedding.embed(trained[0], Path(out), data=data)
