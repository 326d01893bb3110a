"""One method of the equivariance benchmark: minutes on two CPU cores.

    python -m eqssl_jax.main --config=configs/benchmark.py:solids,equimod --workdir=runs/equimod

The data are solids (rendered objects, the default), shapes, cifar10 (or an .npz of it:
--config.data.name=arrays --config.data.directory=FILE), or 3diebench (pairs of the stored views of
its objects: --config.data.directory=FOLDER); a method is a card with a row of the benchmark
(`methods.entrants.rows`), any other card, or module:attribute. All rows in one table:
python -m eqssl_jax.tables --table=benchmark. Protocol and results: docs/results/benchmark.
"""

from ml_collections import ConfigDict

from eqssl_jax.presets.benchmark import DATA, benchmark


def get_config(variant: str = "solids,simclr") -> ConfigDict:
    data, _, method = variant.partition(",")
    if method in DATA:  # either order
        data, method = method, data
    return benchmark(data, method or "simclr").lock()
