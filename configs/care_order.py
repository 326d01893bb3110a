"""Both papers in one encoder: crop and colours turn the embedding, rotation keeps its order.

    python -m eqssl_jax.main --config=configs/care_order.py:shapes --workdir=runs/care_order

Variants and their data: as configs/order.py. CARE: Gupta et al. 2024, arXiv:2306.13924; order after
Xie et al. 2022 (CVPRW), loss and recipe ours. λ of CARE is the middle of the sweep in
docs/results/cifar10_small.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(dataset: str = "shapes") -> ConfigDict:
    config = presets.factored(dataset)
    for part in ("crop", *presets.COLOURS):
        config.roles[part] = "rotational"
    config.roles.rotate = "ordered"
    return config.lock()
