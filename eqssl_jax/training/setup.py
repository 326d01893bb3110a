"""From a config to everything a run needs, with every check that can be made before compiling."""

import functools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Array
from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.config import checked
from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.data.pipeline import labelled
from eqssl_jax.data.views_of_objects import objects_of
from eqssl_jax.encoders import Network, showing
from eqssl_jax.methods import Method
from eqssl_jax.training import initial
from eqssl_jax.training.checks import (
    check_batch,
    check_budget,
    check_crops,
    check_inputs,
    check_labels,
    check_measurements,
)
from eqssl_jax.training.datasets import (
    at_view_size,
    load_dataset,
    measured_recipe,
    with_absolute_paths,
)
from eqssl_jax.training.mesh import local, make_mesh, spread
from eqssl_jax.training.model import build_network, with_dtype
from eqssl_jax.training.monitor import epochs_between, watched
from eqssl_jax.training.notes import notes
from eqssl_jax.training.optimizer import learning_rate, optimizer
from eqssl_jax.training.provenance import Provenance, provenance, read_provenance, with_statistics
from eqssl_jax.training.state import TrainState, init_state
from eqssl_jax.training.workdir import has_trained, read_config
from eqssl_jax.transforms import Transform


class Setup(NamedTuple):
    """The parts of a run, built but not started. Intervals are in steps.

    `stored` is the data as they are read, and `split` what is trained on of them; the splits of
    `dataset` are for evaluation, and their images have been through the identity of the recipe:
    they come at the size of the views. The mean and standard deviation of `dataset` are those of
    the model, see `provenance`.
    """

    config: ConfigDict
    stored: Dataset
    dataset: Dataset
    split: Split
    network: Network
    method: Method
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    recipe: Transform  # of the equivariance views: whose effect on embeddings is measured
    mesh: Mesh
    steps: int
    steps_per_epoch: int
    steps_per_dispatch: int
    log_every: int
    knn_every: int
    save_every: int
    notes: tuple[str, ...] = ()  # what the settings have come to, said at the start

    def init(self, seed: int | None = None) -> TrainState:
        """The state before the first step, the same on every device; by default of config.seed."""
        state = init_state(
            jax.random.key(self.config.seed if seed is None else seed),
            self.network,
            self.method,
            self.optimizer,
            self.dataset.image_shape,
            self.config.train.batch_size,
            len(self.dataset.classes),
        )
        return spread(self.mesh, state)

    def encoder(self, state: TrainState) -> Partial:
        """The frozen encoder of a state; its weights are arguments of whatever compiles it."""
        return Partial(self.network.encode, *local((state.params["network"], state.batch_stats)))

    def classifier(self, state: TrainState) -> Callable[[Array], Array] | None:
        """Class scores of features, of a run that learns from labels; None for others."""
        for name, (_, objective) in self.method.objectives.items():
            if objective.classify is not None:
                return functools.partial(objective.classify, local(state.params["heads"][name]))
        return None

    def layers(self, state: TrainState) -> Partial:
        """What every layer of a state says, for measurements layer by layer."""
        return Partial(self.network.layers, *local((state.params["network"], state.batch_stats)))

    def provenance(self) -> Provenance:
        """What this run trains on, as its workdir keeps it."""
        return provenance(self.dataset, self.stored.image_shape)

    def dimension(self) -> int:
        """Width of the embeddings, D."""
        images = jax.ShapeDtypeStruct((1, *self.dataset.image_shape), "float32")
        state = jax.eval_shape(self.init)
        network = state.params["network"], state.batch_stats
        return jax.eval_shape(self.network.encode, *network, images)[1].shape[1]

    def inputs_shape(self) -> jax.ShapeDtypeStruct:
        """Shape of what one step reads: indices, or streamed uint8 images."""
        batch = self.config.train.batch_size
        if self.split.load is None:
            return jax.ShapeDtypeStruct((batch,), "int32")
        example = self.split.load(np.zeros(1, np.int32))
        return jax.ShapeDtypeStruct((batch, *example.shape[1:]), example.dtype)


def setup(
    config: ConfigDict,
    *,
    training: bool = True,
    dataset: Dataset | None = None,
    workdir: Path | None = None,
    roles: Collection[str] = (),
) -> Setup:
    """Load the data and build network, method and optimiser.

    Args:
      config: see `config.base`; its objectives become those in use (`methods.resolved`).
      training: False leaves out what only training needs to hold on this machine: a batch that its
        devices can share.
      dataset: stands in for the data of the config, to plan without it.
      workdir: of the run. If it was trained before, its network normalises by the statistics of
        the images that it was trained on, not by those of the data as they are now.
      roles: whose objectives are kept although no part has them, for advice.

    Raises:
      ValueError: for any value that cannot work, naming its key, what was found and the fix.
      FileNotFoundError: if the data is not there.
    """
    config = settled(config, roles=roles, workdir=workdir)
    mesh = make_mesh()
    built = methods.build(config)
    check_batch(config, built, mesh.size if training else 1)
    check_measurements(config)
    goes_on = workdir is not None and has_trained(workdir)
    source = initial.source_statistics(config) if training and not goes_on else None
    stored = _checked_data(config, dataset or load_dataset(config), built)
    recipe = measured_recipe(config)
    dataset = at_view_size(stored, config)
    if workdir is not None and goes_on:
        dataset = with_statistics(dataset, read_provenance(workdir))
    else:
        dataset = initial.with_source_statistics(dataset, config, source)
    split = _trained_on(config, stored, built)
    steps_per_epoch, steps = _budget(config, stored, split.size)
    if built.labelled:
        split = labelled(split, len(stored.classes))
    split = split._replace(pool=spread(mesh, split.pool))
    built = methods.scheduled(built, config, steps)
    network = build_network(config, dataset.mean, dataset.std)
    if training and not goes_on:
        initial.check_weights(config, network, dataset.image_shape)
    if dataset.show is not None:
        network = showing(network, dataset.show)
    schedule = learning_rate(config.optimizer, steps_per_epoch, steps)
    monitors = watched(config, dataset, recipe)
    left_out = monitors.left_out if monitors else {}
    apart = epochs_between(monitors, built, config, steps_per_epoch)
    train, resident, cpu = config.train, split.load is None, mesh.devices.flat[0].platform == "cpu"
    return Setup(
        config=config,
        stored=stored,
        dataset=dataset,
        split=split,
        network=network,
        method=built,
        schedule=schedule,
        optimizer=optimizer(config.optimizer, schedule),
        recipe=recipe,
        mesh=mesh,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        # Streamed batches are images, not indices: one at a time. So are the steps of a CPU, where
        # a call costs next to nothing and a run that is asked to stop has to finish it.
        steps_per_dispatch=train.steps_per_dispatch if resident and not cpu else 1,
        log_every=train.log_every,
        knn_every=train.knn_every or apart * steps_per_epoch,
        save_every=train.save_every or apart * steps_per_epoch,
        notes=notes(config, built, dataset, steps_per_epoch, steps, apart, left_out),
    )


def _checked_data(config: ConfigDict, dataset: Dataset, built: Method) -> Dataset:
    """The data set, if the encoder, the recipes and the split of the config are for such data."""
    check_inputs(config, dataset)
    check_crops(dataset, {key: spec.transform for key, spec in built.views.items()})
    if config.data.split not in dataset.splits:
        raise ValueError(
            f"config.data.split is {config.data.split!r}, but {dataset.name} has only "
            f"{sorted(dataset.splits)}."
        )
    if built.labelled:
        check_labels(config, dataset)
    return dataset


def _trained_on(config: ConfigDict, dataset: Dataset, built: Method) -> Split:
    """The split that the config names; of views that are stored, the objects that they are of."""
    if config.recipe.name != methods.STORED_VIEWS:
        return dataset.splits[config.data.split]
    parts = tuple(methods.build_recipe(config.recipe.name, config.recipe.options).identity)
    places, relative = methods.places(built, config.train.batch_size)
    return objects_of(dataset, config.data.split, parts, places, relative=relative)


def _budget(config: ConfigDict, dataset: Dataset, size: int) -> tuple[int, int]:
    """Steps of an epoch of so many images or objects, and of the whole training."""
    train = config.train
    steps_per_epoch = size // train.batch_size
    if not steps_per_epoch:
        raise ValueError(
            f"config.train.batch_size is {train.batch_size}, but the {config.data.split} split of "
            f"{dataset.name} holds {size} examples (after {config.data.validation:.0%} went to "
            f"validation): use a batch of at most {size}."
        )
    steps = train.steps or round(train.epochs * steps_per_epoch)
    check_budget(config, steps)
    return steps_per_epoch, steps


def settled(
    config: ConfigDict, *, roles: Collection[str] = (), workdir: Path | None = None
) -> ConfigDict:
    """The config as a run keeps it: checked, its objectives those in use, its places absolute, and
    its encoder that of `init_from` where it is to be taken from there; its dtype that of the run in
    `workdir`, or that of this machine.

    Raises:
      ValueError, FileNotFoundError: as `checked`, `methods.resolved` and `with_source_encoder`.
    """
    config = with_absolute_paths(methods.resolved(checked(config), roles=roles))
    told = workdir is not None and has_trained(workdir) and (workdir / "config.json").exists()
    stored = read_config(workdir) if workdir is not None and told else None
    return with_dtype(initial.with_source_encoder(config, workdir), stored)
