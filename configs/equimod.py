"""EquiMod on SimCLR: predict a view's embedding from the image's and the draw (arXiv:2211.01244).

    python -m eqssl_jax.main --config=configs/equimod.py:cifar10 --workdir=runs/equimod

Variants: cifar10 (default), cifar100, stl10, imagenet100, digits, shapes, folder, arrays; after a
comma `care` adds CARE (`two_views` with its Gram match on the contrast views themselves), and
`authors` or `solo` take other values, see `presets/numbers.py`. `folder` and `arrays` also need
--config.data.directory.

On BYOL: configs/byol.py:cifar10,equimod. The default is the CARE paper's recipe with EquiMod beside
InfoNCE, as in its Table 1; `equimod_recipe` is EquiMod's own (ResNet-18, 800 epochs, batch 512,
LARS 4.0 with η 1e-3 and no clipping, a last BatchNorm without scale and shift in the projector). It
does not take over from the authors' code: their views (crop scale 0.2 to 1, saturation 0.2, blur
and solarise that differ by view; here they are the CARE recipe's), their one BatchNorm over the
original and both views (here each has its own statistics), the scale and shift of the BatchNorm of
the parameters (a linear layer and a BatchNorm follow, which take them over), and the flags of what
was applied among the parameters (a draw at its identity says so).

Published linear-probe top-1: ResNet-50 by the CARE recipe 91.28 / 67.59 / 83.67 on CIFAR-10 /
CIFAR-100 / STL-10 (Gupta et al. 2024, arXiv:2306.13924, Table 1); by its own, CIFAR-10 92.79,
SimCLR 90.96 (Devillers and Lefort 2023). Not reproduced here at full size.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(variant: str = "cifar10") -> ConfigDict:
    return presets.method("simclr", variant + ",equimod").lock()
