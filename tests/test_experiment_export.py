"""An exported folder is whole, says what it holds, and loads where this package is not."""

import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from tiny_run import tiny_run

import eqssl_jax
from eqssl_jax import encoders
from eqssl_jax.encoders import program
from eqssl_jax.encoders.naming import torch_code
from eqssl_jax.encoders.vit import ViTSettings
from eqssl_jax.experiment.export import export
from eqssl_jax.experiment.feature_files import check_path
from eqssl_jax.storage import start_unfinished, unfinished

IMAGES = np.random.default_rng(3).random((5, 8, 8, 3), np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of the tiny run, evaluated with numbers made up here."""
    workdir, *_ = tiny_run()
    numbers = {"knn_accuracy": {"value": 0.7, "sd": None, "n": 1}}
    floors = {"knn_accuracy": {"value": 0.3, "sd": None, "n": 1}}
    result = {"step": 2, "dataset": "arrays", "encoders": {"trained": numbers, "random": floors}}
    (workdir / "eval").mkdir(exist_ok=True)
    (workdir / "eval" / "2.json").write_text(json.dumps(result))
    out = tmp_path_factory.mktemp("exported") / "mine"
    export(workdir, out, licence="cc-by-4.0")
    return out


def test_the_program_gives_what_the_run_gives(exported):
    run, program = eqssl_jax.load(tiny_run()[0]), eqssl_jax.load(exported)
    np.testing.assert_allclose(program(IMAGES), run(IMAGES), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        program.embeddings(IMAGES), run.embeddings(IMAGES), rtol=1e-5, atol=1e-6
    )
    assert (program.name, program.classes) == ("run", run.classes)
    np.testing.assert_allclose([program.mean, program.std], [run.mean, run.std])
    weights = load_file(exported / "encoder.safetensors")
    trained = tiny_run()[2].params["network"]["encoder"]["conv1"]["kernel"]
    np.testing.assert_array_equal(weights["conv1.weight"], trained.transpose(3, 2, 0, 1))


def test_all_may_read_all_files(exported):
    assert len({path.stat().st_mode for path in exported.iterdir()}) == 1
    assert not [*exported.glob(".*")]


def test_the_card_says_what_it_is(exported, monkeypatch):
    card = (exported / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "cc-by-4.0"
    assert front["library_name"] == "jax"
    for text in ("conv_tiny on arrays", "| crop | invariant |", "70.0", "30.0", "3 (0, 1, 2)"):
        assert text in card
    monkeypatch.chdir(exported)
    scope = {}
    exec(re.search("Load it in JAX\n\n```python\n(.*?)```", card, re.S)[1], scope)
    assert scope["features"].shape == (5, 128)
    assert scope["embeddings"].shape == (5, 4)


def test_nothing_is_replaced_and_failures_leave_nothing(exported, tmp_path, monkeypatch):
    before = (exported / "README.md").read_text()
    with pytest.raises(ValueError, match="holds files"):
        export(tiny_run()[0], exported)
    assert (exported / "README.md").read_text() == before
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ValueError, match=r"pip install\s+eqssl_jax\[onnx\]"):
        export(tiny_run()[0], tmp_path / "out", onnx=True)
    assert not [*tmp_path.iterdir()]


def test_a_folder_of_others_beside_it_stays(tmp_path, monkeypatch):
    for name in ("out.unfinished", "out.npz.unfinished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    for call in (
        lambda: export(tiny_run()[0], tmp_path / "out"),
        lambda: check_path(tmp_path / "out.npz"),
    ):
        with pytest.raises(ValueError, match=r"--out=.*unfinished .*not made here"):
            call()
    assert len([*tmp_path.glob("*/mine.txt")]) == 2
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"--out=\. names no folder"):
        export(tiny_run()[0], Path("."))
    left = unfinished(tmp_path / "other.npz")  # by a process that was killed
    start_unfinished(left)
    (left / "half").touch()
    check_path(tmp_path / "other.npz")
    assert not left.exists()


def test_an_onnx_program_that_differs_is_not_kept(tmp_path, monkeypatch):
    jax2onnx = pytest.importorskip("jax2onnx")
    pytest.importorskip("onnxruntime")
    weights = np.ones((12, 3), np.float32)

    def encode(images):
        features = images.reshape(images.shape[0], -1) @ weights
        return features, features

    program.write_onnx(tmp_path / "same.onnx", encode, (2, 2, 3))
    converted = jax2onnx.to_onnx

    def wrong(encode, **options):
        converted(lambda images: [1.01 * y for y in encode(images)], **options)

    monkeypatch.setattr(jax2onnx, "to_onnx", wrong)
    with pytest.raises(ValueError, match="other numbers"):
        program.write_onnx(tmp_path / "other.onnx", encode, (2, 2, 3))


@pytest.mark.slow
def test_weights_that_leave_come_back(tmp_path):
    """A vision transformer under timm's names is loaded as a weights file, in timm too."""
    vit = ViTSettings(patch=4, pool="mean", registers=2)
    built = encoders.build(
        encoder="vit_tiny", projector=(), mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3), vit=vit
    )
    variables = jax.eval_shape(lambda key: built.init(key, (8, 8, 3)), jax.random.key(0))
    draw = np.random.default_rng(0).normal
    params = jax.tree.map(lambda x: draw(0, 0.1, x.shape).astype("f"), variables["params"])
    arrays = encoders.to_torch_names({"params": params["encoder"], "batch_stats": {}})
    file = tmp_path / "encoder.safetensors"
    save_file(arrays, file)
    statistics = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.3)}
    loaded = eqssl_jax.load(f"weights:{file}", pool="mean", batch=5, **statistics)
    features = loaded(IMAGES)
    expected = jax.jit(built.encode)(params, {}, IMAGES)[0]
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="give mean and std"):
        eqssl_jax.load(file)
    with pytest.raises(ValueError, match="depth"):
        eqssl_jax.load(file, depth=3, **statistics)
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        eqssl_jax.load(tmp_path / "other.safetensors")
    torch = pytest.importorskip("torch")
    timm_or_skip()
    code = torch_code("vit_tiny", "cifar", vit, shape=(8, 8, 3), **statistics)
    code = code.replace("encoder.safetensors", str(file))
    code = code.replace("torch.rand(5, 3, 8, 8)", "torch.tensor(IMAGES.transpose(0, 3, 1, 2))")
    scope = {"IMAGES": IMAGES, "torch": torch}
    exec(code, scope)
    np.testing.assert_allclose(scope["features"].detach().numpy(), features, rtol=1e-3, atol=1e-4)


def timm_or_skip():
    try:
        import timm  # noqa: F401
    except Exception as error:  # it needs torchvision, which is of one version of torch
        pytest.skip(f"timm cannot be imported: {error}")


@pytest.mark.parametrize(
    ("encoder", "stem", "expected"),
    [
        ("resnet18", "imagenet", ["torchvision.models.resnet18()", "model.fc"]),
        ("resnet50", "cifar", ["Conv2d(3, 64, 3, stride=1", "model.maxpool"]),
        ("vit_small", "", ["VisionTransformer", "num_heads=6", "global_pool='token'"]),
    ],
)
def test_code_for_torch(encoder, stem, expected):
    code = torch_code(
        encoder, stem, ViTSettings(), shape=(32, 32, 3), mean=(0.5,) * 3, std=(0.2,) * 3
    )
    compile(code, "card", "exec")
    assert all(text in code for text in [*expected, "strict=True"])


def test_no_code_for_what_torch_lacks():
    none = torch_code("conv_tiny", "", ViTSettings(), shape=(8, 8, 3), mean=(0,), std=(1,))
    assert none == ""
