"""A run as its workdir has it: network and state are rebuilt without reading any data."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding
from jax.tree_util import Partial
from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.encoders import Network
from eqssl_jax.encoders.network import showing
from eqssl_jax.training import kept
from eqssl_jax.training.model import build_network
from eqssl_jax.training.optimizer import optimizer
from eqssl_jax.training.provenance import FILE, Provenance, read_provenance
from eqssl_jax.training.state import TrainState, init_state, network_key
from eqssl_jax.training.workdir import read_config


class StoredRun(NamedTuple):
    """One checkpoint of a run.

    Attributes:
      config: the resolved config of the run, locked.
      network: encoder and projector, normalising by the statistics of the training images.
      state: the state of the checkpoint, on one device.
      trained_on: names, shapes, statistics and classes of the data of training.
    """

    config: ConfigDict
    network: Network
    state: TrainState
    trained_on: Provenance

    def encoder(self) -> Partial:
        """`encode(images)` gives features and embeddings of float images in [0, 1]."""
        return Partial(self.network.encode, self.state.params["network"], self.state.batch_stats)

    def layers(self) -> Partial:
        """`layers(images)` gives the output of every layer by name."""
        return Partial(self.network.layers, self.state.params["network"], self.state.batch_stats)

    def untrained(self) -> Partial:
        """`layers` with the weights that its seed drew for the start of training."""
        key = network_key(jax.random.key(self.config.seed), methods.build(self.config))
        start = self.network.init(key, self.trained_on.input_shape)
        return Partial(self.network.layers, start["params"], start["batch_stats"])


def open_run(workdir: Path, step: int | str = "latest") -> StoredRun:
    """The network of a run with the weights of one checkpoint; the data of the run may be gone.

    Args:
      workdir: the folder of the run.
      step: "latest", "best" (on validation), or the number of a kept step.

    Raises:
      FileNotFoundError: if `workdir` is no run, has no such checkpoint, or no data.json (it is of
        an older version).
      ValueError: if config.json or data.json is damaged, or the checkpoint is of another model.
      OSError: if the checkpoint is damaged.
    """
    config = read_config(workdir)
    trained_on = read_provenance(workdir)
    if trained_on is None:
        raise FileNotFoundError(
            f"{workdir} has no {FILE}, which holds the mean and standard deviation of its training "
            f"images. If the run is of an older version and its data are as they were, write it: "
            f"python -m eqssl_jax.eval --workdir={workdir} --config.data.changed=accept"
        )
    network = build_network(config, trained_on.mean, trained_on.std)
    like = _abstract_state(config, network, trained_on)
    state = kept.read(workdir, like, step)
    return StoredRun(config, network, state, trained_on)


def _abstract_state(config: ConfigDict, network: Network, trained_on: Provenance) -> TrainState:
    """Shapes of a state of the run, computed without weights or data."""
    shape = trained_on.input_shape
    if trained_on.shown:  # draws act on what is shown, and of its image only the shape matters here
        network = showing(network, lambda examples: jnp.zeros((len(examples), *shape)))
    # Neither a schedule nor the length of the training changes a shape.
    built = methods.scheduled(methods.build(config), config, 1)
    update = optimizer(config.optimizer, lambda step: 0.0)
    state = jax.eval_shape(
        lambda: init_state(
            jax.random.key(0),
            network,
            built,
            update,
            trained_on.stored_shape if trained_on.shown else shape,
            config.train.batch_size,
            len(trained_on.classes),
        )
    )
    here = SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), state
    )
