"""InfoNCE at large batch: memory and time of the plain form and of blocks, value and gradient.

    python benchmarks/large_batch.py --json=large_batch.json

Every case is a process of its own, so that its peak of resident memory is its own. Beside it stands
what the compiler says the program needs apart from its argument and result. Both forms are run up
to 8,192 images, blocks alone above. How far blocks are from the plain form is relative, of the
value and of the gradient (in norm).
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from eqssl_jax.objectives import info_nce, unit
from eqssl_jax.objectives.blocked import block_count
from eqssl_jax.training.environment import environment

MIB = 2**20
BOTH = (1024, 2048, 4096, 8192)
BLOCKS_ALONE = (16_384, 32_768)
SMALL = 512  # images a block where the plain form would be chosen


def program(images: int, dimension: int, block: int | None) -> Any:
    """Value and gradient at embeddings [2, N, D], compiled."""

    def loss(embeddings: jax.Array) -> jax.Array:
        return info_nce(*unit(embeddings), temperature=0.2, block=block)

    shape = jax.ShapeDtypeStruct((2, images, dimension), jnp.float32)
    return jax.jit(jax.value_and_grad(loss)).lower(shape).compile()


def peak() -> float:
    """Of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def measure(images: int, dimension: int, block: int | None, repeats: int) -> dict[str, Any]:
    """One case, in this process."""
    x = jax.random.normal(jax.random.key(0), (2, images, dimension))
    compiled = program(images, dimension, block)
    jax.block_until_ready(x)
    before, seconds = peak(), []
    for _ in range(repeats):
        start = time.perf_counter()
        value, gradient = jax.block_until_ready(compiled(x))
        seconds.append(time.perf_counter() - start)
    return {
        "images": images,
        "blocks": block_count(images, block),
        "similarity matrix, MiB": 4 * (2 * images) ** 2 / MIB,
        "working memory by the compiler, MiB": compiled.memory_analysis().temp_size_in_bytes / MIB,
        "peak resident memory, MiB": peak(),
        "of it before the first run, MiB": before,
        "seconds": statistics.median(seconds),
        "value": float(value),
        "gradient norm": float(jnp.linalg.norm(gradient)),
    }


def difference(images: int, dimension: int) -> dict[str, Any]:
    """Blocks against the plain form, in this process."""
    x = jax.random.normal(jax.random.key(0), (2, images, dimension))
    value, gradient = program(images, dimension, images)(x)
    in_blocks, same = program(images, dimension, min(SMALL, images // 2))(x)
    return {
        "images": images,
        "value": float(abs(in_blocks - value) / abs(value)),
        "gradient": float(jnp.linalg.norm(same - gradient) / jnp.linalg.norm(gradient)),
    }


def apart(*arguments: str) -> dict[str, Any]:
    """What this script prints in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def measure_all(dimension: int, repeats: int) -> dict[str, Any]:
    cases = [(n, block) for n in BOTH for block in (n, min(SMALL, n // 2))]
    cases += [(n, 0) for n in BLOCKS_ALONE]
    shared = f"--dimension={dimension}"
    runs = []
    for images, block in cases:
        times = repeats if images <= max(BOTH) else 1
        measured = apart(
            "--one", f"--images={images}", f"--block={block}", shared, f"--repeats={times}"
        )
        print({key: round(value, 4) for key, value in measured.items()}, flush=True)
        runs.append(measured)
    return {
        "environment": environment(),
        "dimension": dimension,
        "runs": runs,
        "relative difference": [apart("--compare", f"--images={n}", shared) for n in BOTH],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", action="store_true", help="one case, in this process")
    parser.add_argument("--compare", action="store_true", help="both forms, in this process")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--block", type=int, default=0, help="images a block; 0: automatic")
    args = parser.parse_args()
    if args.one:
        measured = measure(args.images, args.dimension, args.block or None, args.repeats)
    elif args.compare:
        measured = difference(args.images, args.dimension)
    else:
        measured = measure_all(args.dimension, args.repeats)
    print(json.dumps(measured))
    if args.json:
        args.json.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
