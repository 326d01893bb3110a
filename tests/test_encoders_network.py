"""Networks: torchvision's counts and start, views, dtypes, training and evaluation, bad names."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import linear_network

from eqssl_jax import encoders
from eqssl_jax.encoders import network as networks

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
N, V = 3, 2
STEMS = ("cifar", "imagenet")


def build(encoder="resnet_tiny", **options):
    return encoders.build(encoder=encoder, mean=MEAN, std=STD, **options)


@cache
def shapes(encoder, **options):
    network = build(encoder, **options)
    return jax.eval_shape(lambda key: network.init(key, (32, 32, 3)), jax.random.key(0))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def started():
    network = build()
    return network, network.init(jax.random.key(0), (8, 8, 3))


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(1), (N * V, 8, 8, 3))


@partial(jax.jit, static_argnums=0, static_argnames="views")
def train(network, variables, images, *, views=1):
    params, stats = variables["params"], variables["batch_stats"]
    return network.apply(params, stats, images, views=views, train=True)


# torchvision's counts less its classifier.
TORCHVISION = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032}


@pytest.mark.parametrize("encoder", TORCHVISION)
def test_parameter_counts_are_torchvisions(encoder):
    counts = {stem: count(shapes(encoder, stem=stem)["params"]["encoder"]) for stem in STEMS}
    assert counts["imagenet"] == TORCHVISION[encoder]
    assert counts["cifar"] == TORCHVISION[encoder] - (7 * 7 - 3 * 3) * 3 * 64


def test_tiny_is_tiny():
    assert count(shapes("resnet_tiny")["params"]["encoder"]) < 300_000


@pytest.mark.parametrize(
    ("projector", "batch_norm", "expected"),
    [
        ((512, 128), True, 512 * 512 + 2 * 512 + 512 * 128 + 128),
        ((2048, 128), False, 512 * 2048 + 2048 + 2048 * 128 + 128),
        ((), True, 0),
    ],
)
def test_projector_counts(projector, batch_norm, expected):
    params = shapes("resnet18", projector=projector, projector_batch_norm=batch_norm)["params"]
    assert count(params["projector"]) == expected


@pytest.mark.parametrize(
    ("encoder", "stem", "features"),
    [
        ("resnet18", "cifar", 512),
        ("resnet50", "imagenet", 2048),
        ("resnet_tiny", "cifar", 128),
        ("conv_tiny", "cifar", 128),
    ],
)
def test_output_shapes(encoder, stem, features):
    network = build(encoder, stem=stem)
    variables = shapes(encoder, stem=stem)
    images = jax.ShapeDtypeStruct((4, 32, 32, 3), jnp.float32)
    (h, z), _ = jax.eval_shape(
        lambda v, x: network.apply(v["params"], v["batch_stats"], x, train=False),
        variables,
        images,
    )
    assert h.shape == (4, features)
    assert z.shape == (4, 128)


def test_start_is_torchvisions(started):
    params = started[1]["params"]
    kernel = np.asarray(params["encoder"]["layer4_0"]["conv2"]["kernel"])
    fan_out = kernel.shape[0] * kernel.shape[1] * kernel.shape[3]
    assert abs(kernel.mean()) < 1e-3
    assert kernel.std() == pytest.approx(np.sqrt(2 / fan_out), rel=0.02)
    assert np.abs(kernel).max() > 3 * kernel.std()  # normal, not truncated
    norm = params["encoder"]["layer4_0"]["bn2"]
    assert (norm["scale"] == 1).all()
    assert (norm["bias"] == 0).all()
    dense = params["projector"]["dense2"]
    bound = 1 / np.sqrt(512)
    for leaf in dense.values():
        assert np.abs(leaf).max() <= bound
        assert leaf.std() == pytest.approx(bound / np.sqrt(3), rel=0.15)


def test_first_weights_are_drawn_without_a_forward_pass(monkeypatch):
    """Flax runs one to learn the shapes; a program that returns none of its outputs lacks it."""
    programs = []

    def spy(function, *inputs):
        programs.append(jax.jit(function).lower(*inputs).compile().as_text())
        return function(*inputs)

    monkeypatch.setattr(networks, "once", spy)
    build().init(jax.random.key(0), (8, 8, 3))
    (program,) = programs
    assert "erf_inv" in program and "xor(" in program  # what draws normal weights is in it
    assert "convolution" not in program and "dot(" not in program


def test_images_are_normalised_first(started, images):
    network, variables = started
    plain = encoders.build(encoder="resnet_tiny", mean=(0,) * 3, std=(1,) * 3)
    mean, std = (np.asarray(a, np.float32)[None, None, None] for a in (MEAN, STD))
    for a, b in zip(
        train(network, variables, images)[0],
        train(plain, variables, (images - mean) / std)[0],
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_views_equal_one_forward_after_another(started, images):
    network, variables = started
    together, moved = train(network, variables, images, views=V)
    stats = variables["batch_stats"]
    for v in range(V):
        of_view, stats = train(network, variables | {"batch_stats": stats}, images[v::V])
        for a, b in zip(together, of_view, strict=True):
            np.testing.assert_allclose(a[v::V], b, rtol=1e-3, atol=1e-4)
    for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(stats), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_joint_statistics_differ_from_those_of_views(started, images):
    joint, _ = train(*started, images, views=1)
    apart, _ = train(*started, images, views=V)
    assert not np.allclose(joint[0], apart[0], atol=1e-2)


def test_evaluation_moves_nothing_and_sees_images_one_by_one(started, images):
    network, variables = started
    params, stats = variables["params"], variables["batch_stats"]
    evaluate = jax.jit(partial(network.apply, train=False))
    (features, _), kept = evaluate(params, stats, images)
    jax.tree.map(np.testing.assert_array_equal, kept, stats)
    (alone, _), _ = evaluate(params, stats, images[:1])
    np.testing.assert_allclose(features[:1], alone, rtol=1e-4, atol=1e-5)
    _, moved = train(network, variables, images)
    assert jax.tree.structure(moved) == jax.tree.structure(stats)
    changed = [
        not np.allclose(a, b)
        for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(stats), strict=True)
    ]
    assert all(changed)


@pytest.mark.slow
def test_bfloat16_stays_inside(started, images):
    network = build(compute_dtype="bfloat16")
    variables = network.init(jax.random.key(0), (8, 8, 3))
    outputs, moved = train(network, variables, images, views=V)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((variables, outputs, moved))}
    assert dtypes == {jnp.dtype("float32")}
    exact, _ = train(started[0], variables, images, views=V)
    difference = np.linalg.norm(outputs[0] - exact[0]) / np.linalg.norm(exact[0])
    assert 1e-5 < difference < 0.1  # rounded, hence really computed in bfloat16

    @jax.jit
    def slope(params):
        def value(params):
            return jnp.sum(train(network, variables | {"params": params}, images)[0][1])

        return jax.grad(value)(params)

    gradient = slope(variables["params"])
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(encoder="resnet19"), "encoder is 'resnet19'.*resnet50.*resnet_tiny.*vit_base"),
        (dict(stem="mnist"), "stem is 'mnist'.*cifar.*imagenet"),
        (dict(compute_dtype="float16"), "compute_dtype is 'float16'.*bfloat16"),
        (dict(conv="fft"), "conv is 'fft'"),
        (dict(projector=(512, 0)), r"projector takes widths.*\(512, 0\)"),
        (dict(mean=(0.5,)), "number a channel"),
        (dict(std=(0.2, 0.2, 0.0)), "std > 0"),
    ],
)
def test_bad_settings(options, words):
    with pytest.raises(ValueError, match=words):
        encoders.build(**(dict(encoder="resnet_tiny", mean=MEAN, std=STD) | options))


def test_channels_must_fit():
    with pytest.raises(ValueError, match=r"3 channels.*\(8, 8, 1\)"):
        build().init(jax.random.key(0), (8, 8, 1))


def test_layers_end_in_what_encode_gives(started, images):
    network, variables = started
    parts = variables["params"], variables["batch_stats"]
    layers = jax.jit(network.layers)(*parts, images)
    assert list(layers) == [
        "stem", "layer1", "layer2", "layer3", "features", "projector1", "embedding",
    ]  # fmt: skip
    assert [x.shape for x in layers.values()] == [
        (N * V, width) for width in (16, 16, 32, 48, 128, 512, 128)
    ]
    features, embeddings = jax.jit(network.encode)(*parts, images)
    np.testing.assert_array_equal(layers["features"], features)
    np.testing.assert_array_equal(layers["embedding"], embeddings)
    # A hidden layer is what the next one reads.
    last = variables["params"]["projector"]["dense2"]
    product = layers["projector1"] @ last["kernel"] + last["bias"][None]
    np.testing.assert_allclose(product, embeddings, rtol=1e-4, atol=1e-5)
    assert layers["projector1"].min() == 0


def test_layers_are_the_network_cut_short(started, images):
    network, variables = started
    layers = jax.jit(network.layers)(variables["params"], variables["batch_stats"], images)
    kernel = variables["params"]["encoder"]["conv1"]["kernel"]
    normed = (images - jnp.asarray(MEAN)[None, None, None]) / jnp.asarray(STD)[None, None, None]
    mapped = jax.lax.conv_general_dilated(
        normed, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    stem = jax.nn.relu(mapped / np.sqrt(np.float32(1 + 1e-5)))  # BatchNorm at its start
    np.testing.assert_allclose(layers["stem"], stem.mean(axis=(1, 2)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(projector=()), ["features", "embedding"]),
        (
            dict(projector=(8, 6, 4), projector_batch_norm=False, compute_dtype="bfloat16"),
            ["features", "projector1", "projector2", "embedding"],
        ),
    ],
)
def test_layers_of_other_projectors(options, expected):
    network = build(**options)
    variables = shapes("resnet_tiny", **options)
    layers = jax.eval_shape(
        network.layers,
        variables["params"],
        variables["batch_stats"],
        jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32),
    )
    assert list(layers) == ["stem", "layer1", "layer2", "layer3", *expected]
    assert {x.dtype for x in layers.values()} == {jnp.dtype("float32")}
    widths = [x.shape[1] for x in layers.values()]
    assert widths[4:] == [128, *(options["projector"] or (128,))]


def test_conv_tiny_halves_the_image_four_times_and_shows_every_layer():
    variables, kernels = shapes("conv_tiny"), shapes("conv_tiny")["params"]["encoder"]
    assert [kernels[f"conv{i}"]["kernel"].shape for i in range(1, 5)] == [
        (3, 3, 3, 16), (3, 3, 16, 32), (3, 3, 32, 64), (3, 3, 64, 128),
    ]  # fmt: skip
    layers = jax.eval_shape(
        build("conv_tiny").layers,
        variables["params"],
        variables["batch_stats"],
        jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32),
    )
    assert {name: x.shape[1] for name, x in layers.items()} == {
        "stem": 16, "layer1": 32, "layer2": 64, "features": 128, "projector1": 512,
        "embedding": 128,
    }  # fmt: skip


def test_networks_without_layers_say_two_things():
    network = linear_network()
    variables = network.init(jax.random.key(0), (2, 2, 1))
    layers = network.layers(variables["params"], variables["batch_stats"], jnp.ones((3, 2, 2, 1)))
    assert [(name, x.shape) for name, x in layers.items()] == [
        ("features", (3, 6)),
        ("embedding", (3, 4)),
    ]


def test_training_holds_nothing_of_the_layers(started, images):
    network, variables = started
    text = str(
        jax.make_jaxpr(partial(network.apply, views=V, train=True))(
            variables["params"], variables["batch_stats"], images
        )
    )
    # One mean over positions, that of the features; a sown map would add its own.
    assert text.count("axes=(1, 2)") == 1
    _, moved = train(network, variables, images, views=V)
    assert set(moved) == {"encoder", "projector"}
