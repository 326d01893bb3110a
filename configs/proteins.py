"""The CARE paper's methods on protein chains (section 5.1): a DeepSet under random 3-D rotations.

    python -m eqssl_jax.main --config=configs/proteins.py:care --workdir=runs/proteins \\
        --config.data.directory=DIR

DIR is an `.npz` of Cα coordinates (`eqssl_jax.data.chains.read_npz`) or a folder of PDB and mmCIF
files (needs the extra `proteins`); without a directory chains are generated. Clouds hold at most
128 atoms (--config.data.options.points). Splits hold whole complexes.

Variants: care (default; InfoNCE + λ L_equi), simclr (InfoNCE), uniformity (L_unif), invariance
(L_inv, which alone collapses) and, ours, equivariance (L_unif + λ L_equi: nothing asks for
invariance). λ is config.objectives.equivariance.weight, 1 here, at the authors' scale.

Evaluated by the first principal axis of a rotated cloud, read off frozen features, and by how
regular the curves are that embeddings run through while a cloud turns once. The paper plots both
(Gupta et al. 2024, arXiv:2306.13924, Figures 3, 4 and 17-20) and prints no numbers; its ~130,000
PDB entries, widths and budget are not those of this config. What two CPU cores measured:
docs/results/proteins.
"""

from ml_collections import ConfigDict

from eqssl_jax import presets


def get_config(method: str = "care") -> ConfigDict:
    return presets.proteins(method).lock()
