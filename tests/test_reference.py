"""The reference in PyTorch (benchmarks/reference) against golden values and against the package."""

import argparse

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from eqssl_jax import encoders

torch = pytest.importorskip("torch")
models = pytest.importorskip("reference.models")
augment = pytest.importorskip("reference.augment")
reference = pytest.importorskip("reference.train")

STATISTICS = dict(mean=(0.49, 0.48, 0.44), std=(0.2, 0.19, 0.21))
NAMES = ("brightness", "contrast", "saturation", "hue")


def channels_first(x):
    return torch.tensor(np.asarray(x, np.float32)).movedim(-1, -3)


def channels_last(x):
    return x.movedim(-3, -1).detach().numpy()


@pytest.mark.parametrize("case", range(4))
def test_losses_and_gradients_are_those_of_the_golden_file(golden, case):
    values = golden("care_losses")
    z = [torch.tensor(values[f"{case}_z{i}"], dtype=torch.float64) for i in (1, 2)]
    losses = {
        "info_nce": lambda *z: models.info_nce(*z, float(values[f"{case}_temperature"])),
        "equivariance": lambda *z: models.equivariance(*z, int(values[f"{case}_chunks"])),
    }
    for name, loss in losses.items():
        z = [x.detach().requires_grad_() for x in z]
        value = loss(*z)
        value.backward()
        np.testing.assert_allclose(value.item(), values[f"{case}_{name}"], rtol=1e-5)
        for i, x in enumerate(z, 1):
            wanted = values[f"{case}_{name}_grad_z{i}"]
            np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_transformations_are_those_of_the_golden_file(golden):
    values = golden("torchvision")
    images = channels_first(values["images"])
    count = len(images)

    def jittered(**factors):
        still = {name: torch.full((count,), float(name != "hue")) for name in NAMES}
        drawn = {name: torch.full((count,), float(f)) for name, f in factors.items()}
        order = torch.arange(4).repeat(count, 1)
        return augment.jitter({**still, **drawn, "order": order}, images)

    made = {name: [jittered(**{name: f}) for f in values[f"{name}_factor"]] for name in NAMES}
    made["blur3"] = [
        augment.blur(images, torch.full((count,), float(sigma))) for sigma in values["blur3_sigma"]
    ]
    for size in (16, 32):
        made[f"resized_crop{size}"] = [
            augment.resized_crop(images, *(torch.full((count,), float(x)) for x in box / 32), size)
            for box in values["crop_boxes_top_left_height_width"]
        ]
    for name, views in made.items():
        for view, wanted in zip(views, values[name], strict=True):
            np.testing.assert_allclose(channels_last(view), wanted, atol=1e-5, err_msg=name)
    gray = augment.grayscale(images).expand(-1, 3, -1, -1)
    np.testing.assert_allclose(
        channels_last(gray), np.broadcast_to(values["grayscale"], values["images"].shape), atol=1e-5
    )


def test_a_draw_has_the_laws_of_the_paper():
    drawn = augment.draw(4000, torch.Generator().manual_seed(0))
    area, ratio = drawn["height"] * drawn["width"], drawn["width"] / drawn["height"]
    assert area.min() >= 0.08 and area.max() <= 1 and 0.75 - 1e-6 <= ratio.min() <= 0.76
    assert (drawn["top"] + drawn["height"]).max() <= 1 + 1e-6
    shares = {"flip": 0.5, "gray": 0.2, "sigma": 0.5, "hue": 0.8}
    for name, share in shares.items():
        assert (drawn[name] != 0).float().mean().item() == pytest.approx(share, abs=0.04), name
    assert drawn["brightness"].min() >= 0.6 and drawn["brightness"].max() <= 1.4
    assert sorted(drawn["order"][0].tolist()) == [0, 1, 2, 3]
    grouped = augment.shared(12, 3, torch.Generator().manual_seed(0))["left"].reshape(3, 4)
    assert (grouped == grouped[:, :1]).all() and len(set(grouped[:, 0].tolist())) == 3


def test_the_start_has_the_package_s_laws_and_a_forward_pass_its_values():
    ours = encoders.build(encoder="conv_tiny", projector=(256, 64), **STATISTICS)
    torch.manual_seed(0)
    theirs = models.Network(**STATISTICS)
    start = ours.init(jax.random.key(0), (32, 32, 3))
    flat = {name: np.asarray(x) for name, x in flatten_dict(start, sep="/").items()}
    weights = theirs.to_flax()
    assert {k: x.shape for k, x in weights.items()} == {k: x.shape for k, x in flat.items()}
    for name, x in weights.items():
        if x.size > 400:
            assert np.std(x) == pytest.approx(np.std(flat[name]), rel=0.1), name
            assert abs(x).max() == pytest.approx(abs(flat[name]).max(), rel=0.35), name
    rng = np.random.default_rng(0)
    for name, x in weights.items():  # running averages that are not those of the start
        if name.startswith("batch_stats"):
            weights[name] = x + rng.uniform(0, 0.5, x.shape).astype(np.float32)
    tree = unflatten_dict(weights, sep="/")
    images = rng.random((8, 32, 32, 3), np.float32)
    outputs = ours.encode(tree["params"], tree["batch_stats"], images)
    theirs.from_flax(weights).eval()
    for wanted, value in zip(outputs, theirs(channels_first(images)), strict=True):
        np.testing.assert_allclose(value.detach().numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_three_steps_of_care_are_the_package_s(tmp_path):
    """Equal weights and draws: views, losses, running averages and weights stay equal."""
    import agree

    from eqssl_jax.training.forward import draw_views
    from eqssl_jax.training.step import make_step

    images = np.random.default_rng(0).integers(0, 256, (192, 32, 32, 3), np.uint8)
    labels = np.arange(192) % 4
    file = tmp_path / "tiny.npz"
    np.savez(file, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    arguments = argparse.Namespace(data=str(file), images=128, epochs=3)
    run, root = agree.setup(arguments), jax.random.key(3)
    recipe = reference.Recipe(
        batch=128, steps=3, rate=agree.RATE, decay=agree.DECAY, temperature=agree.TEMPERATURE,
        weight=agree.WEIGHT, groups=agree.GROUPS, projector=agree.PROJECTOR, size=agree.SIZE,
        mean=run.dataset.mean, std=run.dataset.std,
    )  # fmt: skip
    state = run.init()
    tree = {"params": state.params["network"], "batch_stats": state.batch_stats}
    theirs = models.Network(run.dataset.mean, run.dataset.std).train()
    theirs.from_flax({k: np.array(x) for k, x in flatten_dict(tree, sep="/").items()})
    adam = reference.optimizer(theirs, recipe)
    step = jax.jit(make_step(run.network, run.method, run.optimizer, run.split.read, root))
    draw = jax.jit(lambda key, x: draw_views(run.method, key, x))
    batch = np.arange(128)
    pool = run.split.read(run.split.pool, batch)
    for done in range(3):
        drawn, examples = draw(jax.random.fold_in(root, done), pool)
        views = []
        for name in ("contrast", "equivariance"):
            for v in range(2):
                params = jax.tree.map(
                    lambda x, v=v: torch.tensor(np.asarray(x[v])), dict(drawn[name].params)
                )
                flat = {k: x for part in params.values() for k, x in part.items()}
                views.append(augment.apply(flat, channels_first(pool), agree.SIZE))
                np.testing.assert_allclose(
                    channels_last(views[-1]), examples[name][v], atol=2e-5, err_msg=name
                )
        state, metrics = step(state, run.split.pool, batch)
        losses = reference.update(theirs, adam, views, recipe, done)
        for name, value in losses.items():
            assert value == pytest.approx(float(metrics[name]), rel=2e-5), (done, name)
    ours = {"params": state.params["network"], "batch_stats": state.batch_stats}
    for name, wanted in flatten_dict(ours, sep="/").items():
        np.testing.assert_allclose(
            theirs.to_flax()[name], wanted, rtol=2e-3, atol=2e-4, err_msg=name
        )
