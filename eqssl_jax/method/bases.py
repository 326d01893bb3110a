"""The base methods as objectives on two views of each image, and EquiMod beside any of them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import encoders, objectives
from eqssl_jax.method.losses import contrast_loss
from eqssl_jax.objectives.base import Metrics, Objective, Views, unit
from eqssl_jax.transforms.base import Params, Transform

# Those that compare the two contrast views; a name is a key of config.objectives.
COMPARING = ("info_nce", "alignment", "moco", "byol", "barlow_twins", "vicreg")
NAMES = (*COMPARING, "uniformity", "equimod")
TARGETED = ("moco", "byol")  # those that need the target network
DRAWS = 4096  # over which parameters are standardised


def objective(name: str, config: ConfigDict, recipe: Transform) -> Objective:
    """The objective config.objectives[name] describes.

    Raises:
      ValueError: for a setting out of its range.
    """
    settings = config.objectives[name]
    if name in ("info_nce", "alignment", "uniformity"):
        loss = getattr(objectives, name)
        geometry = config.objectives.geometry
        return contrast_loss(name, loss, settings.temperature, geometry=geometry)
    if name == "moco":
        return moco_loss(settings)
    if name == "byol":
        return byol_loss(settings)
    if name == "equimod":
        return equimod_loss(settings, recipe)
    return redundancy_loss(name, settings)


def moco_loss(settings: ConfigDict) -> Objective:
    """Queries of the online network against keys of the target network and a queue of them.

    The queue holds keys of the *target* network, as the paper has it. Batches are not shuffled
    between devices: BatchNorm's statistics are of the global batch, and a shuffle would change
    nothing. A query and its key still share the statistics of their batch, as under any SyncBN.
    """
    _positive("moco", "temperature", settings.temperature)
    if settings.queue < 1:
        raise ValueError(
            f"config.objectives.moco.queue is {settings.queue}; it must hold at least one key."
        )
    temperature = settings.temperature

    def init_memory(key: Key[Array, ""], seen: Views) -> Float[Array, "k d"]:
        return unit(jax.random.normal(key, (settings.queue, seen.embeddings.shape[-1])))

    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        queries, keys = unit(seen.embeddings), unit(_target("moco", seen))
        value = objectives.moco(queries[0], keys[-1], seen.memory, temperature=temperature)
        if settings.symmetric:
            other = objectives.moco(queries[1], keys[0], seen.memory, temperature=temperature)
            value = (value + other) / 2
        return value, {"positive_cosine": _cosine(queries[0], keys[-1])}

    def remember(memory: PyTree, seen: Views) -> PyTree:
        keys = unit(_target("moco", seen))
        fresh = keys.reshape(-1, keys.shape[-1]) if settings.symmetric else keys[-1]
        return objectives.enqueue(memory, fresh)

    return Objective("contrast", loss, init_memory=init_memory, remember=remember)


def byol_loss(settings: ConfigDict) -> Objective:
    """A head predicts the target network's embedding of the other view, both ways."""
    hidden = tuple(settings.hidden)

    def predictor(dimension: int) -> encoders.Head:
        return encoders.mlp((*hidden, dimension))

    def init(key: Key[Array, ""], seen: Views) -> PyTree:
        dimension = seen.embeddings.shape[-1]
        return predictor(dimension).init(key, dimension)

    def loss(head: PyTree, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        predict = predictor(seen.embeddings.shape[-1]).apply
        predicted, target = unit(predict(head, seen.embeddings)), unit(_target("byol", seen))
        cosine = objectives.negative_cosine(predicted[0], target[1])
        cosine += objectives.negative_cosine(predicted[1], target[0])
        # ‖p − z‖² of unit vectors, summed over the two ways as in the paper.
        return 4 + 2 * cosine, {"positive_cosine": -cosine / 2}

    return Objective("contrast", loss, init)


def redundancy_loss(name: str, settings: ConfigDict) -> Objective:
    """Barlow Twins or VICReg."""
    options = {key: value for key, value in settings.items() if key != "weight"}
    for key, value in options.items():
        if not value >= 0:
            raise ValueError(f"config.objectives.{name}.{key} is {value}; it must not be negative.")

    def loss(head: object, seen: Views) -> tuple[Float[Array, ""], Metrics]:
        del head
        z1, z2 = seen.embeddings
        value = getattr(objectives, name)(z1, z2, **options)
        return value, {"positive_cosine": _cosine(unit(z1), unit(z2))}

    return Objective("contrast", loss)


def equimod_loss(settings: ConfigDict, recipe: Transform) -> Objective:
    """EquiMod: from an image's own embedding and the parameters of a view, predict the view's.

    With y a projection of the features by a head of its own, y_0 of the original image, y_t of
    view t and p_t the parameters of its draw, standardised over many draws,

        ŷ_t = BN(W [y_0; V p_t]),   L = InfoNCE of all (ŷ_t, y_t), t = 1, 2, in one batch.

    So the other view of the same image is among the negatives: a y that forgets the view would
    have to tell apart what is the same, and this is what keeps y from becoming invariant.

    Source: Devillers and Lefort 2023, arXiv:2211.01244. p comes straight from the draw: all its
    numbers, phases of cyclic ones as (cos, sin); where the authors add flags of what was applied,
    the draw says so by itself.
    """
    _positive("equimod", "temperature", settings.temperature)
    if not tuple(settings.projector):
        raise ValueError("config.objectives.equimod.projector is empty; it needs a width.")
    mean, std = _parameter_moments(recipe.sample)
    dimension = settings.projector[-1]
    project = encoders.mlp(tuple(settings.projector), last_batch_norm=True)
    embed = encoders.mlp((settings.parameters,))
    predict = encoders.mlp((dimension,), last_batch_norm=True)

    def init(key: Key[Array, ""], seen: Views, original: Views) -> PyTree:
        del original
        keys = jax.random.split(key, 3)
        return {
            "project": project.init(keys[0], seen.features.shape[-1]),
            "embed": embed.init(keys[1], mean.shape[0]),
            "predict": predict.init(keys[2], dimension + settings.parameters),
        }

    def loss(head: PyTree, seen: Views, original: Views) -> tuple[Float[Array, ""], Metrics]:
        y = project.apply(head["project"], seen.features)  # [2, N, D]
        still = project.apply(head["project"], original.features)  # [1, N, D]
        shape = (1,) * (y.ndim - 1) + mean.shape
        p = objectives.parameter_vector(seen.params)
        p = (p - mean.reshape(shape)) / std.reshape(shape)
        asked = jnp.concatenate(
            [jnp.broadcast_to(still, y.shape), embed.apply(head["embed"], p)], axis=-1
        )
        predicted, true = unit(predict.apply(head["predict"], asked)), unit(y)
        rows = (-1, y.shape[-1])  # both views in one batch, [2N, D]
        value = objectives.info_nce(
            predicted.reshape(rows), true.reshape(rows), temperature=settings.temperature
        )
        # What predicting gains over taking the original for the view.
        gain = jnp.mean(jnp.sum((predicted - unit(still)) * true, axis=-1))
        return value, {"equimod_gain": gain}

    return Objective(("contrast", "original"), loss, init)


@functools.cache
def _parameter_moments(
    sample: Callable[[Key[Array, ""]], Params],
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Mean and standard deviation of the parameters of many draws (1 where nothing varies)."""
    keys = jax.random.split(jax.random.key(0), (1, DRAWS))
    drawn = jax.jit(jax.vmap(jax.vmap(sample)))(keys)
    vectors = objectives.parameter_vector(drawn)[0]  # [draws, K]
    std = vectors.std(axis=0)
    return vectors.mean(axis=0), jnp.where(std > 1e-6, std, 1.0)


def _target(name: str, seen: Views) -> Float[Array, "v n d"]:
    if seen.target is None:
        raise ValueError(f"The objective {name} needs a target network, and the method has none.")
    return seen.target


def _cosine(a: Float[Array, "n d"], b: Float[Array, "n d"]) -> Float[Array, ""]:
    return jnp.mean(jnp.sum(a * b, axis=1))


def _positive(name: str, key: str, value: Any) -> None:
    if not value > 0:
        raise ValueError(f"config.objectives.{name}.{key} is {value}; it must be positive.")
