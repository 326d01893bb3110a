"""MoCo-v2: a momentum encoder and a queue of its embeddings as negatives (Chen et al. 2020).

    python -m eqssl_jax.main --config=configs/moco.py:cifar10 --workdir=runs/moco

Variants: cifar10 (default), cifar100, stl10, imagenet100, digits, shapes, folder, arrays; after a
comma `care` adds CARE (`two_views` with its Gram match on the contrast views themselves), `equimod`
adds EquiMod, and `authors` or `solo` take other values, see `presets/numbers.py`. `folder` and
`arrays` also need --config.data.directory.

As the CARE paper trains it where that is known: τ 0.1 on CIFAR and STL-10, τ 0.2 with a queue of
65,536 and momentum 0.99 on ImageNet-100. Queue (4,096) and momentum (0.99) on the small images are
ours. Batches are not shuffled between devices: BatchNorm's statistics are of the global batch, and
a shuffle would change nothing. A query and its key still share the statistics of their batch, as
in other implementations with synchronised BatchNorm.

Published linear-probe top-1, ResNet-50, ± over 3 probe seeds (Gupta et al. 2024, arXiv:2306.13924,
Table 1), MoCo-v2 and with CARE: CIFAR-10 91.95 ± 0.05 and 92.19 ± 0.01, CIFAR-100 69.88 ± 0.23 and
70.56 ± 0.15, ImageNet-100 73.50 ± 0.19 and 74.30 ± 0.07 (an open report in the authors' tracker
found it worse with CARE). Published online linear accuracy of `solo`: MoCo-v2+, ResNet-18, 92.94 /
69.89 / 78.20 on CIFAR-10 / CIFAR-100 / ImageNet-100 (solo-learn). Not reproduced here at full size.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(variant: str = "cifar10") -> ConfigDict:
    return presets.method("moco", variant).lock()
