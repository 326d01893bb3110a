"""What a flax module sows of its layers: by name, as maps or as one matrix a layer."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


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
