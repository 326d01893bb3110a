"""BYOL: predict what a slowly moving copy of the network says of the other view (2006.07733).

    python -m eqssl_jax.main --config=configs/byol.py:cifar10 --workdir=runs/byol

Variants: cifar10 (default), cifar100, stl10, imagenet100, digits, shapes, folder, arrays; after a
comma `care` adds CARE (`two_views` with its Gram match on the contrast views themselves), `equimod`
adds EquiMod, and `authors` or `solo` take other values, see `presets/numbers.py`. `folder` and
`arrays` also need --config.data.directory.

The CARE paper does not train BYOL itself: projector, predictor, optimiser and momentum are solo-
learn's, encoder, epochs, batch and views those of the CARE recipe; `solo` takes solo-learn's
ResNet-18 recipe, `equimod,equimod_recipe` EquiMod's.

Published linear-probe top-1, ResNet-18: CIFAR-10 90.44, with EquiMod 91.57 (Devillers and Lefort
2023, arXiv:2211.01244). Published online linear accuracy of `solo`: 92.58 / 70.46 / 80.16 on
CIFAR-10 / CIFAR-100 / ImageNet-100 (solo-learn). Not reproduced here at full size.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(variant: str = "cifar10") -> ConfigDict:
    return presets.method("byol", variant).lock()
