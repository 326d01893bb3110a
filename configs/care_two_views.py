"""CARE in two views: groups of images share the draws of the contrast views themselves.

    python -m eqssl_jax.main --config=configs/care_two_views.py:cifar10 --workdir=runs/two_views

InfoNCE and the Gram match look at the same two views, so a step encodes two views of an image where
the paper's form (configs/care.py) encodes four. Variants as in configs/simclr.py. Ours, not the
paper's. What it gave beside the paper's form at equal images and at equal compute, with seeds and
intervals: docs/results/two_views.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(variant: str = "cifar10") -> ConfigDict:
    return presets.method("simclr", variant + ",two_views").lock()
