"""How long a step would take on so many chips: a prediction from what was counted."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from eqssl_jax.studies.estimate import DEVICES, UTILISATION

MOST = 256  # chips that are considered: a full TPU v5e pod


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


class Collectives(NamedTuple):
    """Collectives of one kind over groups of one size: how many a step has, and their bytes.

    `size` is of the whole arrays, as `training.collectives` counts it.
    """

    number: float
    size: float


class Counts(NamedTuple):
    """What one step takes.

    Attributes:
      devices: of the mesh it is compiled for.
      flops, memory: FLOPs, and bytes read and written, of each device.
      sent: collectives by kind and by whether their groups are all devices or some of them.
    """

    devices: int
    flops: float
    memory: float
    sent: Mapping[tuple[str, bool], Collectives]


class Prediction(NamedTuple):
    """Seconds of a step: of products, of memory traffic, of collectives, and in all.

    Products and memory overlap, so the slower of the two counts; collectives are added, as if
    nothing of them were hidden.
    """

    compute: float
    memory: float
    network: float

    @property
    def step(self) -> float:
        return max(self.compute, self.memory) + self.network


def counts(record: Mapping[str, Any]) -> Counts:
    """From a record of benchmarks/scaling.py."""
    devices = record["devices"]
    sent: dict[tuple[str, bool], Collectives] = {}
    for kind, group, number, size in record["collectives"]:
        key = kind, group == devices
        old = sent.get(key, Collectives(0, 0))
        sent[key] = Collectives(old.number + number, old.size + size)
    return Counts(devices, record["flops"], record["bytes"], sent)


def strong(few: Counts, many: Counts, devices: int) -> Counts:
    """At one global batch on another number of devices: a + b / devices through two counts."""
    return _through(few, many, devices, lambda n: 1 / n)


def weak(few: Counts, many: Counts, devices: int) -> Counts:
    """At one batch a device on another number of devices: a + b · devices through two counts.

    What grows with the global batch are the embeddings that are gathered, and their similarities.
    """
    return _through(few, many, devices, lambda n: float(n))


def _through(few: Counts, many: Counts, devices: int, basis: Callable[[int], float]) -> Counts:
    low, high = basis(few.devices), basis(many.devices)
    share = (basis(devices) - low) / (high - low)

    def between(a: float, b: float) -> float:
        return max(a + share * (b - a), 0.0)

    sent = {}
    for key in {**few.sent, **many.sent}:
        pair = [counted.sent.get(key, Collectives(0, 0)) for counted in (few, many)]
        # How many there are is the compiler's choice: no trend is read into it.
        number = pair[0].number if devices <= few.devices else pair[1].number
        sent[key] = Collectives(number, between(pair[0].size, pair[1].size))
    if devices == 1:
        sent = {}
    flops, memory = between(few.flops, many.flops), between(few.memory, many.memory)
    return Counts(devices, flops, memory, sent)


def traffic(kind: str, size: float, devices: int) -> float:
    """Bytes that pass each device, for arrays of `size` bytes and the ring algorithm.

    All-reduce 2 (n−1)/n · size; all-gather, reduce-scatter and all-to-all (n−1)/n · size; a
    permutation its size.

    >>> traffic("all-reduce", 100.0, 4), traffic("all-gather", 100.0, 4)
    (150.0, 75.0)
    """
    if kind == "collective-permute":
        return size
    return (2 if kind == "all-reduce" else 1) * size * (devices - 1) / devices


def predict(counted: Counts, device: str, dtype: str = "float32") -> Prediction:
    """Seconds on chips of one kind (`NETWORKS`): a roofline, and the ring times of collectives.

    Products run at `UTILISATION` of the peak, memory and networks at theirs. Groups of some devices
    are taken for groups of all.
    """
    chip = DEVICES[device]
    network = NETWORKS[device](counted.devices) if counted.devices > 1 else None
    return Prediction(
        counted.flops / (UTILISATION * getattr(chip, dtype)),
        counted.memory / chip.memory,
        sum(_seconds(counted, network)) if network else 0.0,
    )


def _seconds(counted: Counts, network: Network) -> Iterator[float]:
    for (kind, _), sent in counted.sent.items():
        alone = kind in ("all-to-all", "collective-permute")
        rate = network.link if alone else network.ring
        yield traffic(kind, sent.size, counted.devices) / rate + sent.number * network.latency


def efficiency(single: Prediction, many: Prediction, devices: int = 1) -> float:
    """Of `devices` chips against one: T(1) / (devices · T); for weak scaling leave it at 1."""
    return single.step / (devices * many.step)


def limit(few: Counts, many: Counts, device: str, batch: int, *, least: float = 0.5) -> int:
    """The most chips, a power of two, on which one global batch keeps `least` efficiency.

    At most one image a chip, and `MOST` chips.
    """
    single, best, devices = predict(strong(few, many, 1), device), 1, 2
    while devices <= min(batch, MOST):
        predicted = predict(strong(few, many, devices), device)
        if efficiency(single, predicted, devices) < least:
            return best
        best, devices = devices, 2 * devices
    return best
