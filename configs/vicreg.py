"""VICReg: variance, invariance and covariance of the embeddings (Bardes et al. 2022).

    python -m eqssl_jax.main --config=configs/vicreg.py:cifar10 --workdir=runs/vicreg

Variants: cifar10 (default), cifar100, stl10, imagenet100, digits, shapes, folder, arrays; after a
comma `care` adds CARE (`two_views` with its Gram match on the contrast views themselves), `equimod`
adds EquiMod, and `authors` or `solo` take other values, see `presets/numbers.py`. `folder` and
`arrays` also need --config.data.directory.

Not in the CARE paper: projector, optimiser and weights (25/25/1) are solo-learn's, encoder, epochs,
batch and views those of the CARE recipe; `solo` takes solo-learn's ResNet-18 recipe.

Published online linear accuracy of `solo`: 92.07 / 68.54 / 79.22 on CIFAR-10 / CIFAR-100 /
ImageNet-100 (solo-learn). Not reproduced here at full size.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(variant: str = "cifar10") -> ConfigDict:
    return presets.method("vicreg", variant).lock()
