"""Barlow Twins: the cross-correlation of the views' dimensions becomes the identity (2103.03230).

    python -m eqssl_jax.main --config=configs/barlow_twins.py:cifar10 --workdir=runs/barlow_twins

Variants: cifar10 (default), cifar100, stl10, imagenet100, digits, shapes, folder, arrays; after a
comma `care` adds CARE (`two_views` with its Gram match on the contrast views themselves), `equimod`
adds EquiMod, and `authors` or `solo` take other values, see `presets/numbers.py`. `folder` and
`arrays` also need --config.data.directory.

The CARE paper's values for it are not known: projector, optimiser and weights are solo-learn's,
encoder, epochs, batch and views those of the CARE recipe; `solo` takes solo-learn's ResNet-18
recipe.

Published linear-probe top-1, ResNet-50, Barlow Twins and with CARE (Gupta et al. 2024,
arXiv:2306.13924, Table 1): CIFAR-10 84.54 ± 0.02 and 85.65 ± 0.05, CIFAR-100 55.54 ± 0.05 and 56.76
± 0.02, STL-10 90.62 ± 0.02 and 90.92 ± 0.01. Published online linear accuracy of `solo`: 92.10 /
70.90 / 80.38 on CIFAR-10 / CIFAR-100 / ImageNet-100 (solo-learn). Not reproduced here at full size.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(variant: str = "cifar10") -> ConfigDict:
    return presets.method("barlow_twins", variant).lock()
