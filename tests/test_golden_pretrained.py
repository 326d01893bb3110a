"""Networks with given weights against what the original PyTorch code computes from them.

EQSSL_JAX_PRETRAINED names the folder with weights.py, shapes.json and pretrained.npz; its README
says what each output is. Every one of them is checked, and a new one fails.
"""

import importlib.util
import os
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from eqssl_jax.encoders import from_weights, positions
from eqssl_jax.encoders.families import detect

FOLDER = Path(os.environ.get("EQSSL_JAX_PRETRAINED", Path(__file__).parent / "data" / "pretrained"))
pytestmark = pytest.mark.skipif(
    not (FOLDER / "pretrained.npz").is_file(),
    reason=f"no reference values in {FOLDER}: set EQSSL_JAX_PRETRAINED to the folder that has them",
)
TOLERANCE = 2e-5  # of the reference's rms
# One of each family, and each rule of resizing.
QUICK = {
    ("resnet18", "small_variance"),
    ("vit", "at_48x24"),
    ("dinov2", "at_24"),
    ("dinov2_reg4", ""),
    ("mae_finetuned", ""),
}


@cache
def reference():
    """The module weights.py, the table of models, and the outputs."""
    spec = importlib.util.spec_from_file_location("pretrained_weights", FOLDER / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with np.load(FOLDER / "pretrained.npz") as file:
        outputs = {key: file[key] for key in file.files}
    return module, module.table(FOLDER / "shapes.json"), outputs


def keys():
    if not (FOLDER / "pretrained.npz").is_file():
        return []
    with np.load(FOLDER / "pretrained.npz") as file:
        return file.files


def variants():
    """(model, variant) of all keys: "dinov2/at_24/timm/cls" is ("dinov2", "at_24/timm")."""
    return sorted({(key.split("/")[0], "/".join(key.split("/")[1:-1])) for key in keys()})


def cases():
    """All variants where the folder is named; else the quick ones, and small ones as slow tests."""
    everything = "EQSSL_JAX_PRETRAINED" in os.environ
    for model, variant in variants():
        large = model in ("resnet50", "vit_tiny_patch16_224", "dinov2_vits14_reg4")
        skipped = pytest.mark.skip(reason="large: set EQSSL_JAX_PRETRAINED to check it")
        marks = [] if everything or (model, variant) in QUICK else [pytest.mark.slow]
        yield pytest.param(model, variant, marks=[skipped] if large and not everything else marks)


def size_of(variant, native):
    """Height and width of the images: "at_48x24" is (48, 24)."""
    sizes = [part.removeprefix("at_") for part in variant.split("/") if part.startswith("at_")]
    sides = sizes[0].split("x") if sizes else [native]
    return int(sides[0]), int(sides[-1])


def tensors(model, variant):
    module, table, _ = reference()
    state = module.state_dict(table["models"][model]["tensors"], table["seed"])
    return module.small_variance(state) if "small_variance" in variant else state


def images(size):
    module, table, _ = reference()
    x = module.images(size if size[0] != size[1] else size[0], table["seed"])
    return np.moveaxis(x, 1, -1)


def encode(path, model, variant, **options):
    """Layers by name and the rest of what `from_weights` gives, for the variant's images."""
    described = reference()[1]["models"][model]
    x = images(size_of(variant, described["images"]))
    network, variables, info = from_weights(
        path, mean=(0,) * 3, std=(1,) * 3, heads=described.get("heads"), **options
    )
    layers = jax.jit(network.layers)(variables["params"], variables["batch_stats"], x)
    return layers, info


def computed(path, model, variant):
    """All outputs that the reference may have of this model."""
    described = reference()[1]["models"][model]
    options = {"position": "timm"} if "timm" in variant.split("/") else {}
    layers, info = encode(path, model, variant, **options)
    outputs = dict(layers)
    if info.head:
        weights = np.asarray(info.head["kernel"], np.float64)
        outputs["logits"] = np.asarray(layers["features"]) @ weights + info.head["bias"]
    if "heads" not in described:
        return outputs | {"layer4": layers["features"]}
    depth = described["timm"]["depth"]
    if model == "mae_finetuned":
        return outputs | {"patch_mean_before_norm": layers[f"layer{depth}"]}
    outputs["cls"] = layers["features"]
    outputs["patch_mean"] = encode(path, model, variant, pool="mean", **options)[0]["features"]
    family = detect(tensors(model, variant), model)
    grid = tuple(side // described["patch"] for side in size_of(variant, described["images"]))
    patches = np.asarray(family.arrays["pos_embed"])[0, -family.grid[0] * family.grid[1] :]
    resized = positions.resize(
        jax.numpy.asarray(patches.reshape(*family.grid, -1)),
        grid,
        options.get("position", family.position),
    )
    outputs["pos_embed"] = np.asarray(resized).reshape(1, grid[0] * grid[1], -1)
    return outputs


def expected_positions(value, model):
    """The reference's position embeddings of patches; that of a class token stays as it is."""
    prefix = 0 if model == "dinov2_reg4_timm" else 1
    if prefix:
        np.testing.assert_array_equal(
            np.float32(value[:, :1]), tensors(model, "")["pos_embed"][:, :1, : value.shape[-1]]
        )
    return value[:, prefix:]


@pytest.mark.parametrize(("model", "variant"), list(cases()))
def test_outputs_meet_the_original_code(tmp_path, model, variant):
    path = tmp_path / "weights.safetensors"
    save_file(tensors(model, variant), path)
    outputs = computed(path, model, variant)
    prefix = f"{model}/{variant}/" if variant else f"{model}/"
    wanted = {
        key.removeprefix(prefix): value
        for key, value in reference()[2].items()
        if key.startswith(prefix) and "/" not in key.removeprefix(prefix)
    }
    assert wanted
    for name, value in wanted.items():
        assert name in outputs, f"{prefix}{name} is not known here"
        output = np.asarray(outputs[name])
        if name == "pos_embed":
            value = expected_positions(value, model)
            output = output[..., : value.shape[-1]]
        assert output.shape == value.shape, name
        error = np.abs(output - value).max() / np.sqrt(np.mean(value**2))
        assert error < TOLERANCE, f"{prefix}{name}: {error:.2e} of the rms"


def test_every_model_of_the_table_has_outputs():
    _, table, outputs = reference()
    described = {
        f"{model}/{name}" for model, facts in table["models"].items() for name in facts["outputs"]
    }
    assert described == set(outputs)
    assert {model for model, _ in variants()} == set(table["models"])
