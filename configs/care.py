"""CARE on SimCLR: augmentations act on the sphere of embeddings as rotations.

    python -m eqssl_jax.main --config=configs/care.py:cifar10 --workdir=runs/care

Variants: cifar10 (default), cifar100, stl10, imagenet100, digits, shapes, folder, arrays; add
",authors" for the values of the authors' code where they differ from the paper's: on CIFAR-10 λ
0.03 instead of 0.01, everywhere one shared draw for all groups instead of one a group, on
ImageNet-100 batch 256 and rate 0.4 instead of 512 and 0.8. `folder` and `arrays` also need
--config.data.directory.

CIFAR-10 in numbers (`presets.numbers.CIFAR10`): ResNet-50 with a 3 × 3 stem, projector 512-128, 400
epochs of batch 256, Adam at a constant 1e-3 with weight decay 1e-6, InfoNCE at τ 0.5, λ 0.01 over
16 groups; crops of 0.08 to 1 of the image, flip 0.5, jitter (0.4, 0.4, 0.4, 0.1) with probability
0.8, gray 0.2, blur of 3 pixels with σ 0.1 to 2 and probability 0.5.

What differs from the paper all the same: a tenth of the training images goes to validation (so an
epoch has fewer steps; --config.data.validation changes it); random crops of imagenet100 are taken
from the whole image, its short side scaled to 256 and of sides beyond 3 : 2 the middle, and a box
that does not fit is scaled down, where torchvision draws anew (`transforms.frames.fitted`), for
the probe, too; there the crop of the equivariance views is the centre, as in the authors' code, so
its role "rotational" has nothing to draw; and one process compares 4 groups of 32 images, where the
authors' script, on four GPUs that each draw for themselves, compares 16 groups of 8.

Published linear-probe top-1 of CARE-SimCLR, ResNet-50, ± over 3 probe seeds (Gupta et al. 2024,
arXiv:2306.13924, Table 1): CIFAR-10 91.92 ± 0.12, CIFAR-100 68.05 ± 0.28, STL-10 84.64 ± 0.29,
ImageNet-100 76.69 ± 0.08. Not reproduced here at full size yet; see docs/results for what was.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(variant: str = "cifar10") -> ConfigDict:
    return presets.method("simclr", variant + ",care").lock()
