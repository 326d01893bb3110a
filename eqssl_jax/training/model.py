"""The network that a config names."""

import functools

from ml_collections import ConfigDict

from eqssl_jax import encoders
from eqssl_jax.encoders import Network


def build_network(
    config: ConfigDict,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    conv: str | None = None,
) -> Network:
    """The network of config.model, normalising by the statistics of the training images."""
    model = config.model
    return _network(
        encoder=model.encoder,
        stem=model.stem,
        projector=tuple(model.projector),
        projector_batch_norm=model.projector_batch_norm,
        projector_last_batch_norm=model.projector_last_batch_norm,
        mean=tuple(mean),
        std=tuple(std),
        compute_dtype=model.compute_dtype,
        conv=conv or model.conv,
        vit=encoders.ViTSettings(**model.vit),
    )


# Cached, so that equal networks are the same functions and compiled code is found again.
_network = functools.lru_cache(maxsize=8)(encoders.build)
