"""Files of weights: read, told apart, refused, written under others' names and read again."""

import warnings
from collections import OrderedDict
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from eqssl_jax import encoders
from eqssl_jax.encoders import ViTSettings, resnet, vit
from eqssl_jax.encoders.conv import Conv
from eqssl_jax.encoders.families import detect
from eqssl_jax.encoders.naming import from_torch_names, to_torch_names
from eqssl_jax.encoders.network import assemble
from eqssl_jax.encoders.norm import BatchNorm

PLAIN = dict(mean=(0.0,) * 3, std=(1.0,) * 3)
IMAGES = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3))


def of_encoder(variables):
    return {
        "params": variables["params"]["encoder"],
        "batch_stats": variables["batch_stats"].get("encoder", {}),
    }


def network(kind):
    """Small networks, one of each kind of layers: basic blocks, bottlenecks, transformers."""
    if kind == "vit":
        return assemble(vit.ViT(16, 2, 2), **PLAIN)
    if kind == "vit_more":
        settings = ViTSettings(registers=3, layer_scale=0.5, pool="mean")
        return assemble(vit.ViT(16, 1, 2, settings, gated=True), **PLAIN)
    block = resnet.Bottleneck if kind == "bottleneck" else resnet.BasicBlock
    stem = "imagenet" if kind == "bottleneck" else "cifar"
    module = resnet.ResNet(block, (1,) * 4, (4, 4, 8, 8), stem, Conv, BatchNorm)
    return assemble(module, **PLAIN)


@cache
def arrays(kind):
    """Random arrays of a network under their names in files; statistics are positive."""
    shapes = jax.eval_shape(lambda key: network(kind).init(key, (16, 16, 3)), jax.random.key(0))
    rng = np.random.default_rng(0)
    values = jax.tree.map(lambda s: rng.uniform(0.1, 0.4, s.shape).astype(np.float32), shapes)
    return to_torch_names(of_encoder(values), steps=7)


@pytest.fixture
def saved(tmp_path):
    def save(kind, change=lambda state: state):
        path = tmp_path / f"{kind}.safetensors"
        save_file(change(dict(arrays(kind))), path)
        return path

    return save


HEADS = {"vit": 2, "vit_more": 2, "basic": None, "bottleneck": None}


@pytest.mark.parametrize("kind", HEADS)
def test_out_and_in_again_is_the_same_network(saved, kind):
    options = dict(pool="mean") if kind == "vit_more" else {}
    _, variables, info = encoders.from_weights(saved(kind), **PLAIN, heads=HEADS[kind], **options)
    again = to_torch_names(of_encoder(variables), steps=7)
    assert list(again) == list(arrays(kind))
    for name, value in arrays(kind).items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)
    template = jax.eval_shape(lambda key: network(kind).init(key, (16, 16, 3)), jax.random.key(0))
    assert jax.tree.structure(of_encoder(variables)) == jax.tree.structure(of_encoder(template))
    assert info.image_shape == ((16, 16, 3) if "vit" in kind else (224, 224, 3))


@cache
def resnet18():
    built = encoders.build(encoder="resnet18", stem="imagenet", projector=(), **PLAIN)
    return built, jax.eval_shape(lambda key: built.init(key, (32, 32, 3)), jax.random.key(0))


def test_names_and_shapes_are_torchvisions():
    _, shapes = resnet18()
    zeros = jax.tree.map(lambda s: np.broadcast_to(np.float32(0), s.shape), shapes)
    state = to_torch_names(of_encoder(zeros))
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["layer2.0.downsample.1.running_var"].shape == (128,)
    assert state["bn1.num_batches_tracked"].dtype == np.int64
    assert len(state) == 120  # torchvision's 122 less the classifier's
    assert {name: value.shape for name, value in state.items()} == torchvision_resnet18()


def torchvision_resnet18():
    """Names and shapes of torchvision.models.resnet18 without fc, by the rule of its modules."""
    shapes = {}

    def layer(conv, norm, out, inner, side):
        shapes[f"{conv}.weight"] = (out, inner, side, side)
        vectors = ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{norm}.{name}": (out,) for name in vectors})
        shapes[f"{norm}.num_batches_tracked"] = ()

    layer("conv1", "bn1", 64, 3, 7)
    for stage, (inner, out) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], start=1):
        for block in range(2):
            at = f"layer{stage}.{block}"
            layer(f"{at}.conv1", f"{at}.bn1", out, out if block else inner, 3)
            layer(f"{at}.conv2", f"{at}.bn2", out, out, 3)
            if inner != out and not block:
                layer(f"{at}.downsample.0", f"{at}.downsample.1", out, inner, 1)
    return shapes


def torch_resnet18(torch):
    """The topology of He et al. 2015, under the names of its layers in torchvision."""
    nn = torch.nn

    def conv(inner, out, side, stride):
        return nn.Conv2d(inner, out, side, stride, side // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, inner, out, stride):
            super().__init__()
            self.conv1, self.bn1 = conv(inner, out, 3, stride), nn.BatchNorm2d(out)
            self.conv2, self.bn2 = conv(out, out, 3, 1), nn.BatchNorm2d(out)
            self.downsample = nn.Sequential()
            if stride > 1:
                self.downsample = nn.Sequential(conv(inner, out, 1, stride), nn.BatchNorm2d(out))

        def forward(self, x):
            y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (y + self.downsample(x)).relu()

    sizes = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    stages = {
        f"layer{i}": nn.Sequential(Block(inner, out, stride), Block(out, out, 1))
        for i, (inner, out, stride) in enumerate(sizes, start=1)
    }
    stem = dict(conv1=conv(3, 64, 7, 2), bn1=nn.BatchNorm2d(64), relu=nn.ReLU())
    end = dict(avgpool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten())
    return nn.Sequential(OrderedDict(**stem, maxpool=nn.MaxPool2d(3, 2, 1), **stages, **end))


@cache
def resnet18_in_torch():
    torch = pytest.importorskip("torch")
    _, shapes = resnet18()
    draw = np.random.default_rng(0).uniform
    params = jax.tree.map(lambda s: draw(-0.05, 0.06, s.shape).astype("f"), shapes["params"])
    stats = jax.tree.map(lambda s: draw(0.5, 1, s.shape).astype("f"), shapes["batch_stats"])
    state = to_torch_names(of_encoder({"params": params, "batch_stats": stats}), steps=7)
    model = torch_resnet18(torch).eval()
    model.load_state_dict({name: torch.tensor(v) for name, v in state.items()}, strict=True)
    return torch, model, params, stats


def test_a_resnet18_loads_strictly_in_torch():
    _, model, params, _ = resnet18_in_torch()
    kernel = params["encoder"]["layer4_0"]["downsample_conv"]["kernel"]
    loaded = model.layer4[0].downsample[0].weight.detach().numpy()
    np.testing.assert_array_equal(loaded, kernel.transpose(3, 2, 0, 1))


@pytest.mark.slow
def test_a_resnet18_gives_the_same_features_in_torch():
    torch, model, params, stats = resnet18_in_torch()
    images = np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    with torch.no_grad():
        features = model(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
    expected = np.asarray(jax.jit(resnet18()[0].encode)(params, stats, images)[0])
    assert features.std(1).min() > 1e-4
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "state_dict.module.", "backbone.", "teacher.backbone."]
)
def test_wrapped_files_are_unwrapped(prefix):
    wrapped = {prefix + name: value for name, value in arrays("basic").items()}
    wrapped |= {"head.mlp.0.weight": np.zeros((3, 3)), "optimizer.state.0.exp_avg": np.zeros(2)}
    family = detect(wrapped, "file")
    assert set(family.arrays) == set(arrays("basic"))
    assert family.left_out == ("head.mlp.0.weight", "optimizer.state.0.exp_avg")


def test_two_networks_in_a_file_need_a_choice():
    networks = {
        f"{part}.{name}": value + (part == "teacher")
        for part in ("student", "teacher")
        for name, value in arrays("vit").items()
    }
    with pytest.raises(
        ValueError, match=r"several encoders, under student, teacher.*part='teacher'"
    ):
        detect(networks, "file")
    chosen = detect(networks, "file", part="teacher").arrays["norm.bias"]
    np.testing.assert_array_equal(chosen, arrays("vit")["norm.bias"] + 1)


def drop(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


def put(name, value):
    return lambda state: state | {name: value}


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("basic", drop("layer3.0.bn2.bias"), r"layer3.0.bn2.bias \[8\] is missing"),
        ("basic", put("extra.weight", np.zeros((2, 3), np.float32)), r"extra.weight \[2, 3\]"),
        (
            "basic",
            put("layer2.0.bn1.running_mean", np.zeros(5, np.float32)),
            r"layer2.0.bn1.running_mean has shape \[5\], and \[4\] was expected",
        ),
        (
            "basic",
            put("bn1.weight", np.full(4, np.nan, np.float32)),
            "4 of 4 numbers of bn1.weight",
        ),
        ("basic", drop("conv1.weight"), "conv1.weight.*is missing.*another architecture"),
        ("vit", drop("blocks.1.attn.qkv.bias"), r"blocks.1.attn.qkv.bias \[48\] is missing"),
        ("vit", put("dist_token", np.zeros((1, 1, 16), np.float32)), "dist_token.*distilled DeiT"),
        ("basic", put("conv1.weight", np.ones((4, 3, 3, 3), np.int8)), "conv1.weight.*int8"),
        ("basic", put("layer1.0.bn1.bias", np.ones(4, np.int64)), "layer1.0.bn1.bias.*int64"),
        ("vit", drop("cls_token"), "cls_token.*is missing.*another architecture"),
        ("vit", put("pos_embed", np.zeros((1, 8, 16), np.float32)), "8 entries.*no square"),
        (
            "vit",
            lambda state: {"encoder.w": state["cls_token"]},
            "no encoder that is known.*encoder.w",
        ),
    ],
)
def test_files_that_do_not_fit_name_the_array(saved, kind, change, words):
    with pytest.raises(ValueError, match=words) as error:
        encoders.from_weights(saved(kind, change), **PLAIN, heads=HEADS[kind])
    assert f"{kind}.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("vit", {}, "width is no multiple of 64.*set heads"),
        ("vit", dict(heads=3), "heads is 3.*16"),
        ("vit", dict(heads=2, pool="max"), "pool is 'max'"),
        ("vit", dict(heads=2, position="nearest"), "position is 'nearest'"),
        ("vit", dict(heads=2, image_size=30), "image_size is 30.*multiples of 4"),
        ("basic", dict(heads=2), "no heads"),
        ("vit", dict(heads="three"), "heads is 'three'"),
        ("vit", dict(heads=2, image_size="big"), "image_size is 'big'"),
        ("vit", dict(heads=2, part=3), "part is 3"),
        ("vit", dict(heads=2, mean=(127, 127, 127)), "mean is .127.*divide by 255"),
        ("vit", dict(heads=2, mean="abc"), "mean and std need a number.*abc"),
        ("vit", dict(heads=2, std=(0.2, 0.0, 0.2)), "std > 0"),
        ("vit", dict(heads=2, std=(0.2, float("nan"), 0.2)), "std > 0"),
    ],
)
def test_settings_that_do_not_fit_the_file(saved, kind, options, words):
    with pytest.raises(ValueError, match=words):
        encoders.from_weights(saved(kind), **{**PLAIN, **options})


def test_damaged_and_foreign_files(tmp_path, saved):
    whole = saved("vit").read_bytes()
    for count in (0, 4, 100, len(whole) - 40):
        path = tmp_path / f"cut{count}.safetensors"
        path.write_bytes(whole[:count])
        with pytest.raises(ValueError, match=rf"cut{count}.*damaged, cut short"):
            encoders.read_weights(path)
    (tmp_path / "weights.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"weights.npy.*safetensors"):
        encoders.read_weights(tmp_path / "weights.npy")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        encoders.read_weights(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no.safetensors does not exist"):
        encoders.read_weights(tmp_path / "no.safetensors")
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(ValueError, match="no arrays"):
        encoders.read_weights(tmp_path / "empty.safetensors")


class Bomb:
    def __reduce__(self):
        return print, ("this code must not run",)


def test_pickles_give_tensors_and_never_code(tmp_path, capsys):
    torch = pytest.importorskip("torch", reason="pickles are read with torch")
    path = tmp_path / "weights.pth"
    tensors = {name: torch.tensor(value) for name, value in arrays("vit").items()}
    torch.save({"epoch": 3, "model": tensors}, path)
    read = encoders.read_weights(path)
    assert set(read) == {f"model.{name}" for name in tensors}
    np.testing.assert_array_equal(read["model.norm.bias"], arrays("vit")["norm.bias"])
    torch.save({"model": tensors, "code": Bomb()}, path)
    with pytest.raises(ValueError, match=r"refused.*run code") as error:
        encoders.read_weights(path)
    assert "must not run" not in capsys.readouterr().out
    assert "\n" not in str(error.value)
    torch.save(tensors, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="damaged or cut short"):
        encoders.read_weights(path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("sparse", "sparse_coo"),
        ("quantised", "qint8"),
        ("meta", "meta"),
        ("bool", "dtype bool"),
        ("complex", "dtype complex64"),
        ("whole", "dtype int32"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_named(tmp_path, kind, words):
    torch = pytest.importorskip("torch", reason="pickles are read with torch")
    make = {
        "sparse": lambda x: x.to_sparse(),
        "quantised": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        "meta": lambda x: x.to("meta"),
        "bool": lambda x: x > 0,
        "complex": lambda x: x + 1j,
        "whole": lambda x: x.int(),
    }[kind]
    tensors = {name: torch.tensor(value) for name, value in arrays("basic").items()}
    with warnings.catch_warnings(action="ignore"):  # torch's own, of quantised tensors
        tensors["conv1.weight"] = make(tensors["conv1.weight"])
        torch.save(tensors, tmp_path / "file.pth")
        with pytest.raises(ValueError, match=rf"file.pth: conv1.weight is .*{words}") as error:
            encoders.from_weights(tmp_path / "file.pth", **PLAIN)
    assert "\n" not in str(error.value)


def test_half_precisions_are_widened(tmp_path):
    path = tmp_path / "half.safetensors"
    values = {"a": np.ones(3, np.float16), "b": np.asarray(jnp.full(2, 1.5, jnp.bfloat16))}
    save_file(values, path)
    read = encoders.read_weights(path)
    assert {value.dtype for value in read.values()} == {np.dtype("float32")}
    np.testing.assert_array_equal(read["b"], [1.5, 1.5])


def test_training_starts_from_a_file_at_another_size(saved):
    started = network("vit").init(jax.random.key(5), (24, 16, 3))
    loaded = encoders.start_from(saved("vit"), started)
    assert loaded["params"]["encoder"]["positions"].shape == (6, 4, 16)
    np.testing.assert_array_equal(
        loaded["params"]["encoder"]["norm"]["bias"], arrays("vit")["norm.bias"]
    )
    assert jax.tree.structure(loaded) == jax.tree.structure(started)
    with pytest.raises(ValueError, match=r"init_from.*blocks.0.attn.proj.bias \[16\] is missing"):
        encoders.start_from(saved("basic"), started)


def test_conv_tiny_and_projectors_have_names_too():
    built = encoders.build(encoder="conv_tiny", projector=(8, 4), **PLAIN)
    variables = jax.eval_shape(lambda key: built.init(key, (16, 16, 3)), jax.random.key(0))
    values = jax.tree.map(lambda s: np.zeros(s.shape, np.float32), variables)
    names = to_torch_names(of_encoder(values))
    assert names["conv2.weight"].shape == (32, 16, 3, 3)
    arrays = to_torch_names(values)
    assert arrays["projector.dense1.weight"].shape == (8, 128)
    back = from_torch_names(arrays, variables, "file")
    assert jax.tree.structure(back) == jax.tree.structure(variables)
