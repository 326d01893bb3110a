"""SimCLR, as the CARE paper trains its baseline.

    python -m eqssl_jax.main --config=configs/simclr.py:cifar10 --workdir=runs/simclr

Variants: cifar10 (default), cifar100, stl10, imagenet100, digits, shapes, folder, arrays; after a
comma `care` adds CARE (`two_views` with its Gram match on the contrast views themselves), `equimod`
adds EquiMod, and one of `authors` (the values of the authors' code where they differ from the
paper's), `solo` (solo-learn's recipe) and `equimod_recipe` (EquiMod's own) takes other values, see
`presets/numbers.py`. `folder` and `arrays` also need --config.data.directory. A tenth of the
training images goes to validation, which the paper does not have. Random crops of imagenet100 are
taken from the whole image, its short side scaled to 256 and of sides beyond 3 : 2 the middle; a box
that does not fit is scaled down, where torchvision draws anew (`transforms.frames.fitted`). Its τ
is 0.2, as in the authors' script, and so is its evaluation: short side 256, the centre of 224, and
the probe of 60 epochs of SGD, whose training crops are taken from the whole image.

Published linear-probe top-1 of SimCLR, ResNet-50, ± over 3 probe seeds (Gupta et al. 2024,
arXiv:2306.13924, Table 1): CIFAR-10 90.98 ± 0.10, CIFAR-100 66.77 ± 0.34, STL-10 84.19 ± 0.13,
ImageNet-100 72.79 ± 0.08. Not reproduced here at full size yet; see docs/results for what was.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(variant: str = "cifar10") -> ConfigDict:
    return presets.method("simclr", variant).lock()
