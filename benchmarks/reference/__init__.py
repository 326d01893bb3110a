"""SimCLR and CARE in plain PyTorch, an independent check: nothing here imports eqssl_jax.

Own code from the equations of the papers (Chen et al. 2020, arXiv:2002.05709; Gupta et al. 2024,
arXiv:2306.13924). `pip install -e ".[reference]"` installs what it needs, PyTorch alone.

On a busy machine set OMP_NUM_THREADS=1: threads of PyTorch that wait for each other spin.
"""
