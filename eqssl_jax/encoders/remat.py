"""Blocks whose inside the backward pass computes again, so that it need not be kept."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

STATISTICS = "statistics"  # of BatchNorm: small, and sent between devices, hence kept
_KEPT = jax.checkpoint_policies.save_only_these_names(STATISTICS)


def with_remat(module: nn.Module, name: str) -> nn.Module:
    """The encoder with its setting `remat`: parameters and values are the same.

    Raises:
      ValueError: for an encoder without blocks of its own to be computed again.
    """
    if not hasattr(module, "remat"):
        raise ValueError(
            f"config.model.remat is 'blocks', but the encoder {name} has no blocks that could be "
            f"computed again: use config.model.remat=none, or one of this package's for images "
            f"(one from outside may use flax.linen.remat in itself)."
        )
    return module.clone(remat=True)


def again(compute: Callable[..., Array]) -> Callable[..., Array]:
    """compute(module, x), of which the backward pass keeps x and the statistics alone."""
    return nn.remat(compute, policy=_KEPT)


def call(block: Callable[..., Array], x: Array, *, remat: bool, **options: Any) -> Array:
    """block(x, **options), with `remat` by `again`."""
    if not remat:
        return block(x, **options)
    return again(lambda block, x: block(x, **options))(block, x)
