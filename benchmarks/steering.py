"""Steering alone, without the rest of an evaluation: one JSON and one figure for each run.

    python benchmarks/steering.py --workdir=runs/steering_small --draws=32 --images=64

The latest checkpoint of every run in the folder beside its untrained network, the same draws for
all. The numbers are those of `python -m eqssl_jax.eval` with steering on.
"""

import argparse
import json
import time
from pathlib import Path

import jax

from eqssl_jax import figures
from eqssl_jax.experiment.stored import run_folders
from eqssl_jax.measures import evaluate, settings
from eqssl_jax.measures.steering.steering import CARD
from eqssl_jax.training import checkpoint
from eqssl_jax.training.setup import setup
from eqssl_jax.training.workdir import read_config, write_json


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=32)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--parts", nargs="+", default=["rotate", "hue"])
    args = parser.parse_args()
    for folder in run_folders(args.workdir):
        measure(folder, args)


def measure(folder: Path, args: argparse.Namespace) -> None:
    run, start = setup(read_config(folder), training=False), time.time()
    like = run.init()
    manager = checkpoint.open_checkpoints(folder, read_only=True)
    state = checkpoint.restore(manager, like, max(manager.all_steps()))
    manager.close()
    encoders = {"trained": run.layers(state), "random": run.layers(like)}
    for part in args.parts:
        budget = settings(
            "quick",
            batch=args.batch,
            steering_draws=args.draws,
            steering_images=args.images,
            steering_parts=(part,),
        )
        result, _ = evaluate(
            encoders,
            run.dataset,
            run.recipe,
            jax.random.key(2),  # as in an evaluation
            settings=budget,
            cards=(CARD,),
        )
        for encoder in encoders:
            plain = result["steering"].get(encoder, {})
            path = folder / f"steering_{part}_{encoder}"
            seconds = round(time.time() - start, 1)
            numbers = result["encoders"][encoder]
            write_json(
                path.with_suffix(".json"),
                {"numbers": numbers, "seconds": seconds, "skipped": result["skipped"], **plain},
            )
            if plain:
                figures.steering(plain, path.with_suffix(".png"))
            shown = {name: round(number["value"], 3) for name, number in numbers.items()}
            print(folder.name, encoder, part, f"{seconds} s", json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
