"""How fast is a training step of CARE, and how far from its floor?

    python benchmarks/step.py --encoder=resnet18 --batch=64 --splits=4
    python benchmarks/step.py --encoder=resnet50 --dtype=bfloat16 --batch=512 --json=step.json

The floor is forward and backward of the network alone on as many distinct views as a step has
(equal views would be merged by the compiler). Both are timed in turns in one process, so that the
ratio holds on a noisy machine; the medians are printed.
"""

import argparse
import json
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

START = time.perf_counter()

import jax  # noqa: E402  (the clock starts before the imports, as it does for a user)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from eqssl_jax import presets  # noqa: E402
from eqssl_jax.training.forward import draw_views  # noqa: E402
from eqssl_jax.training.setup import Setup, setup  # noqa: E402
from eqssl_jax.training.step import make_step  # noqa: E402


def build(args: argparse.Namespace) -> Setup:
    """The CARE recipe of CIFAR-10 on rendered images, so that no data is needed."""
    config = presets.with_care(presets.contrastive("cifar10"))
    config.data.name = "shapes"
    config.data.size = args.size
    config.data.options = ConfigDict({"train_size": max(4 * args.batch, 256), "test_size": 64})
    config.recipe.options = ConfigDict({"size": args.size})
    config.model.encoder, config.model.compute_dtype = args.encoder, args.dtype
    config.model.conv = args.conv
    config.objectives.equivariance.splits = args.splits
    config.train.batch_size = args.batch
    return setup(config.lock())


def measure(actions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each action, taken in turns; the first round is not counted."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    for round_ in range(repeats + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            jax.block_until_ready(action())
            if round_:
                found[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in found.items()}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All numbers of the benchmark by name."""
    built = build(args)
    state, pool = built.init(), built.split.pool
    inputs = np.arange(args.batch, dtype=np.int32)
    root = jax.random.key(1)
    step = jax.jit(make_step(built.network, built.method, built.optimizer, built.split.read, root))
    jax.block_until_ready(step(state, pool, inputs))
    first = time.perf_counter() - START
    views = sum(
        spec.pattern.views * (spec.images or args.batch) for spec in built.method.views.values()
    )
    images = jax.random.uniform(jax.random.key(2), (views, args.size, args.size, 3))

    def loss(params: Any, images: jax.Array) -> jax.Array:
        (_, z), _ = built.network.apply(
            params, state.batch_stats, images, views=views // args.batch, train=True
        )
        return jnp.sum(jnp.square(z))

    gradient = jax.jit(jax.grad(loss))
    originals = built.split.read(pool, inputs)
    draw = jax.jit(lambda key, x: draw_views(built.method, key, x)[1])
    seconds = measure(
        {
            "step": lambda: step(state, pool, inputs),
            "forward+backward": lambda: gradient(state.params["network"], images),
            "views": lambda: draw(root, originals),
        },
        args.repeats,
    )
    return {
        "step, images/s": args.batch / seconds["step"],
        "forward+backward alone, images/s": args.batch / seconds["forward+backward"],
        "step / forward+backward": seconds["step"] / seconds["forward+backward"],
        "drawing and rendering views, views/s": views / seconds["views"],
        "start to first step done, s": first,
        "peak memory, MiB": peak_memory() / 2**20,
    }


def peak_memory() -> float:
    """Bytes: of the device where it reports them, else of this process."""
    stats = jax.devices()[0].memory_stats() or {}
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return stats.get("peak_bytes_in_use", own)


def facts() -> dict[str, str]:
    """Device, versions and commit, without which a number means nothing."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True, text=True, cwd=Path(__file__).parent, check=False,
    )  # fmt: skip
    device = jax.devices()[0]
    return {
        "device": f"{jax.device_count()} × {device.device_kind} ({device.platform})",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("jax", "flax", "eqssl_jax")),
        "commit": commit.stdout.strip() or "unknown",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--conv", default="auto")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="also write the numbers to this file")
    args = parser.parse_args()
    numbers = run(args)
    asked = {name: str(value) for name, value in vars(args).items() if name != "json"}
    for name, value in {**facts(), **asked}.items():
        print(f"{name:40s} {value}")
    for name, value in numbers.items():
        print(f"{name:40s} {value:,.3g}" if value < 100 else f"{name:40s} {value:,.0f}")
    if args.json:
        Path(args.json).write_text(json.dumps({**facts(), **asked, **numbers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
