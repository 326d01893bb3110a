"""Any function of images is measured as a run is: numbers, tables, figures and one page."""

import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest

from eqssl_jax import load
from eqssl_jax.experiment.embed import embed
from eqssl_jax.experiment.transfer import transfer
from eqssl_jax.measure import measure

program = importlib.import_module("eqssl_jax.measure")

TINY = dict(
    train_images=40, validation_images=10, test_images=40, knn_neighbours=5, probe_steps=5,
    seeds=(0,), augmentations=2, pairs=1, rotation_images=24, pair_images=12, queries=8,
    ladder_images=8, ladder_rungs=3, batch=16,
)  # fmt: skip
FEW = ("knn", "invariance", "gamma", "ladders")  # all of them compile for a minute
DATA = {"train_size": 60, "test_size": 40}
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)


def colours(images):
    """Moments of the channels: a rotation changes them at the corners alone."""
    assert isinstance(images, np.ndarray)
    return np.concatenate([images.mean((1, 2)), images.std((1, 2))], axis=1)


@pytest.mark.long
def test_functions_of_several_sizes_give_one_page(tmp_path, capsys):
    sizes = []

    def small(images):
        sizes.append(images.shape[1:])
        return colours(images)

    encoders = {
        "colours": colours,
        "small": load(small, image_shape=(16, 16, 3)),
        "half": lambda images: colours(images) / 2,
    }
    tiny = {name: value for name, value in TINY.items() if name not in ("probe_steps", "queries")}
    results = measure(
        encoders, "shapes", out=tmp_path, size=32, data_options=DATA, only=FEW, **tiny
    )
    assert list(results) == ["colours", "small", "half"] and set(sizes) == {(16, 16, 3)}
    floors = {name: result["encoders"]["random"] for name, result in results.items()}
    assert floors["colours"] == floors["half"] != floors["small"]
    for name, result in results.items():
        assert set(result["encoders"]) == {"trained", "pixels", "random"}
        assert result["untrained"].startswith("conv_tiny before training")
        assert result["image_shape"] == [16 if name == "small" else 32] * 2 + [3]
        assert json.loads((tmp_path / name / "eval" / "0.json").read_text())["step"] == 0
        assert (tmp_path / name / "eval" / "0_spectrum_order_accuracy_amid.png").exists()
    first, _, last = (result["encoders"]["trained"] for result in results.values())
    assert first["knn"] == last["knn"] and "order_accuracy_amid_rotate" in first
    assert first["gamma"]["value"] == pytest.approx(last["gamma"]["value"], rel=1e-4)
    page = (tmp_path / "page.html").read_text()
    assert all(f">{name}" in page for name in encoders) and "data:image/webp" in page
    assert "Order amid other changes" in (tmp_path / "comparison.md").read_text()
    assert "page.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("encoders", "options", "message"),
    [
        ([], {}, "no encoder"),
        (lambda x: np.full((len(x), 2), np.nan), {}, "gave NaN"),
        (lambda x: x - x.mean(0), {}, "features are"),
        (lambda x: colours(x) - colours(x).mean(0), {}, "depends on the batch"),
        ({"../x": colours}, {}, "called '../x'"),
        ({"/tmp/x": colours}, {}, "called '/tmp/x'"),
        ({"ok": colours, 3: colours}, {}, r"called '3' \(int\)"),
        ({"..": colours}, {}, "name is that of the folder"),
        ({"page.html": colours}, {}, "not that of the comparison or page"),
        ({"": colours}, {}, "called ''"),
        (load(colours, name="a\\b"), {}, "without slashes"),
        (colours, {"recipe": "no_such"}, "--recipe is 'no_such'"),
        (colours, {"own": ["nothing:here"]}, "--measure"),
        (colours, {"queries": -1}, "queries is -1"),
        (colours, {"only": ["kNN"]}, "--only names no measure"),
        ([colours, colours], {"encoder_options": {"heads": 3}}, "heads.* is of none of the"),
        ([colours, "a.pth"], {"encoder_options": {"heads": 3}}, "no file of weights a.pth"),
        (["a.pth", colours], {"encoder_options": {"width": 3}}, "no file of weights a.pth"),
        (colours, {"encoder_options": {"source": 3}}, "--encoder_option=source is no option"),
        (colours, {"encoder_options": {"name": 3}}, "--encoder_option=name is no option"),
        (colours, {"cards": 3}, r"no budget \['cards'\]"),
        (colours, {"data_options": {"name": 3}}, "data_options: name is no option"),
    ],
)
def test_faults_are_one_paragraph(encoders, options, message):
    data = "shapes" if "data_options" in options else IMAGES  # which nothing has to render
    with pytest.raises((ValueError, OSError), match=message):
        measure(encoders, data, **{**TINY, **options})


def options_of(monkeypatch, options=(), encoder=()):
    """What `measure` is given for these --option and --encoder_option of its command."""
    given = SimpleNamespace(encoder=["a:b"], option=list(options), encoder_option=list(encoder))
    monkeypatch.setattr(program.flags, "FLAGS", given)
    preset = SimpleNamespace(value="full")
    monkeypatch.setattr(program, "keywords", lambda: {"preset": preset})
    calls = []
    monkeypatch.setattr(program, "measure", lambda *_, **keywords: calls.append(keywords))
    program.run()
    return calls[0]


def test_options_of_the_command_that_collide_are_refused_and_a_preset_is_taken(monkeypatch):
    assert options_of(monkeypatch, ["preset=quick", "seeds=(0,)"])["preset"] == "quick"
    assert options_of(monkeypatch)["preset"] == "full"
    for name in ("data", "only", "encoders", "recipe", "out", "encoder_options"):
        with pytest.raises(ValueError, match=f"--option={name} is no option"):
            options_of(monkeypatch, [f"{name}=3"])


def test_arrays_are_data():
    small = {key: TINY[key] for key in ("train_images", "test_images", "validation_images")}
    options = dict(only=["knn"], knn_neighbours=5, batch=16, **small)
    pair = (IMAGES, np.arange(60) % 2)
    whole = measure(colours, pair, **options)["colours"]["encoders"]["trained"]
    floats = measure(colours, (IMAGES / 255, pair[1]), **options)["colours"]
    assert floats["encoders"]["trained"] == whole
    assert floats["image_shape"] == [8, 8, 3] and 0 <= whole["knn"]["value"] <= 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IMAGES[0], r"ndarray of shape \(8, 8, 3\)"),
        (IMAGES / 128.0, "values from 0 to 1.99"),
        (IMAGES / 255 * np.nan, "values from nan"),
        (IMAGES.astype(np.int64), "uint8"),
        ((IMAGES, np.arange(3)), "60"),
        ({"images": IMAGES}, "data is dict"),
        (None, "data is NoneType"),
    ],
)
def test_what_is_no_data_is_one_paragraph(data, message):
    with pytest.raises(ValueError, match=message) as error:
        measure(colours, data)
    assert len(str(error.value)) < 500 and "\n" not in str(error.value)


def test_commands_on_files_take_no_arrays(tmp_path):
    for call in (
        lambda: transfer(["no_such"], [IMAGES], tmp_path / "out"),
        lambda: transfer(["no_such"], IMAGES, tmp_path / "out"),
        lambda: embed(colours, tmp_path / "out.npz", data=IMAGES),
    ):
        with pytest.raises(ValueError, match=r"ndarray of shape .*np.savez"):
            call()
    assert not [*tmp_path.iterdir()]


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"--out=.* cannot be written to"):
            measure(colours, "nowhere/", out=out)
