"""The linear probe of CARE's authors: trained on augmented images, encoded anew every epoch."""

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures.cards import Card, Measured
from eqssl_jax.measures.classes.linear_probe import (
    Linear,
    Probe,
    accuracies,
    cross_entropy,
    probed,
    summary,
)
from eqssl_jax.measures.features import Encode, Layers, extract, sampled
from eqssl_jax.measures.promotion import lenient
from eqssl_jax.measures.subjects import Seen
from eqssl_jax.settings import choice, number, text, whole
from eqssl_jax.transforms.base import Transform

_DROPS = (1 / 2, 2 / 3, 5 / 6)  # of all epochs: 30, 40 and 50 of 60
_FACTOR = 0.1
_MOMENTUM = 0.9


def care_probe(
    encode: Encode | Layers,
    dataset: Dataset,
    transform: Transform,
    *,
    optimizer: str = "adam",
    epochs: int = 100,
    batch: int = 512,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-6,
    seeds: Sequence[int] = (0, 1, 2),
    limit: int | None = None,
    test_limit: int | None = None,
    augmented: Split | None = None,
) -> Probe:
    """Linear probe on augmented images: last step, no selection.

    Every epoch draws one augmentation for each training image and encodes it (features before the
    projector, as they come). The encoding is shared by all seeds, which therefore differ in the
    initialisation of the classifier alone. Tested on images as they are.

    Differs from the authors' code, knowingly: BatchNorm is frozen (theirs stays in training mode
    while the probe trains, so its statistics drift), and the validation split is left out of the
    training images because other numbers are chosen on it.

    Args:
      encode: frozen encoder.
      dataset: with labelled "train" and "test" splits.
      transform: the augmentation of the training images.
      optimizer: "adam" at a constant rate (CIFAR and STL-10; the other values are for it), or "sgd"
        with momentum 0.9, its rate times 0.1 after 1/2, 2/3 and 5/6 of the epochs (ImageNet-100:
        60 epochs, batches of 128, rate 30, no decay). Both with L2 in the gradient.
      epochs, batch, learning_rate, weight_decay: the authors' values; a last incomplete batch of an
        epoch is left out.
      seeds: of the classifiers' initialisation.
      limit, test_limit: fixed random subsets of the splits (None: all).
      augmented: the same training images as they are stored, where those of `dataset` are already
        cut to the size of the encoder: `transform` crops from the whole of them.

    Raises:
      ValueError: for an unknown optimizer, a split that is missing or unlabeled, no seeds,
        epochs < 1, or fewer training images than one batch.

    Source: Gupta et al. 2024 (arXiv:2306.13924) and their code; SGD as He et al. 2020
    (arXiv:1911.05722).
    """
    if optimizer not in _OPTIMIZERS:
        raise ValueError(
            f"care_probe() knows the optimizers {', '.join(_OPTIMIZERS)}, found {optimizer!r}."
        )
    train, test = (_labelled(dataset, name) for name in ("train", "test"))
    train = augmented or train
    count = min(train.size, limit or train.size)
    if not len(seeds) or epochs < 1 or count < batch:
        raise ValueError(
            f"care_probe() needs seeds, epochs ≥ 1 and at least one full batch, found seeds="
            f"{tuple(seeds)}, epochs={epochs} and {count} images for batches of {batch}."
        )
    tested = extract(encode, test, batch=batch, limit=test_limit)
    models = _start(seeds, tested.features.shape[1], len(dataset.classes))
    rule, decay = _OPTIMIZERS[optimizer], jnp.float32(weight_decay)
    memory = jax.vmap(rule.init)(models)
    for epoch in range(epochs):
        x, y = _epoch(encode, train, transform, epoch, batch=batch, limit=limit)
        rate = jnp.float32(learning_rate * (_dropped(epoch, epochs) if optimizer == "sgd" else 1))
        models, memory = _train(models, memory, x, y, rate, decay, rule=rule)
    host = jax.device_get(models)
    return summary(
        [Linear(w, b) for w, b in zip(host.weight, host.bias, strict=True)],
        [(tested.features, test.labels[tested.indices])],  # type: ignore[index]
        regularisation=weight_decay,
        validation={},
    )


def _dropped(epoch: int, epochs: int) -> float:
    return _FACTOR ** sum(epoch >= round(drop * epochs) for drop in _DROPS)


_OPTIMIZERS: Mapping[str, optax.GradientTransformation] = {
    "adam": optax.scale_by_adam(),
    "sgd": optax.trace(decay=_MOMENTUM),
}


def _labelled(dataset: Dataset, name: str) -> Split:
    split = dataset.splits.get(name)
    if split is None or split.labels is None or not dataset.classes:
        raise ValueError(
            f"A probe needs a labelled {name!r} split; {dataset.name} has "
            f"{[k for k, s in dataset.splits.items() if s.labels is not None]} with labels."
        )
    return split


def _start(seeds: Sequence[int], width: int, classes: int) -> Linear:
    """PyTorch's initial linear layer, U(±1/√H) for weights and bias, one for each seed."""
    bound = 1 / np.sqrt(width)
    drawn = [np.random.default_rng(s).uniform(-bound, bound, (width + 1, classes)) for s in seeds]
    layers = jnp.asarray(np.stack(drawn), jnp.float32)
    return Linear(layers[:, :width], layers[:, width])


def _epoch(
    encode: Encode | Layers,
    train: Split,
    transform: Transform,
    epoch: int,
    *,
    batch: int,
    limit: int | None,
) -> tuple[Float[Array, "t b h"], Int[Array, "t b"]]:
    """Features of freshly augmented images, in a fresh order, cut into batches."""
    rng = np.random.default_rng([epoch, 0])
    images = np.arange(train.size)
    if limit is not None and limit < train.size:
        images = np.random.default_rng(0).permutation(train.size)[:limit]
    order = rng.permutation(images)
    order = order[: len(order) // batch * batch]
    keys = jax.random.split(jax.random.fold_in(jax.random.key(0), epoch), len(order))
    draws = jax.device_get(sampled(keys, sample=transform.sample))
    encoded = extract(encode, train, batch=batch, indices=order, transform=transform, params=draws)
    labels = np.asarray(train.labels)[order].astype(np.int32)
    x = jnp.asarray(encoded.features).reshape(-1, batch, encoded.features.shape[1])
    return x, jnp.asarray(labels).reshape(-1, batch)


@partial(jax.jit, donate_argnums=(0, 1), static_argnames="rule")
def _train(
    models: Linear,
    memory: PyTree,
    x: Array,
    y: Array,
    rate: Array,
    decay: Array,
    *,
    rule: optax.GradientTransformation,
) -> tuple[Linear, PyTree]:
    """One epoch of every classifier (leaves [S, …]) on the same batches [T, B, H]."""

    def advance(state: PyTree, inputs: PyTree) -> tuple[PyTree, None]:
        rows, labels = inputs

        def update(model: Linear, memory: PyTree) -> tuple[Linear, PyTree]:
            gradient = jax.grad(cross_entropy)(model, rows, labels)
            # L2 in the gradient, of the bias too, as PyTorch's weight_decay=… does.
            gradient = jax.tree.map(lambda g, p: g + decay * p, gradient, model)
            with lenient():
                updates, memory = rule.update(gradient, memory)
            return jax.tree.map(lambda p, u: p - rate * u, model, updates), memory

        return jax.vmap(update)(*state), None

    return jax.lax.scan(advance, (models, memory), (x, y))[0]


def _measure(seen: Seen) -> Measured:
    budget = seen.settings
    if not budget.care_epochs:
        raise ValueError("left out: care_epochs is 0")
    probe = care_probe(
        seen.subject.encode,
        seen.dataset,
        seen.conditions.probe_transform,
        optimizer=budget.care_optimizer,
        epochs=budget.care_epochs,
        batch=budget.care_batch,
        learning_rate=budget.care_rate,
        weight_decay=budget.care_decay,
        seeds=budget.seeds,
        limit=budget.train_images,
        test_limit=budget.test_images,
        augmented=seen.conditions.probe_split,
    )
    return probed(probe, "care_probe")


CARD = Card(
    name="care_probe",
    measure=_measure,
    outputs=accuracies("care_probe", "Linear probe as in CARE"),
    needs=("labels to test",),
    settings={
        "care_optimizer": choice("adam", "of CARE's probe", ("adam", "sgd")),
        "care_epochs": whole(100, "of CARE's probe; 0 leaves it out", high=10_000),
        "care_batch": whole(512, "of CARE's probe", low=1, high=1_000_000),
        "care_rate": number(1e-3, "learning rate of CARE's probe", above=0),
        "care_decay": number(1e-6, "weight decay of CARE's probe", low=0),
        "care_recipe": text("", "that augments its images; empty: that of the views"),
    },
    quick={"care_epochs": 0},
    rank=30,
    source="Gupta et al. 2024, arXiv:2306.13924",
)
