"""The weights that a run starts from when they are those of another, or of a file."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree
from ml_collections import ConfigDict

from eqssl_jax import storage
from eqssl_jax.config import copied
from eqssl_jax.data.base import Dataset
from eqssl_jax.encoders import Network
from eqssl_jax.encoders.pretrained import SOURCE, settings_of, start_from
from eqssl_jax.encoders.weight_files import read_weights
from eqssl_jax.training import checkpoint, kept
from eqssl_jax.training.integrity import shapes
from eqssl_jax.training.mesh import spread
from eqssl_jax.training.provenance import FILE, Provenance, read_provenance
from eqssl_jax.training.state import TrainState
from eqssl_jax.training.stored import open_run
from eqssl_jax.training.workdir import has_trained, read_config

WEIGHTS = (".safetensors", ".pth", ".pt", ".bin")  # files of weights
SETTINGS = ("train", "model")  # groups with an init_from; both mean the same
ARCHITECTURE = "architecture"  # of init_parts: weights are drawn, all else is that of the source


class Source(NamedTuple):
    """Where weights come from, and the setting that says so."""

    place: str
    setting: str

    def __str__(self) -> str:
        return f"{self.setting} = {self.place}"


def source_of(config: ConfigDict) -> Source | None:
    """The source of a run that starts from another or from a file; None where weights are drawn.

    Raises:
      ValueError: if both settings are given and differ.
    """
    named = [
        Source(config[group].init_from, f"config.{group}.init_from")
        for group in SETTINGS
        if config[group].init_from
    ]
    if len({source.place for source in named}) > 1:
        raise ValueError(
            f"{named[0]} and {named[1]} name two sources of the same weights: give one of them."
        )
    return named[0] if named else None


def started_from(config: ConfigDict, mesh: Mesh, state: TrainState) -> TrainState:
    """A state before the first step whose encoder has the weights that the config names.

    The source is config.train.init_from, of which config.model.init_from is another name. With
    config.train.init_parts = "encoder_and_projector" the projector is taken from it, too. Running
    averages of BatchNorm come with the weights; a target network starts as a copy. A run that goes
    on does not read the source again.

    Raises:
      FileNotFoundError: if there is no such run or checkpoint.
      ValueError: if its arrays have other shapes.
      OSError: if the checkpoint is damaged.
    """
    source = source_of(config)
    if source is None:
        return state
    start = {"params": state.params["network"], "batch_stats": state.batch_stats}
    if config.train.init_parts == ARCHITECTURE:
        return state
    if _is_file(config, source):
        start = start_from(source.place, start, setting=source.setting)
    else:
        start = _of_run(config, source, start)
    network, stats = spread(mesh, (start["params"], start["batch_stats"]))
    # Copies, because the training step donates its state and no buffer may be given away twice.
    target = jax.tree.map(jnp.copy, {"network": network, "batch_stats": stats})
    return state._replace(
        params={**state.params, "network": network},
        batch_stats=stats,
        target=target if state.target else (),
    )


def _is_file(config: ConfigDict, source: Source) -> bool:
    """Whether the source is a file of weights, not the folder of a run.

    Raises:
      ValueError: if a projector is wanted, which no such file has.
    """
    place = storage.path(source.place)
    if place.suffix not in WEIGHTS and not place.is_file():
        return False
    if "projector" in config.train.init_parts:
        raise ValueError(
            f"config.train.init_parts is {config.train.init_parts!r}, but {source} is a file of "
            f"weights, which has no projector: set it to 'encoder'."
        )
    return True


def check_weights(config: ConfigDict, network: Network, shape: tuple[int, ...]) -> None:
    """That a file of weights fits the network that starts from it, before anything is compiled.

    Raises:
      ValueError: as `start_from`.
    """
    source = source_of(config)
    if source and config.train.init_parts != ARCHITECTURE and _is_file(config, source):
        start = jax.eval_shape(lambda key: network.init(key, shape), jax.random.key(0))
        start_from(source.place, start, setting=source.setting)


def _of_run(config: ConfigDict, source: Source, start: PyTree) -> PyTree:
    """The variables of a network with those of a run in their place."""
    workdir, step = _place(source.place)
    try:
        there = open_run(workdir, step).state
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{source} cannot be read: {error}") from None
    except ValueError as error:
        raise ValueError(f"{source} cannot be read: {error}") from None
    names = ("encoder", "projector") if "projector" in config.train.init_parts else ("encoder",)
    network, stats = dict(start["params"]), dict(start["batch_stats"])
    for name in names:
        network[name] = _taken(source, name, there.params["network"].get(name, {}), network[name])
        if name in stats:
            stats[name] = _taken(source, name, there.batch_stats.get(name, {}), stats[name])
    return {"params": network, "batch_stats": stats}


def source_statistics(config: ConfigDict) -> Provenance | None:
    """What the source's encoder was trained on; None without one, and for a file of weights, which
    does not hold it. It is read before the data, which can take minutes.

    Raises:
      FileNotFoundError: if the source is no run, or one without data.json or checkpoints.
      ValueError: if the step is not kept, or the file not one of weights.
    """
    source = source_of(config)
    if source is None:
        return None
    if _is_file(config, source):
        _check_file(source)
        return None
    workdir, step = _place(source.place)
    trained_on = read_provenance(workdir)
    if trained_on is None:
        raise FileNotFoundError(
            f"{source}, and {workdir} has no {FILE}: give the --workdir of a run that has been "
            f"trained, perhaps with @best or @STEP, or a file of weights."
        )
    _check_step(source, workdir, step)
    return trained_on


def with_source_statistics(
    dataset: Dataset, config: ConfigDict, trained_on: Provenance | None
) -> Dataset:
    """The data set with the mean and standard deviation of `source_statistics`, if there are any.

    Raises:
      ValueError: if the encoder is for another number of channels.
    """
    if trained_on is None:
        return dataset
    if trained_on.channels != dataset.shown_shape[-1] or trained_on.clouds != dataset.clouds:
        raise ValueError(
            f"{source_of(config)}, whose encoder takes inputs of shape {trained_on.input_shape}, "
            f"but those of {dataset.name} have shape {tuple(dataset.shown_shape)}: start from a "
            f"run on inputs of that kind."
        )
    return dataset._replace(mean=trained_on.mean, std=trained_on.std)


def with_source_encoder(config: ConfigDict, workdir: Path | None = None) -> ConfigDict:
    """The config with the encoder of the source where config.model.encoder is "source".

    With it come the stem, the settings of vision transformers and, where config.recipe.options has
    no size, the side of the images that it takes. A run that goes on in `workdir` has them already.

    Raises:
      FileNotFoundError: if the source is no run and no file.
      ValueError: without a source, and for a file whose encoder has no name in config.model.
    """
    if config.model.encoder != SOURCE:
        return config
    source = source_of(config)
    if source is None:
        raise ValueError(
            "config.model.encoder is 'source', the encoder of what config.train.init_from names, "
            "which is empty: give it a run or a file of weights (with "
            "config.train.init_parts=architecture weights are drawn all the same), or name an "
            "encoder, e.g. config.model.encoder=resnet18."
        )
    try:
        if workdir is not None and has_trained(workdir):
            model, side = _of_folder(workdir)
        elif _is_file(config, source):
            model, side = settings_of(source.place)
        else:
            model, side = _of_folder(_place(source.place)[0])
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(
            f"config.model.encoder is 'source', and {source} does not tell which that is: {error} "
            f"Give a run or a file of weights, or name the encoder, e.g. "
            f"config.model.encoder=resnet18."
        ) from None
    changed = copied(config)
    changed.model.update(model)
    if side and "size" not in changed.recipe.options:
        changed.recipe.options = {**changed.recipe.options, "size": side}
    return changed.lock()


def _of_folder(workdir: Path) -> tuple[dict[str, object], int]:
    """The settings of config.model that a run was trained with, and the side of its images."""
    model = read_config(workdir).to_dict()["model"]
    trained_on = read_provenance(workdir)
    shape = trained_on.input_shape if trained_on else ()
    side = shape[0] if len(shape) == 3 and shape[0] == shape[1] else 0
    return {name: model[name] for name in ("encoder", "stem", "vit")}, side


def _check_file(source: Source) -> None:
    if not storage.path(source.place).is_file():
        raise FileNotFoundError(f"{source}: there is no such file.")
    try:
        read_weights(source.place)
    except ValueError as error:
        raise ValueError(
            f"{source} is neither the --workdir of a run nor a file of weights: {error}"
        ) from None


def _check_step(source: Source, workdir: Path, step: str) -> None:
    manager = checkpoint.open_checkpoints(workdir, read_only=True)
    try:
        kept.find_step(manager, step)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{source} cannot be read: {error}") from None
    finally:
        manager.close()


def _place(text: str) -> tuple[Path, str]:
    """The folder and the step of "WORKDIR", "WORKDIR@best" or "WORKDIR@STEP".

    >>> _place("runs/care@best")
    (PosixPath('runs/care'), 'best')
    """
    folder, at, step = text.rpartition("@")
    if at and (step.isdigit() or step in ("best", "latest")):
        return storage.path(folder), step
    return storage.path(text), "latest"


def _taken(source: Source, name: str, values: PyTree, like: PyTree) -> PyTree:
    """The arrays of the source in the place of those of the run.

    Raises:
      ValueError: naming the arrays that do not fit.
    """
    stored, here = shapes(values), shapes(like)
    differing = [key for key in sorted({*stored, *here}) if stored.get(key) != here.get(key)]
    if not differing:
        return values
    shown = "; ".join(
        f"{key}: {stored.get(key, 'absent')} there, {here.get(key, 'absent')} here"
        for key in differing[:4]
    )
    more = f" (and {len(differing) - 4} more)" if len(differing) > 4 else ""
    raise ValueError(
        f"The {name} of {source} does not fit that of this config: {shown}{more}. Use the "
        f"config.model that it was trained with, or start from another."
    )
