"""Encoder and projector as a pair of pure functions: all the rest of the library sees of flax."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from eqssl_jax.encoders import resnet
from eqssl_jax.encoders.conv import Conv, implementation
from eqssl_jax.encoders.convnet import ConvNet
from eqssl_jax.encoders.deepset import DeepSet
from eqssl_jax.encoders.heads import MLP, check_widths
from eqssl_jax.encoders.norm import BatchNorm

# Each is called with stem, conv and norm and gives a module that is called with (x, views, train).
ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "conv_tiny": partial(ConvNet, (16, 32, 64, 128)),
    "resnet_tiny": resnet.resnet_tiny,
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "deepset": partial(DeepSet, (64, 128), (128, 128)),
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Network(NamedTuple):
    """Images to features and embeddings.

    Attributes:
      init: `init(key, (H, W, C))`, for clouds `init(key, (P, 4))`, gives
        {"params": {"encoder", "projector"}, "batch_stats": …}.
      apply: `apply(params, batch_stats, images, *, views=1, train)` gives
        ((features [M, F], embeddings [M, D]), batch_stats). Images are [M, H, W, C] in [0, 1], the
        outputs float32, embeddings not normalised. M = N·V for N images in `views` = V views with
        index n·V + v; in training each view has its own BatchNorm statistics. `batch_stats` comes
        back moved if `train`, as it was if not.
      inner: `inner(params, batch_stats, images)` is what `layers` gives; None where only features
        and embeddings are known.
    """

    init: Callable[[Key[Array, ""], tuple[int, ...]], PyTree]
    apply: Callable[..., tuple[tuple[Float[Array, "m f"], Float[Array, "m d"]], PyTree]]
    inner: Callable[..., dict[str, Float[Array, "m h"]]] | None = None

    def encode(
        self, params: PyTree, batch_stats: PyTree, images: Float[Array, "m h w c"]
    ) -> tuple[Float[Array, "m f"], Float[Array, "m d"]]:
        """Features and embeddings by the frozen network."""
        return self.apply(params, batch_stats, images, train=False)[0]

    def layers(
        self, params: PyTree, batch_stats: PyTree, images: Float[Array, "m h w c"]
    ) -> dict[str, Float[Array, "m h"]]:
        """What every layer of the frozen network says, from the first to the last.

        "stem", "layer1", "layer2", … (stages, as means over positions), "features" (which is the
        last stage), "projector1", … (hidden layers, after ReLU) and "embedding"; float32. Without
        a projector the embedding is the features again.
        """
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
    projector_bias: bool = True,
    mean: Sequence[float],
    std: Sequence[float],
    compute_dtype: str = "float32",
    conv: str = "auto",
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
) -> Network:
    """A network: normalisation (x − mean) / std, encoder, projector.

    Args:
      encoder: conv_tiny, resnet_tiny, resnet18, resnet34 or resnet50 for images, deepset for
        point clouds [P, 4].
      stem: cifar (3×3, stride 1) or imagenet (7×7, stride 2, max-pool);
        conv_tiny and deepset have no choice.
      projector: widths of its layers, the last is the embedding's; () for none.
      projector_batch_norm: BatchNorm after every hidden layer of the projector.
      projector_bias: a bias in the projector's last layer.
      mean, std: of each channel, for values in [0, 1].
      compute_dtype: float32 or bfloat16; parameters, BatchNorm statistics and outputs stay float32.
      conv: how convolutions are computed: auto, xla or patches (see `models.conv`).
      bn_momentum: what running averages keep at each update; PyTorch's momentum is one minus it.
      bn_epsilon: added to the variance.

    Raises:
      ValueError: for a name that is none of the above, or a mean and std that do not fit.
    """
    _choose("encoder", encoder, ENCODERS)
    _choose("stem", stem, resnet.STEMS)
    _choose("compute_dtype", compute_dtype, DTYPES)
    mean, std = _channels(mean, std)
    dtype = DTYPES[compute_dtype]
    norm = partial(BatchNorm, momentum=bn_momentum, epsilon=bn_epsilon)
    module = _EncoderProjector(
        encoder=ENCODERS[encoder](
            stem=stem,
            conv=partial(Conv, dtype=dtype, convolve=implementation(conv)),
            norm=norm,
        ),
        projector=MLP(
            check_widths("projector", projector),
            batch_norm=projector_batch_norm,
            bias=projector_bias,
            norm=norm,
            dtype=dtype,
        ),
        mean=mean,
        std=std,
    )
    return _pure(module)


def _pure(module: _EncoderProjector) -> Network:
    # Compiled, the forward pass that flax runs for the shapes is left out. It runs once: on CPU,
    # where XLA takes five times longer to compile it well, it is compiled fast instead.
    quick = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else {}
    plain = partial(module.init, train=False)
    compiled = jax.jit(plain, compiler_options=quick)

    def init(key: Key[Array, ""], shape: tuple[int, ...]) -> PyTree:
        if shape[-1] != len(module.mean):
            raise ValueError(
                f"The network normalises {len(module.mean)} channels (mean {module.mean}), but "
                f"its inputs have shape {tuple(shape)}."
            )
        # Compiler options are for outermost programs; inside another (eval_shape) there is no use.
        start = plain if isinstance(key, jax.core.Tracer) else compiled
        variables = start(key, jnp.zeros((1, *shape), jnp.float32))
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
    ) -> tuple[tuple[Float[Array, "m f"], Float[Array, "m d"]], PyTree]:
        variables = {"params": params, "batch_stats": batch_stats}
        if not train:
            outputs: Any = module.apply(variables, images, train=False)
            return outputs, batch_stats
        outputs, moved = module.apply(
            variables, images, views=views, train=True, mutable=["batch_stats"]
        )
        return outputs, moved.get("batch_stats", batch_stats)

    return Network(init, apply, partial(_layers, module))


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
    found: dict[str, Array] = OrderedDict()
    for i, x in enumerate(seen.get("encoder", {}).get("layers", ())):
        found[f"layer{i}" if i else "stem"] = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
    found["features"] = features
    hidden = seen.get("projector", {})
    for i in range(1, len(module.projector.widths)):
        before = hidden.get(f"bn{i}", hidden[f"dense{i}"])["__call__"][0]
        found[f"projector{i}"] = nn.relu(before).astype(jnp.float32)
    found["embedding"] = embeddings
    return found


def _choose(name: str, value: str, choices: Sequence[str] | dict[str, Any]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; choose from {list(choices)}.")


def _channels(
    mean: Sequence[float], std: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std as tuples of floats, one per channel."""
    m, s = (tuple(np.atleast_1d(np.asarray(values, float)).tolist()) for values in (mean, std))
    if len(m) != len(s) or min(s) <= 0:
        raise ValueError(f"mean and std need a value per channel and std > 0, found {m} and {s}.")
    return m, s
