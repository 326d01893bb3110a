"""Flax modules of any author: called without knowing of views, and what they sow of layers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError
from jaxtyping import Array, Float

from eqssl_jax.names import check_call

CONTRACT = "a flax.linen module that is called as module(images [M, H, W, C], train=…) -> [M, F]"


class Outside(nn.Module):
    """A module called as `module(images, train=…)`, as encoders here are called.

    Where it keeps BatchNorm statistics, every view has a forward of its own, in the order of the
    views: a view then has its own statistics, and the running averages move once a view. Otherwise
    all views share one forward. Images come normalised by the mean and std of the data.

    Attributes:
      module: of the user.
      title: what its config calls it, `module:attribute`.

    Raises:
      ValueError: for an output that is not [M, F].
    """

    module: nn.Module
    title: str

    @nn.compact
    def __call__(
        self, x: Float[Array, "m h w c"], *, views: int = 1, train: bool
    ) -> Float[Array, "m f"]:
        if not train or views == 1 or not self.has_variable("batch_stats", "module"):
            return self._features(x, train)
        split = x.reshape(-1, views, *x.shape[1:])  # image by image, hence whole on devices
        features = [self._features(split[:, v], train) for v in range(views)]
        return jnp.stack(features, axis=1).reshape(x.shape[0], -1)

    def _features(self, x: Float[Array, "m h w c"], train: bool) -> Float[Array, "m f"]:
        try:
            y: Any = self.module(x, train=train)
        except InvalidRngError as error:
            raise ValueError(
                f"The encoder {self.title} draws random numbers that no key is given for ({error}):"
                f" with dropout, train it without a target network (MoCo, BYOL), and let it draw "
                f"under the name 'dropout' and where train=True alone."
            ) from error
        shape, dtype = getattr(y, "shape", None), getattr(y, "dtype", None)
        floating = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
        if (
            shape is None
            or len(shape) != 2
            or shape[0] != x.shape[0]
            or not shape[1]
            or not floating
        ):
            kind = f"{dtype} of shape {shape}" if shape is not None else f"a {type(y).__name__}"
            raise ValueError(
                f"The encoder {self.title} gives {kind} for images {x.shape}; features of shape "
                f"({x.shape[0]}, F) in floating point were expected, one row an image: take the "
                f"mean over positions, and return the features alone."
            )
        return y.astype(jnp.float32)


def wrap(value: Any, name: str) -> Outside:
    """The encoder that a name of a config stands for.

    Args:
      value: a flax.linen module, its class, or a function without required arguments that returns
        one.
      name: what the config calls it.

    Raises:
      ValueError: for anything else, with what was found.
    """
    subject = f"config.model.encoder = {name!r}"
    if not isinstance(value, nn.Module):
        check_call(value, subject, f"{CONTRACT}, its class, or a function without arguments")
        try:
            value = value()
        except Exception as error:
            raise ValueError(
                f"{subject} cannot be made: {type(error).__name__}: {error}"
            ) from error
    if not isinstance(value, nn.Module):
        raise ValueError(f"{subject} gives a {type(value).__name__}, but it must be {CONTRACT}.")
    # Bound through the class: a module of flax has to be set up before its own call is looked at.
    call = type(value).__call__
    check_call(
        call, f"The call of {subject}", f"(images, train=…) of {CONTRACT}", value, 0, train=True
    )
    return Outside(value, name)


def check_variables(variables: Any, features: Float[Array, "m f"], title: str) -> None:
    """Refuse variables that training would not carry, and features that are not finite.

    Raises:
      ValueError: naming the encoder and what was found.
    """
    others = sorted(set(variables) - {"params", "batch_stats"})
    if others:
        raise ValueError(
            f"The encoder {title} keeps variables under {others}; a run carries 'params' and "
            f"'batch_stats' alone, and would forget them."
        )
    if not isinstance(features, jax.core.Tracer) and not bool(jnp.isfinite(features).all()):
        raise ValueError(
            f"The encoder {title} gives features that are not finite (NaN or infinite) for random "
            f"images at its first weights: look for a division by zero or a root of 0 in it."
        )


def sown(seen: Mapping[str, Any], images: int) -> dict[str, Float[Array, "m h"]]:
    """The layers of `sown_maps` as means over their positions.

    >>> kept = {"layers": (jnp.ones((2, 4, 4, 3)), jnp.ones((2, 2, 2, 8))), "b10": {"y": (1.0,)}}
    >>> {name: x.shape for name, x in sown(kept, 2).items()}
    {'stem': (2, 3), 'layer1': (2, 8)}
    """
    maps = sown_maps(seen, images)
    return {name: jnp.mean(x, axis=tuple(range(1, x.ndim - 1))) for name, x in maps.items()}


def sown_maps(seen: Mapping[str, Any], images: int) -> dict[str, Float[Array, "m ..."]]:
    """Layers by name from what `sow("intermediates", …)` has kept, [M, positions …, H], float32.

    What is sown as "layers", one call a layer, is called "stem", "layer1", "layer2", … in the order
    of the calls. Any other name is kept, after those of the modules it is inside of, by the order
    of their numbers. Arrays without an axis of images in front, or without channels, are left out.
    """
    layers = {}
    for path, x in sorted(_flat(seen), key=lambda pair: _order(pair[0])):
        if getattr(x, "ndim", 0) < 2 or x.shape[0] != images:
            continue
        name = path.removeprefix("module/")
        number = re.fullmatch(r"layers/(\d+)", name)
        if number:
            name = f"layer{number[1]}" if number[1] != "0" else "stem"
        layers[name.removesuffix("/0")] = x.astype(jnp.float32)
    return layers


def sown_map(seen: Mapping[str, Any], images: int, layer: str) -> Float[Array, "m ..."]:
    """The layer of this name among `sown_maps`.

    Raises:
      ValueError: if there is none with positions, naming those there are.
    """
    maps = {name: x for name, x in sown_maps(seen, images).items() if x.ndim > 2}
    if layer not in maps:
        raise ValueError(
            f"A method reads the map of the encoder's layer {layer!r}, but in training this "
            f"encoder gives maps of {list(maps) or 'no layer'}."
        )
    return maps[layer]


def _flat(seen: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in seen.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            calls = value if isinstance(value, tuple) else (value,)
            yield from ((f"{prefix}{name}/{i}", x) for i, x in enumerate(calls))


def _order(path: str) -> list[tuple[int, str]]:
    """Names by letters, numbers inside them by value, "layers" of the module itself first."""
    parts = re.split(r"(\d+)", "" if path.startswith("module/layers/") else path)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]
