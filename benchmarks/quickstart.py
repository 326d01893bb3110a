"""The quickstart and its control over seeds: one table with ± over trainings, and the picture.

    python benchmarks/quickstart.py --seeds 0 1 2 --workdir=runs/quickstart_seeds

Data are the same for all seeds. Started again, it goes on; finished runs are read.
"""

import argparse
import resource
import runpy
from pathlib import Path

from eqssl_jax.config import plain
from eqssl_jax.experiment.compare import compare
from eqssl_jax.experiment.run import expand, run
from eqssl_jax.experiment.stored import read_result
from eqssl_jax.shipped import config_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--variant", default="control", help='"" leaves the control out')
    chosen = parser.parse_args()
    get_config = runpy.run_path(config_file("quickstart"))["get_config"]
    results, configs = {}, {}
    for seed in chosen.seeds:
        config = get_config(chosen.variant)
        config.seed = seed
        run(config, chosen.workdir / f"seed{seed}")
        for name, run_config in expand(config).items():
            # <run>/<seed>: what `compare` takes for one column.
            folder = chosen.workdir / f"seed{seed}" / name / "eval"
            results[f"{name} {seed}"] = read_result(folder / f"{run_config.train.steps}.json")
            configs[f"{name} {seed}"] = plain(run_config)
            link = chosen.workdir / f"{name} {seed}"
            if not link.exists():
                link.symlink_to(folder.parent.resolve())
    compare(results, configs, chosen.workdir)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{used.ru_utime + used.ru_stime:.0f} CPU seconds")


if __name__ == "__main__":
    main()
