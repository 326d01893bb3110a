"""A run that starts from the weights of another, or from a file of weights."""

import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_loop import equal
from tiny_run import arrays, config, with_data

from eqssl_jax.encoders.pretrained import settings_of
from eqssl_jax.experiment.stored import stored_setup
from eqssl_jax.training.initial import started_from
from eqssl_jax.training.loop import train
from eqssl_jax.training.setup import settled, setup


@pytest.fixture(scope="module")
def trained():
    """(workdir, its set-up, the state at its end, the file of its data)."""
    return with_data()


def start(source, **changes):
    """The set-up of a run that starts from another, and its state before the first step."""
    run = setup(config(changes.pop("file"), train__init_from=str(source), **changes))
    return run, started_from(run.config, run.mesh, run.init())


def test_a_run_starts_from_the_encoder_of_another(trained, tmp_path):
    workdir, source, state, _ = trained
    file = arrays(tmp_path / "other.npz", seed=3, bright=90)
    run, begun = start(f"{workdir}@best", file=file)
    assert run.config.train.init_from == f"{workdir}@best"
    assert run.dataset.mean == source.dataset.mean  # what the encoder is used to
    equal(begun.params["network"]["encoder"], state.params["network"]["encoder"])
    equal(begun.batch_stats["encoder"], state.batch_stats["encoder"])
    equal(begun.params["network"]["projector"], run.init().params["network"]["projector"])
    assert int(begun.step) == 0
    _, started = start(workdir, file=file, train__init_parts="encoder_and_projector")
    equal(started.params["network"], state.params["network"])
    assert run.provenance().mean == source.dataset.mean


def test_both_names_of_the_source_mean_the_same(trained, tmp_path, monkeypatch):
    workdir, *_, state, file = trained
    monkeypatch.chdir(workdir.parent)
    run = setup(config(file, model__init_from="run@best"))
    assert run.config.model.init_from == f"{workdir}@best"
    begun = started_from(run.config, run.mesh, run.init())
    equal(begun.params["network"]["encoder"], state.params["network"]["encoder"])
    with pytest.raises(ValueError, match=r"train\.init_from = .* config\.model\.init_from ="):
        setup(config(file, model__init_from="run@best", train__init_from="run@2"))
    for group in ("model", "train"):
        named = {f"{group}__init_from": str(tmp_path / "w.safetensors")}
        with pytest.raises(
            FileNotFoundError, match=rf"config\.{group}\.init_from = .* no such file"
        ):
            setup(config(tmp_path / "read_later.npz", **named))
    # A file that does not fit is refused by the set-up: nothing is compiled before.
    weights(tmp_path / "w.safetensors", {"layer1.0.conv1.weight": (2, 2)})
    with pytest.raises(ValueError, match=r"w\.safetensors .* another architecture"):
        setup(config(file, **named))


def test_the_encoder_can_be_that_of_the_source(trained, tmp_path):
    """With its stem, the size of its images and its statistics; or all of that but the weights."""
    workdir, source, state, file = trained
    of_source = dict(model__encoder="source", recipe__name="crop_flip")
    run, begun = start(workdir, file=file, **of_source)
    model = source.config.model
    assert (run.config.model.encoder, run.config.model.stem) == (model.encoder, model.stem)
    assert run.dataset.image_shape == source.dataset.image_shape
    unsized = ConfigDict(config(file, train__init_from=str(workdir), **of_source).to_dict())
    del unsized.recipe.options["size"]
    assert settled(unsized).recipe.options.to_dict() == {"size": 8}
    equal(begun.params["network"]["encoder"], state.params["network"]["encoder"])
    run, begun = start(workdir, file=file, train__init_parts="architecture", **of_source)
    assert run.dataset.mean == source.dataset.mean and "weights that are drawn" in run.notes[0]
    equal(begun.params, run.init().params)
    again = setup(
        config(file, train__init_from="nowhere", model__encoder="source"), workdir=workdir
    )
    assert again.config.model.encoder == model.encoder  # a run that goes on knows it
    with pytest.raises(ValueError, match=r"of what config\.train\.init_from names, which is empty"):
        setup(config(file, model__encoder="source"))
    for place in (tmp_path / "no", tmp_path / "no.safetensors"):
        with pytest.raises(FileNotFoundError, match=r"is 'source', and config\.train\.init_from ="):
            start(place, file=file, **of_source)


def weights(path, shapes):
    """A file of weights with arrays of these shapes."""
    from safetensors.numpy import save_file

    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, path)
    return path


def test_a_file_of_weights_tells_its_encoder_or_is_said_to_be_unknown(tmp_path):
    def resnet(width, blocks=(2, 2, 2, 2)):
        shapes = {"conv1.weight": (width, 3, 7, 7)}
        for stage, count in enumerate(blocks):
            for block in range(count):
                shapes[f"layer{stage + 1}.{block}.conv1.weight"] = (width * 2**stage, width, 1, 1)
        return shapes

    file = weights(tmp_path / "r.safetensors", resnet(64))
    assert settings_of(file) == ({"encoder": "resnet18", "stem": "imagenet"}, 0)
    tokens = {"patch_embed.proj.weight": (192, 3, 16, 16), "cls_token": (1, 1, 192),
              "pos_embed": (1, 197, 192)}  # fmt: skip
    tokens |= {f"blocks.{i}.mlp.fc1.weight": (768, 192) for i in range(12)}
    model, side = settings_of(weights(tmp_path / "v.safetensors", tokens))
    assert (model["encoder"], model["vit"]["patch"], side) == ("vit_tiny", 16, 224)
    for shapes, message in (
        (resnet(32), "it holds a resnet18, and config.model.encoder has no name for"),
        (resnet(64, (3, 4, 23, 3)), "it holds a ResNet with blocks"),
        ({"w": (2, 3)}, "holds no encoder that is known here"),
    ):
        place = weights(tmp_path / "x.safetensors", shapes)
        changed = config("a.npz", model__encoder="source", train__init_from=str(place))
        with pytest.raises(
            ValueError, match=rf"config\.model\.encoder is 'source', and .*{message}"
        ):
            settled(changed)


def test_a_source_that_cannot_be_read_is_refused_before_anything_is_built(trained, tmp_path):
    workdir, *_, file = trained
    (tmp_path / "w.safetensors").write_bytes(b"x")
    for place, message in {
        f"{workdir}@77": "'77' of .* is not kept; choose",
        file: "neither the --workdir of a run nor a file of weights",
        tmp_path / "w.safetensors": "neither the --workdir of a run nor a file of weights",
    }.items():
        with pytest.raises(ValueError, match=rf"config\.train\.init_from = .*{message}"):
            setup(config(file, train__init_from=str(place)))


@pytest.mark.slow
def test_a_run_that_goes_on_needs_its_source_no_more(trained, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(trained[0], source)
    values = config(trained[3], model__init_from=str(source))
    workdir = tmp_path / "run"
    state = train(setup(values, workdir=workdir), workdir)
    shutil.rmtree(source)
    longer = config(trained[3], model__init_from=str(source), train__steps=3)
    assert int(train(setup(longer, workdir=workdir), workdir).step) == 3
    evaluated = stored_setup(workdir)  # whose floor "random" is not the source
    begun = evaluated.init().params["network"]["encoder"]
    assert not all(
        np.array_equal(a, b)
        for a, b in zip(
            jax.tree.leaves(begun),
            jax.tree.leaves(trained[2].params["network"]["encoder"]),
            strict=True,
        )
    )
    assert int(state.step) == 2


def test_what_does_not_fit_is_named_before_training(trained, tmp_path):
    workdir, *_, file = trained
    start(workdir, file=file, model__projector=(8, 5))  # its own projector may be any
    with pytest.raises(ValueError, match=r"The projector of .*\[8, 4\] there, .*\[8, 5\] here"):
        start(
            workdir, file=file, model__projector=(8, 5), train__init_parts="encoder_and_projector"
        )
    with pytest.raises(ValueError, match=r"The encoder of .* does not fit .*absent"):
        start(workdir, file=file, model__encoder="resnet_tiny")
    with pytest.raises(FileNotFoundError, match=r"nowhere.* has no data\.json"):
        start(tmp_path / "nowhere", file=file)
    with pytest.raises(ValueError, match=r"step '7' of .* is not kept"):
        start(f"{workdir}@7", file=file)
