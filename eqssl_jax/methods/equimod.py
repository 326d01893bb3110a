"""EquiMod: from an image's own embedding and the parameters of a view, predict the view's."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
from ml_collections import ConfigDict

from eqssl_jax import encoders, objectives, views
from eqssl_jax.methods.card import DRAWS, WIDEST, Addition, Card, Context, temperature, widths
from eqssl_jax.methods.row import Row
from eqssl_jax.objectives.base import Metrics, Objective, Views, unit
from eqssl_jax.objectives.equivariant import equimod
from eqssl_jax.objectives.equivariant.layers import Layer, first_weight
from eqssl_jax.settings import whole
from eqssl_jax.transforms.base import Params, Transform
from eqssl_jax.views import ViewSpec

SAMPLES = 4096  # draws over which parameters are standardised


def equimod_loss(values: ConfigDict, recipe: Transform) -> Objective:
    """EquiMod: from an image's own embedding and the parameters of a view, predict the view's.

    With y a projection of the features by a head of its own, y_0 of the original image, y_t of
    view t and p_t the parameters of its draw, standardised over many draws,

        ŷ_t = BN(W [y_0; BN(V p_t)]),   L = InfoNCE of all (ŷ_t, y_t), t = 1, 2, in one batch.

    So the other view of the same image is among the negatives: a y that forgets the view would
    have to tell apart what is the same, and this is what keeps y from becoming invariant.

    Source: Devillers and Lefort 2023, arXiv:2211.01244, whose formulas are those of
    `objectives.equivariant.equimod`. p comes straight from the draw: all its numbers, phases of
    cyclic ones as (cos, sin), rotations as quaternions; where the authors add flags of what was
    applied and the order of the jitter's steps (15 numbers on CIFAR-10, 17 on ImageNet, 18 with
    BYOL), the draw says so by itself. BN of y is over the image and both views, as theirs.

    Further departures. Where `config.model.joint_views` is True, as presets set it, BN of the
    encoder is over the image and both views, too, as theirs; but so is that of the network's
    projector, where the authors' projector of z sees the two views alone. p is standardised by the
    moments of 4096 draws, where their code has constants for each data set (those of BYOL on
    ImageNet have the deviation of a jitter of ±.8, and it jitters by ±.4). The image itself is the
    recipe's identity, which on CIFAR-10 is theirs; on ImageNet they resize to 256 and crop the
    central 224. Of several devices they gather rows without a gradient and multiply the loss by the
    number of processes; here the gradient is that of the whole batch. They train by LARS; here
    `config.optimizer` says by what. τ of their base method is .5 on CIFAR-10, .2 on ImageNet.
    """
    mean, std = _parameter_moments(recipe.sample)
    dimension = values.projector[-1]
    project = encoders.mlp(tuple(values.projector), last_batch_norm=True)

    def init(key: Key[Array, ""], seen: Views, original: Views) -> PyTree:
        del original
        keys = jax.random.split(key, 3)
        return {
            "project": project.init(keys[0], seen.features.shape[-1]),
            "embed": {
                "weight": first_weight(keys[1], values.parameters, mean.shape[0]),
                "scale": jnp.ones(values.parameters),
                "shift": jnp.zeros(values.parameters),
            },
            "predict": first_weight(keys[2], dimension, dimension + values.parameters),
        }

    def predicted_views(
        head: PyTree, seen: Views, original: Views
    ) -> tuple[Float[Array, "v n d"], Float[Array, "v n d"], Float[Array, "1 n d"]]:
        """y of the views, ŷ, and y_0 of the images themselves, all of length 1."""
        features = jnp.concatenate([original.features, seen.features])  # [3, N, H]
        # Image by image, so that a batch cut over devices stays so; one batch for BatchNorm.
        rows = jnp.swapaxes(features, 0, 1).reshape(-1, features.shape[-1])
        projected = project.apply(head["project"], rows).reshape(*features.shape[1::-1], dimension)
        y_0, y = jnp.split(jnp.swapaxes(projected, 0, 1), [1])
        p = objectives.parameter_vector(seen.params)
        p = equimod.standardised(p.reshape(-1, p.shape[-1]), mean, std)  # [2N, K]
        embed, predict = Layer(**head["embed"]), head["predict"]
        predicted = equimod.predictions(y_0[0], p, embed=embed, predict=predict)
        return unit(y), unit(predicted.reshape(y.shape)), unit(y_0)

    def loss(head: PyTree, seen: Views, original: Views) -> tuple[Float[Array, ""], Metrics]:
        true, predicted, still = predicted_views(head, seen, original)
        rows = predicted.reshape(-1, predicted.shape[-1])  # both views in one batch, [2N, D]
        value = equimod.equivariance(true[0], true[1], rows, temperature=values.temperature)
        # What predicting gains over taking the original for the view.
        gain = jnp.mean(jnp.sum((predicted - still) * true, axis=-1))
        return value, {"equimod_gain": gain}

    return Objective(("contrast", "original"), loss, init, predict=predicted_views)


@functools.cache
def _parameter_moments(
    sample: Callable[[Key[Array, ""]], Params],
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Mean and standard deviation of the parameters of many draws (1 where nothing varies)."""

    @jax.jit
    def moments(keys: Key[Array, "1 s"]) -> tuple[Array, Array]:
        vectors = objectives.parameter_vector(jax.vmap(jax.vmap(sample))(keys))[0]  # [draws, K]
        std = vectors.std(axis=0)
        return vectors.mean(axis=0), jnp.where(std > 1e-6, std, 1.0)

    return moments(jax.random.split(jax.random.key(0), (1, SAMPLES)))


def build(values: ConfigDict, context: Context) -> Addition:
    """Beside a base method: the contrast views, and the image itself."""
    original = ViewSpec(context.recipe, views.fixed(1))
    sets = {"contrast": context.contrast, "original": original}
    loss = equimod_loss(values, context.recipe)
    return Addition(sets, {context.key: (values.weight, loss)})


CARD = Card(
    name="equimod",
    title="EquiMod",
    source="Devillers and Lefort 2023, arXiv:2211.01244",
    settings={
        "temperature": temperature(0.2),
        "projector": widths((2048, 2048, 128), "of the layers of its own projector", least=1),
        "parameters": whole(128, "width that a draw's parameters get", low=1, high=WIDEST),
    },
    build=build,
    needs=(DRAWS,),
    compares=False,
    published="EquiMod-SimCLR",
    benchmark=Row(
        small={"projector": (256, 64), "parameters": 32},
        config={"model.joint_views": True},  # the image and its views in one forward, as theirs
        cost={"": 3 / 2},
    ),
)
