"""How fast is a training step of CARE in PyTorch? The counterpart of benchmarks/step.py.

    python benchmarks/reference/throughput.py --encoder=resnet18 --dtype=bfloat16 --json=step.json

Channels-last, autocast for bfloat16, `torch.compile` (--eager: without), TF32 products as XLA has
them. "step" draws and renders four views on the device and updates the weights by Adam; "forward
+backward alone" is the network on as many images, as in benchmarks/step.py.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from commit import described

from reference import augment
from reference.models import Network, care
from reference.resnet import SHAPES, ResNet
from reference.vit import ViT

ENCODERS = (*SHAPES, "conv_tiny", "vit_tiny")


def seconds(action: Callable[[], Any], repeats: int) -> float:
    """Median of `repeats` calls after two that are not counted: they compile."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def actions(args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """A training step, and its forward and backward alone on views that are rendered already."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    made = {
        "conv_tiny": lambda: Network((0.5,) * 3, (0.25,) * 3),
        "vit_tiny": lambda: ViT(args.size),
    }.get(args.encoder, lambda: ResNet(args.encoder))()
    network = made.to(device, memory_format=torch.channels_last).train()
    called = network if args.eager else torch.compile(network)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-6)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((args.batch, 3, args.size, args.size), generator=generator).to(device)

    def views() -> list[torch.Tensor]:
        drawn = [augment.draw(args.batch, generator) for _ in range(2)]
        drawn += [augment.shared(args.batch, args.splits, generator) for _ in range(2)]
        moved = [{name: x.to(device) for name, x in draw.items()} for draw in drawn]
        rendered = [augment.apply(draw, images, args.size) for draw in moved]
        return [x.contiguous(memory_format=torch.channels_last) for x in rendered]

    def backward(rendered: list[torch.Tensor]) -> None:
        cast = args.dtype == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16, enabled=cast):
            loss, _ = care(called, rendered, (0.5, 0.01, args.splits))
        adam.zero_grad(set_to_none=True)
        loss.backward()

    def step() -> None:
        backward(views())
        adam.step()

    fixed = views()
    return {"step": step, "forward+backward": lambda: backward(fixed)}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All numbers by name."""
    made = actions(args)
    times = {
        "step, images/s": seconds(made["step"], args.repeats),
        "forward+backward alone, images/s": seconds(made["forward+backward"], args.repeats),
    }
    cuda = torch.cuda.is_available()
    of_process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # on a CPU
    peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else of_process
    name = torch.cuda.get_device_name() if cuda else "cpu"
    facts = {
        "device": name, "versions": f"torch {torch.__version__}", "commit": described(),
        "peak memory, MiB": peak,
    }  # fmt: skip
    return {**facts, **{name: args.batch / time for name, time in times.items()}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="resnet18", choices=ENCODERS)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--json", help="also write the numbers to this file")
    given = parser.parse_args()
    numbers = run(given)
    print(numbers, flush=True)
    if given.json:
        Path(given.json).write_text(json.dumps({**vars(given), **numbers}, indent=2) + "\n")
