"""Accelerators on paper: peaks of one chip, and what connects many of them."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

UTILISATION = 0.25  # of the peak FLOP/s: assumed, not measured


class Device(NamedTuple):
    """Peaks of one chip.

    Attributes:
      float32, bfloat16: dense FLOP/s, of float32 as JAX computes it by default.
      memory: bytes/s of its memory.
      capacity: bytes of its memory.
      source: where the numbers are from.
    """

    float32: float
    bfloat16: float
    memory: float
    capacity: float
    source: str


DEVICES: Mapping[str, Device] = {
    # float32 products are taken in bfloat16 by default on TPU, in TF32 on these GPUs.
    "TPU v5e": Device(197e12, 197e12, 819e9, 16e9, "Google Cloud documentation, TPU v5e"),
    "A100": Device(156e12, 312e12, 2.039e12, 80e9, "NVIDIA A100 data sheet, 80 GB SXM"),
    "H100": Device(494e12, 989e12, 3.35e12, 80e9, "NVIDIA H100 data sheet, SXM, dense"),
    "H200": Device(494e12, 989e12, 4.8e12, 141e9, "NVIDIA H200 data sheet, SXM, dense"),
}


class Network(NamedTuple):
    """How many chips of one kind are connected.

    Attributes:
      ring: bytes/s that pass each chip when all of them form rings, as all-reduce and all-gather
        do; both directions together, counted once.
      link: bytes/s from one chip to another.
      latency: seconds that a collective takes however small it is. Assumed, not measured.
    """

    ring: float
    link: float
    latency: float


def v5e(chips: int) -> Network:
    """A slice of TPU v5e: a mesh of rows × columns, a torus at the full 16 × 16.

    A chip has four links of 50 GB/s in each direction (400 GB/s in all, both directions). In a
    smaller slice the ends of rows do not meet, and one ring through all chips uses two of the four:
    100 GB/s. The documentation's 51.2 TB/s of all-reduce for the pod are 200 GB/s a chip. Latency:
    1 µs a hop, assumed, there and back along either side.
    """
    rows = 2 ** (int(math.log2(chips)) // 2)
    columns = chips // rows
    torus = rows == columns == 16
    hops = rows + columns if torus else 2 * (rows + columns - 2)
    return Network(200e9 if torus else 100e9, 50e9, hops * 1e-6)


def h200(chips: int) -> Network:
    """H200 in nodes of eight: NVLink inside, InfiniBand at 400 Gb/s a GPU between.

    NVLink has 450 GB/s in each direction (900 GB/s in all). Eight rings, each leaving the node
    through another adapter, pass 8 × 50 GB/s between nodes. Latency: 15 µs inside, 40 µs between,
    assumed.
    """
    return Network(450e9, 450e9, 15e-6) if chips <= 8 else Network(400e9, 50e9, 40e-6)


NETWORKS: Mapping[str, Callable[[int], Network]] = {"TPU v5e": v5e, "H200": h200}
