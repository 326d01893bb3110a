"""Encoder and projector as a pair of pure functions: all the rest of the library sees of flax."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from eqssl_jax.compiled import once
from eqssl_jax.encoders import outside, resnet, vit
from eqssl_jax.encoders.conv import Conv, implementation, patches
from eqssl_jax.encoders.heads import MLP, check_widths
from eqssl_jax.encoders.inputs import channels, check_kind
from eqssl_jax.encoders.norm import BatchNorm
from eqssl_jax.encoders.outside import sown, sown_map
from eqssl_jax.encoders.remat import with_remat
from eqssl_jax.encoders.small import ConvNet, DeepSet
from eqssl_jax.encoders.vit import DEFAULT, ViTSettings
from eqssl_jax.names import is_outside, resolve

# Each is called with stem, conv and norm and gives a module that is called with (x, views, train).
ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "conv_tiny": partial(ConvNet, (16, 32, 64, 128)),
    "resnet_tiny": resnet.resnet_tiny,
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "deepset": partial(DeepSet, (64, 128), (128, 128)),
}
NAMES: dict[str, Any] = ENCODERS | dict.fromkeys(vit.SIZES)
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Network(NamedTuple):
    """Images to features and embeddings.

    Attributes:
      init: `init(key, (H, W, C))`, for clouds `init(key, (P, 4))`, gives
        {"params": {"encoder", "projector"}, "batch_stats": …}.
      apply: `apply(params, batch_stats, images, *, views=1, train, key=None, layer="")` gives
        ((features [M, F], embeddings [M, D]), batch_stats). Images are [M, H, W, C] in [0, 1], the
        outputs float32, embeddings not normalised. M = N·V for N images in `views` = V views with
        index n·V + v; in training each view has its own BatchNorm statistics. `batch_stats` comes
        back moved if `train`, as it was if not. `key` is for encoders that draw in training
        (stochastic depth, dropout); without it they draw nothing. `layer` names one of `layers`
        that the encoder sows: in training, its map [M, positions …, H] is a third output.
      inner: `inner(params, batch_stats, images)` is what `layers` gives; None where only features
        and embeddings are known.
      stochastic: whether `apply` takes a key.
      local: whether `apply` treats each image by itself, but for BatchNorm of this package, so that
        devices may each encode a part of the batch under `jax.shard_map`.
    """

    init: Callable[[Key[Array, ""], tuple[int, ...]], PyTree]
    apply: Callable[..., tuple[tuple[Float[Array, "m f"], Float[Array, "m d"]], PyTree]]
    inner: Callable[..., dict[str, Float[Array, "m h"]]] | None = None
    stochastic: bool = False
    local: bool = False

    def encode(
        self, params: PyTree, batch_stats: PyTree, images: Float[Array, "m h w c"]
    ) -> tuple[Float[Array, "m f"], Float[Array, "m d"]]:
        """Features and embeddings by the frozen network.

        Raises:
          ValueError: for what is no array of floats, and another number of channels than its mean.
        """
        check_kind(images)
        return self.apply(params, batch_stats, images, train=False)[0]

    def layers(
        self, params: PyTree, batch_stats: PyTree, images: Float[Array, "m h w c"]
    ) -> dict[str, Float[Array, "m h"]]:
        """The output of every layer of the frozen network, from the first to the last.

        "stem", "layer1", "layer2", … (stages of a ResNet, blocks of a vision transformer, as means
        over positions), "features", "projector1", … (hidden layers, after ReLU) and "embedding";
        float32. Without a projector the embedding is the features again.
        """
        check_kind(images)
        if self.inner is not None:
            return self.inner(params, batch_stats, images)
        features, embeddings = self.encode(params, batch_stats, images)
        return OrderedDict(features=features, embedding=embeddings)


class _EncoderProjector(nn.Module):
    encoder: nn.Module
    projector: MLP
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(
        self, images: Float[Array, "m h w c"], *, views: int = 1, train: bool
    ) -> tuple[Float[Array, "m f"], Float[Array, "m d"]]:
        if images.shape[-1] != len(self.mean):  # one channel would be broadcast in silence
            raise ValueError(
                f"The network normalises {len(self.mean)} channels (mean {self.mean}), but its "
                f"inputs have shape {tuple(images.shape)}."
            )
        shape = (1,) * (images.ndim - 1) + (len(self.mean),)
        mean = jnp.asarray(self.mean, jnp.float32).reshape(shape)
        std = jnp.asarray(self.std, jnp.float32).reshape(shape)
        features = self.encoder((images - mean) / std, views=views, train=train)
        return features, self.projector(features, views=views, train=train)


def build(
    *,
    encoder: str,
    stem: str = "cifar",
    projector: Sequence[int] = (512, 128),
    projector_batch_norm: bool = True,
    projector_last_batch_norm: bool = False,
    mean: Sequence[float],
    std: Sequence[float],
    compute_dtype: str = "float32",
    conv: str = "auto",
    remat: str = "none",
    vit: ViTSettings = DEFAULT,
) -> Network:
    """A network: normalisation (x − mean) / std, encoder, projector.

    Args:
      encoder: conv_tiny, resnet_tiny, resnet18, resnet34, resnet50, vit_tiny, vit_small or vit_base
        for images, deepset for point clouds [P, 4]; or `module:attribute`, see `outside`.
      stem: cifar (3×3, stride 1) or imagenet (7×7, stride 2, max-pool); of ResNets alone.
      projector: widths of its layers, the last is the embedding's; () for none.
      projector_batch_norm: BatchNorm after every hidden layer of the projector.
      projector_last_batch_norm: a BatchNorm without scale and shift after its last layer.
      mean, std: of each channel, for values in [0, 1].
      compute_dtype: float32 or bfloat16; parameters, BatchNorm statistics and outputs stay float32.
      conv: how convolutions are computed: auto, xla or patches (see `encoders.conv`).
      remat: blocks: the backward pass computes the inside of each block of the encoder again,
        instead of keeping it; none.
      vit: settings of vision transformers.

    Raises:
      ValueError: for a name that is none of the above, or a mean and std that do not fit.
    """
    _choose("stem", stem, resnet.STEMS)
    _choose("compute_dtype", compute_dtype, DTYPES)
    _choose("remat", remat, ("none", "blocks"))
    dtype = DTYPES[compute_dtype]
    make = partial(Conv, dtype=dtype, convolve=implementation(conv))
    module = _encoder(encoder, stem=stem, conv=make, norm=BatchNorm, dtype=dtype, settings=vit)
    if conv == "auto" and dtype == jnp.float32 and hasattr(module, "images_last"):
        module = module.clone(images_last=implementation(conv) is patches)
    return assemble(
        with_remat(module, encoder) if remat == "blocks" else module,
        MLP(
            check_widths("projector", projector),
            batch_norm=projector_batch_norm,
            last_batch_norm=projector_last_batch_norm,
            dtype=dtype,
        ),
        mean=mean,
        std=std,
    )


@functools.lru_cache(maxsize=8)  # equal networks are the same functions
def showing(network: Network, show: Callable[[Array], Float[Array, "m h w c"]]) -> Network:
    """The network of examples that are no images, [M, S]: it has them rendered and looks at that.

    Images are taken as they are, so that a network trained on scenes encodes pictures too.
    """

    def images(examples: Array) -> Array:
        return examples if examples.ndim > 2 else jax.lax.stop_gradient(show(examples))

    def init(key: Key[Array, ""], shape: tuple[int, ...]) -> PyTree:
        example = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        return network.init(key, jax.eval_shape(images, example).shape[1:])

    def apply(params: PyTree, stats: PyTree, examples: Array, **options: Any) -> Any:
        return network.apply(params, stats, images(examples), **options)

    def inner(params: PyTree, stats: PyTree, examples: Array) -> Any:
        return network.layers(params, stats, images(examples))

    return Network(init, apply, inner, network.stochastic, network.local)


def _encoder(
    name: str, *, stem: str, conv: Any, norm: Any, dtype: Any, settings: ViTSettings
) -> nn.Module:
    value = resolve(name, "encoder", NAMES, setting="config.model.encoder")
    if is_outside(name):
        return outside.wrap(value, name)
    if name in vit.SIZES:
        return vit.build(name, settings, dtype)
    return value(stem=stem, conv=conv, norm=norm)


def assemble(
    encoder: nn.Module, projector: MLP | None = None, *, mean: Sequence[float], std: Sequence[float]
) -> Network:
    """A network of flax modules: normalisation (x − mean) / std, encoder, projector (None: none).

    Raises:
      ValueError: for a mean and std that do not fit.
    """
    mean, std = channels(mean, std)
    return _pure(_EncoderProjector(encoder, projector or MLP(()), mean, std))


def _pure(module: _EncoderProjector) -> Network:
    foreign = isinstance(module.encoder, outside.Outside)

    # In one program the forward pass that flax runs for the shapes is left out, unless its outputs
    # are looked at.
    def start(key: Key[Array, ""], images: Array) -> tuple[Any, PyTree]:
        outputs, variables = module.init_with_output(key, images, train=False)
        return outputs if foreign else (), variables

    def init(key: Key[Array, ""], shape: tuple[int, ...]) -> PyTree:
        if shape[-1] != len(module.mean):
            raise ValueError(
                f"The network normalises {len(module.mean)} channels (mean {module.mean}), but "
                f"its inputs have shape {tuple(shape)}."
            )
        images = jax.random.uniform(key, (1, *shape)) if foreign else jnp.zeros((1, *shape))
        outputs, variables = once(start, key, images)
        if foreign:
            outside.check_variables(variables, outputs[0], module.encoder.title)
        empty: dict[str, Any] = {"encoder": {}, "projector": {}}
        return {
            "params": empty | variables["params"],
            "batch_stats": variables.get("batch_stats", {}),
        }

    def apply(
        params: PyTree,
        batch_stats: PyTree,
        images: Float[Array, "m h w c"],
        *,
        views: int = 1,
        train: bool,
        key: Key[Array, ""] | None = None,
        layer: str = "",
    ) -> tuple[Any, PyTree]:
        variables = {"params": params, "batch_stats": batch_stats}
        if not train:
            outputs: Any = module.apply(variables, images, train=False)
            return outputs, batch_stats
        draws = {} if key is None else {"dropout": key, vit.DROP_PATH: key}
        kept = ["batch_stats", "intermediates"] if layer else ["batch_stats"]
        outputs, moved = module.apply(
            variables, images, views=views, train=True, mutable=kept, rngs=draws
        )
        if layer:
            seen = moved.get("intermediates", {}).get("encoder", {})
            outputs = (*outputs, sown_map(seen, images.shape[0], layer))
        return outputs, moved.get("batch_stats", batch_stats)

    draws = foreign or (
        isinstance(module.encoder, vit.ViT) and module.encoder.settings.drop_path > 0
    )
    local = isinstance(module.encoder, resnet.ResNet | vit.ViT | ConvNet | DeepSet)
    return Network(init, apply, partial(_layers, module), draws, local)


def _layers(
    module: _EncoderProjector, params: PyTree, batch_stats: PyTree, images: Float[Array, "m h w c"]
) -> dict[str, Float[Array, "m h"]]:
    variables = {"params": params, "batch_stats": batch_stats}
    outputs: Any = module.apply(
        variables,
        images,
        train=False,
        mutable=["intermediates"],
        capture_intermediates=lambda inside, _: isinstance(inside.parent, MLP),
    )
    (features, embeddings), seen = outputs[0], outputs[1].get("intermediates", {})
    # Ordered: jit would hand back a plain dict sorted by name.
    layers = OrderedDict(sown(seen.get("encoder", {}), images.shape[0]))
    layers["features"] = features
    hidden = seen.get("projector", {})
    for i in range(1, len(module.projector.widths)):
        before = hidden.get(f"bn{i}", hidden[f"dense{i}"])["__call__"][0]
        layers[f"projector{i}"] = nn.relu(before).astype(jnp.float32)
    layers["embedding"] = embeddings
    return layers


def _choose(name: str, value: str, choices: Sequence[str] | dict[str, Any]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; choose from {list(choices)}.")
