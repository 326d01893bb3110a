"""Streamed input against the decode limit of the machine, and its memory over many steps.

    python benchmarks/input.py speed --data=../shared/data/imagenette/imagenette224_subset.zip
    python benchmarks/input.py memory --steps=10000

The limit is PIL alone: images whose bytes are in memory already, decoded to RGB arrays by one
thread or one process a core, whichever is faster; no batch is made of them. Stream and limit are
timed in turns, because the machine may have other work, and compared within a round: by the wall
clock, and by CPU seconds (of all threads), which other work disturbs less. The median of the ratios
is over the rounds.

A stream is timed in the middle: from one batch to a later one, while it goes on reading, so that as
much is read ahead at the end as was at the start. The batches before (--warm) are not counted.
"""

import argparse
import io
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from eqssl_jax import data
from eqssl_jax.data import jpeg
from eqssl_jax.data.images import fit, suffixes
from eqssl_jax.data.listing import list_files

CORES = len(os.sched_getaffinity(0))
Action = Callable[[], tuple[int, float, float]]  # images, wall and CPU seconds

_held: list[bytes] = []  # encoded images of one process of the limit


def hold(root: str, count: int) -> None:
    """Read the bytes of the first training images into memory."""
    listing = list_files(Path(root), suffixes(), "a folder of images")
    read = listing.read
    names = [name for path, name in listing.files.items() if "train" in path][:count]
    _held[:] = [read(name) for name in names]


def decode(size: int, numbers: Sequence[int]) -> float:
    """PIL alone; the CPU seconds it took."""
    start = time.thread_time()
    for number in numbers:
        with Image.open(io.BytesIO(_held[number % len(_held)])) as image:
            fit(np.asarray(image.convert("RGB")), size)
    return time.thread_time() - start


def streamed(split: data.Split, args: argparse.Namespace, workers: int) -> tuple[int, float, float]:
    def rows(step: int) -> np.ndarray:
        return data.batch_indices(0, step, split.size, args.batch)

    stream = data.stream(split, rows, start=0, stop=2**31, workers=workers)
    for _ in range(args.warm):
        next(stream)
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(len(next(stream)) for _ in range(args.steps))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    stream.close()
    while any("grain-prefetch" in thread.name for thread in threading.enumerate()):
        time.sleep(0.01)  # threads end with their batch; what is timed next should be alone
    return count, wall, cpu


def speed(args: argparse.Namespace) -> None:
    dataset = data.load(name="folder", directory=args.data, size=args.size, on_device=False)
    split, total = dataset.splits["train"], args.batch * args.steps
    hold(args.data, args.batch * 8)
    parts = [range(start, start + 16) for start in range(0, total, 16)]
    spawn = multiprocessing.get_context("spawn")
    # No jax in them: they import this file, and decode.
    processes = ProcessPoolExecutor(CORES, spawn, hold, (args.data, args.batch * 8))
    threads = ThreadPoolExecutor(CORES)

    def limit(pool: ThreadPoolExecutor | ProcessPoolExecutor) -> tuple[int, float, float]:
        wall = time.perf_counter()
        cpu = sum(pool.map(partial(decode, args.size), parts))
        return total, time.perf_counter() - wall, cpu

    actions: dict[str, Action] = {
        "PIL, threads": partial(limit, threads),
        "PIL, processes": partial(limit, processes),
        "stream, threads": partial(streamed, split, args, 0),
    }
    if args.workers:
        actions[f"stream, {args.workers} workers"] = partial(streamed, split, args, args.workers)
    rounds: dict[str, list[tuple[int, float, float]]] = {name: [] for name in actions}
    for round_ in range(args.rounds + 1):
        for name, action in actions.items():
            numbers = action()
            if round_:
                rounds[name].append(numbers)
    processes.shutdown()
    threads.shutdown()
    show(rounds)


def show(rounds: dict[str, list[tuple[int, float, float]]]) -> None:
    """Each variant against the faster of the first two."""
    rates = {name: [n / wall for n, wall, _ in numbers] for name, numbers in rounds.items()}
    limits = [max(pair) for pair in zip(*list(rates.values())[:2], strict=True)]
    per_cpu = {
        name: [n / cpu for n, _, cpu in numbers]
        for name, numbers in rounds.items()
        if "work" not in name
    }
    cheapest = [max(pair) for pair in zip(*list(per_cpu.values())[:2], strict=True)]
    columns = ["images/s", "best", "ratio in a round", "quartiles", "per CPU second", "ratio"]
    table = Table("", *columns)
    for name, ratios in rates.items():
        low, middle, high = np.quantile(np.divide(ratios, limits), [0.25, 0.5, 0.75])
        row = [f"{np.median(ratios):.0f}", f"{max(ratios):.0f}", f"{middle:.2f}"]
        row += [f"{low:.2f} … {high:.2f}"]
        if name in per_cpu:
            ratio = np.median(np.divide(per_cpu[name], cheapest))
            row += [f"{np.median(per_cpu[name]):.0f}", f"{ratio:.2f}"]
        table.add_row(name, *row)
    load = os.getloadavg()[0]
    Console(width=120).print(f"{CORES} cores, load {load:.1f}, {len(limits)} rounds", table)


def resident_mib(process: int | str = "self") -> float:
    """Resident memory of a process now, in MiB (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(args: argparse.Namespace) -> None:
    """Resident memory at some steps of a long stream of small batches, each looked at."""
    dataset = data.load(name="folder", directory=args.data, size=args.size, on_device=False)
    split = dataset.splits["train"]

    def rows(step: int) -> np.ndarray:
        return data.batch_indices(0, step, split.size, args.batch)

    interval = max(args.steps // 10, 1)
    table = Table("step", "MiB of this process", "MiB of its workers", "shared memory, MiB")
    stream = data.stream(split, rows, start=0, stop=args.steps, workers=args.workers)
    start = time.perf_counter()
    for step, batch in enumerate(stream, 1):
        assert batch.any()
        if step % interval == 0 or step in (10, 100):
            workers = [resident_mib(child.pid) for child in multiprocessing.active_children()]
            shared = sum(f.stat().st_size for f in Path("/dev/shm").glob("psm_*")) / 2**20
            table.add_row(
                str(step),
                f"{resident_mib():.1f}",
                " ".join(f"{mib:.1f}" for mib in workers) or "none",
                f"{shared:.1f}",
            )
    rate = args.steps * args.batch / (time.perf_counter() - start)
    Console().print(f"{args.workers} workers, {args.batch} images a step, {rate:.0f} images/s")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "memory"])
    parser.add_argument("--data", default="../shared/data/imagenette/imagenette224_subset.zip")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--warm", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pillow", action="store_true", help="the stream without simplejpeg")
    args = parser.parse_args()
    if args.pillow:
        jpeg.decoder = lambda: None
    {"speed": speed, "memory": memory}[args.what](args)


if __name__ == "__main__":
    main()
