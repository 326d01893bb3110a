"""How fast is a training step of CARE, and how far from its floor?

    python benchmarks/step.py --encoder=resnet18 --batch=64 --splits=4
    python benchmarks/step.py --encoder=resnet50 --dtype=bfloat16 --batch=512 --json=step.json
    python benchmarks/step.py --encoder=conv_tiny --torch [--eager]     beside PyTorch's step

The floor is forward and backward of the network alone on as many distinct views as a step has
(equal views would be merged by the compiler). All are timed in turns in one process, and in CPU
seconds of all threads beside wall time, so that ratios hold on a noisy machine; the medians are
printed. The state is donated, as in training. --torch adds the same step in PyTorch
(`reference/throughput.py`: channels-last, autocast for bfloat16, `torch.compile` unless --eager);
it needs the extra `reference`.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

START = time.perf_counter()

import jax  # noqa: E402  (the clock starts before the imports, as it does for a user)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from commit import described  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from eqssl_jax import __version__, presets  # noqa: E402
from eqssl_jax.training.forward import draw_views  # noqa: E402
from eqssl_jax.training.setup import Setup, setup  # noqa: E402
from eqssl_jax.training.step import compile_step, make_step  # noqa: E402

WRITTEN_IN_TORCH = ("conv_tiny", "resnet_tiny", "resnet18", "resnet50", "vit_tiny")


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


class Seconds(NamedTuple):
    wall: float
    cpu: float  # of all threads of the process


def measure(actions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Seconds]:
    """Medians of each action, taken in turns; the first round is not counted."""
    rounds: dict[str, list[Seconds]] = {name: [] for name in actions}
    for _ in range(repeats + 1):
        for name, action in actions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(action())
            rounds[name].append(Seconds(time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Seconds(*(statistics.median(column) for column in zip(*times[1:], strict=True)))
        for name, times in rounds.items()
    }


class Stepping:
    """One step after the other; the state is donated to each."""

    def __init__(self, built: Setup, batch: int):
        root, read = jax.random.key(1), built.split.read
        step = make_step(built.network, built.method, built.optimizer, read, root)
        self.compiled, self.state = compile_step(step, built.mesh), built.init()
        self.given = built.split.pool, np.arange(batch, dtype=np.int32)

    def __call__(self) -> Any:
        self.state, metrics = self.compiled(self.state, *self.given)
        return metrics


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All numbers of the benchmark by name."""
    built = build(args)
    stepping = Stepping(built, args.batch)
    jax.block_until_ready(stepping())
    first = Seconds(time.perf_counter() - START, time.process_time())
    state = built.init()
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
    originals = built.split.read(*stepping.given)
    draw = jax.jit(lambda key, x: draw_views(built.method, key, x)[1])
    actions = {
        "step": stepping,
        "forward+backward": lambda: gradient(state.params["network"], images),
        "views": lambda: draw(jax.random.key(1), originals),
    }
    if args.torch:
        from reference import throughput

        actions |= {f"PyTorch {name}": action for name, action in throughput.actions(args).items()}
    seconds = measure(actions, args.repeats)
    return {
        "step, images/s": args.batch / seconds["step"].wall,
        "forward+backward alone, images/s": args.batch / seconds["forward+backward"].wall,
        **{f"{name}, CPU s": least.cpu for name, least in seconds.items()},
        "step / forward+backward": seconds["step"].cpu / seconds["forward+backward"].cpu,
        **{
            f"{name} / PyTorch's": seconds[name].cpu / seconds[f"PyTorch {name}"].cpu
            for name in seconds
            if f"PyTorch {name}" in seconds
        },
        "drawing and rendering views, views/s": views / seconds["views"].wall,
        "start to first step done, s": first.wall,
        "start to first step done, CPU s": first.cpu,
        "peak memory, MiB": peak_memory() / 2**20,
    }


def peak_memory() -> float:
    """Bytes: of the device where it reports them, else of this process."""
    stats = jax.devices()[0].memory_stats() or {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return stats.get("peak_bytes_in_use", peak)


def facts() -> dict[str, str]:
    """Device, versions and commit, without which a number means nothing."""
    device = jax.devices()[0]
    versions = {name: version(name) for name in ("jax", "flax")} | {"eqssl_jax": __version__}
    return {
        "device": f"{jax.device_count()} × {device.device_kind} ({device.platform})",
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "commit": described(),
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
    parser.add_argument("--torch", action="store_true", help="PyTorch's step beside ours")
    parser.add_argument("--eager", action="store_true", help="PyTorch without torch.compile")
    parser.add_argument("--json", help="also write the numbers to this file")
    args = parser.parse_args()
    if args.torch and args.encoder not in WRITTEN_IN_TORCH:
        parser.error(
            f"--torch: the reference has {', '.join(WRITTEN_IN_TORCH)}, not {args.encoder}, and "
            f"would time another network in its place."
        )
    numbers = run(args)
    flags_given = {name: str(value) for name, value in vars(args).items() if name != "json"}
    for name, value in {**facts(), **flags_given}.items():
        print(f"{name:40s} {value}")
    for name, value in numbers.items():
        print(f"{name:40s} {value:,.3g}" if value < 100 else f"{name:40s} {value:,.0f}")
    if args.json:
        Path(args.json).write_text(
            json.dumps({**facts(), **flags_given, **numbers}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
