"""The weights that a run starts from when they are those of another: config.train.init_from."""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree
from ml_collections import ConfigDict

from eqssl_jax.data.base import Dataset
from eqssl_jax.encoders.pretrained import start_from
from eqssl_jax.training.integrity import shapes
from eqssl_jax.training.mesh import spread
from eqssl_jax.training.provenance import FILE, read_provenance
from eqssl_jax.training.state import TrainState
from eqssl_jax.training.stored import open_run

WEIGHTS = (".safetensors", ".pth", ".pt", ".bin")  # files of weights


def started_from(config: ConfigDict, mesh: Mesh, state: TrainState) -> TrainState:
    """A state before the first step whose encoder has the weights of config.train.init_from.

    With config.train.init_parts = "encoder_and_projector" so has its projector. Running averages
    of BatchNorm come with the weights; a target network starts as a copy.

    Raises:
      FileNotFoundError: if there is no such run or checkpoint.
      ValueError: if its arrays have other shapes.
      OSError: if the checkpoint is damaged.
    """
    if not config.train.init_from:
        return state
    start = {"params": state.params["network"], "batch_stats": state.batch_stats}
    if _is_file(config):
        start = start_from(config.train.init_from, start)
    else:
        start = _of_run(config, start)
    network, stats = spread(mesh, (start["params"], start["batch_stats"]))
    # Copies, because the training step donates its state and no buffer may be given away twice.
    target = jax.tree.map(jnp.copy, {"network": network, "batch_stats": stats})
    return state._replace(
        params={**state.params, "network": network},
        batch_stats=stats,
        target=target if state.target else (),
    )


def _is_file(config: ConfigDict) -> bool:
    """Whether the source is a file of weights, not the folder of a run.

    Raises:
      ValueError: if a projector is wanted, which no such file has.
    """
    if Path(config.train.init_from).suffix not in WEIGHTS:
        return False
    if config.train.init_parts != "encoder":
        raise ValueError(
            f"config.train.init_parts is {config.train.init_parts!r}, but {config.train.init_from} "
            f"is a file of weights, which has no projector: set it to 'encoder'."
        )
    return True


def _of_run(config: ConfigDict, start: PyTree) -> PyTree:
    """The variables of a network with those of a run in their place."""
    workdir, step = _place(config.train.init_from)
    source = open_run(workdir, step).state
    names = ("encoder", "projector") if "projector" in config.train.init_parts else ("encoder",)
    network, stats = dict(start["params"]), dict(start["batch_stats"])
    for name in names:
        network[name] = _taken(config, name, source.params["network"].get(name, {}), network[name])
        if name in stats:
            stats[name] = _taken(config, name, source.batch_stats.get(name, {}), stats[name])
    return {"params": network, "batch_stats": stats}


def with_source_statistics(dataset: Dataset, config: ConfigDict) -> Dataset:
    """The data set with the mean and standard deviation that the source's encoder is used to.

    A file of weights does not hold them: the data set keeps its own.

    Raises:
      FileNotFoundError: if the source is no run, or one without data.json.
      ValueError: if it takes another number of channels.
    """
    if _is_file(config):
        if not Path(config.train.init_from).is_file():
            raise FileNotFoundError(
                f"config.train.init_from is {config.train.init_from}, and there is no such file."
            )
        return dataset
    workdir, _ = _place(config.train.init_from)
    source = read_provenance(workdir)
    if source is None:
        raise FileNotFoundError(
            f"config.train.init_from is {config.train.init_from}, and {workdir} has no {FILE}: "
            f"give the --workdir of a run that has been trained, perhaps with @best or @STEP."
        )
    if source.channels != dataset.image_shape[-1] or source.clouds != dataset.clouds:
        raise ValueError(
            f"config.train.init_from is {config.train.init_from}, whose encoder takes inputs of "
            f"shape {source.input_shape}, but those of {dataset.name} have shape "
            f"{tuple(dataset.image_shape)}: start from a run on inputs of that kind."
        )
    return dataset._replace(mean=source.mean, std=source.std)


def _place(text: str) -> tuple[Path, str]:
    """The folder and the step of "WORKDIR", "WORKDIR@best" or "WORKDIR@STEP".

    >>> _place("runs/care@best")
    (PosixPath('runs/care'), 'best')
    """
    folder, at, step = text.rpartition("@")
    if at and (step.isdigit() or step in ("best", "latest")):
        return Path(folder), step
    return Path(text), "latest"


def _taken(config: ConfigDict, name: str, source: PyTree, like: PyTree) -> PyTree:
    """The arrays of the source in the place of those of the run.

    Raises:
      ValueError: naming the arrays that do not fit.
    """
    there, here = shapes(source), shapes(like)
    differing = [key for key in sorted({*there, *here}) if there.get(key) != here.get(key)]
    if not differing:
        return source
    shown = "; ".join(
        f"{key}: {there.get(key, 'absent')} there, {here.get(key, 'absent')} here"
        for key in differing[:4]
    )
    more = f" (and {len(differing) - 4} more)" if len(differing) > 4 else ""
    raise ValueError(
        f"The {name} of config.train.init_from = {config.train.init_from} does not fit that of "
        f"this config: {shown}{more}. Use the config.model that it was trained with, or start from "
        f"another."
    )
