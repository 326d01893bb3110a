"""The 100 classes of ImageNet that contrastive papers train on when time is short."""

from importlib import resources

import numpy as np

from eqssl_jax.data.encoded import Encoded


def choose(encoded: Encoded, classes: tuple[str, ...]) -> tuple[Encoded, tuple[str, ...]]:
    """Keep the images of the listed classes and number these in the order of the list.

    Raises:
      ValueError: if the classes lack some of the list.
    """
    text = resources.files("eqssl_jax.data").joinpath("imagenet100.txt").read_text()
    wanted = tuple(text.split())
    unknown = sorted(set(wanted) - set(classes))
    if unknown or encoded.labels is None:
        raise ValueError(f"imagenet2012 lacks the classes {unknown[:10]} of imagenet100.txt.")
    number = np.full(len(classes), -1, np.int32)
    number[[classes.index(name) for name in wanted]] = np.arange(len(wanted))
    labels = number[encoded.labels]
    chosen = np.flatnonzero(labels >= 0)
    kept = Encoded(
        size=len(chosen),
        read=lambda index: encoded.read(chosen[index]),
        where=lambda index: encoded.where(chosen[index]),
        name=lambda index: encoded.name(chosen[index]),
        labels=labels[chosen],
    )
    return kept, wanted
