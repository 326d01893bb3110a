"""What a compiled program sends between devices, read from its text (HLO)."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_BITS = {"pred": 8, "token": 0, "opaque": 0}  # others say theirs: f32, bf16, s4, f8e4m3fn, c64
_SHAPE = re.compile(r"([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_OPERATION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (.*?) ([a-z][\w\-]*)\(")
_CALLED = re.compile(r"(?:to_apply|calls|body|condition|called_computations?)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Collective(NamedTuple):
    """One collective operation of a program.

    Attributes:
      kind: one of `KINDS`.
      size: bytes of the whole array: what is summed (all-reduce), gathered (all-gather) or summed
        before it is scattered (reduce-scatter); for all-to-all and collective-permute what a device
        receives.
      devices: how many take part in each group; of a permutation, how many send or receive.
      times: how often it runs: the product of the trip counts of the loops around it.
      counted: False if a loop around it has no known trip count, and counts as one trip.
    """

    kind: str
    size: int
    devices: int
    times: int
    counted: bool


def collectives(text: str) -> list[Collective]:
    """The collectives of a program, from `compiled.as_text()`.

    An asynchronous pair (`-start`, `-done`) is one operation. Bodies of loops count as often as
    their known trip count says. Groups of one device send nothing, and are left out.

    Raises:
      ValueError: if the text holds no entry computation, or a group of devices is written in a way
        that is not understood.
    """
    computations, entry = _computations(text)
    return [
        collective for collective in _walk(computations, entry, 1, True) if collective.devices > 1
    ]


def _computations(text: str) -> tuple[Mapping[str, list[str]], str]:
    computations: dict[str, list[str]] = {}
    entry, name = "", ""
    for line in text.splitlines():
        if start := _COMPUTATION.match(line):
            name = start[2]
            computations[name] = []
            entry = name if start[1] else entry
        elif name:
            computations[name].append(line)
    if not entry:
        raise ValueError("The text is no compiled program: it has no ENTRY computation.")
    return computations, entry


def _walk(
    computations: Mapping[str, list[str]], name: str, times: int, counted: bool
) -> Iterator[Collective]:
    """The collectives of a computation and of those it calls."""
    for line in computations.get(name, ()):
        match = _OPERATION.match(line)
        if not match:
            continue
        shape, operation = match.groups()
        kind = operation.removesuffix("-start")
        if kind in KINDS:
            yield Collective(
                kind, _size(kind, shape, operation, line), _group(line), times, counted
            )
            continue  # what an all-reduce calls is its sum
        trips = _TRIPS.search(line) if operation == "while" else None
        trips_known = counted and (operation != "while" or trips is not None)
        for called in _called(line):
            yield from _walk(
                computations, called, times * int(trips[1] if trips else 1), trips_known
            )


def _called(line: str) -> list[str]:
    branches = _BRANCHES.search(line)
    names = re.findall(r"[\w.\-]+", branches[1]) if branches else []
    return _CALLED.findall(line) + names


def _size(kind: str, shape: str, operation: str, line: str) -> int:
    parts = [_bytes(*part) for part in _SHAPE.findall(re.sub(r"/\*.*?\*/", "", shape))]
    if operation == "all-gather-start":  # (operands, results)
        parts = parts[len(parts) // 2 :]
    elif operation == "collective-permute-start":  # (operand, result, and maybe context)
        parts = parts[1:2]
    size = sum(parts)
    return size * _group(line) if kind == "reduce-scatter" else size


def _bytes(dtype: str, dimensions: str) -> int:
    """Of one array; types of less than a byte are packed."""
    bits = _BITS.get(dtype)
    if bits is None:
        digits = re.search(r"\d+", dtype)
        bits = int(digits[0]) if digits else 8
    count = 1
    for dimension in filter(None, dimensions.split(",")):
        count *= int(dimension)
    return (count * bits + 7) // 8


def _group(line: str) -> int:
    """How many devices take part in a group, from any way HLO writes it."""
    if pairs := re.search(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}", line):
        sent = [pair for pair in re.findall(r"\{(\d+),(\d+)\}", pairs[1]) if pair[0] != pair[1]]
        return len({device for pair in sent for device in pair})
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(listed[1].split(","))
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(iota[1])
    if mesh := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", line):
        sizes = {axis: int(size) for axis, size in re.findall(r"'([^']+)'=(\d+)", mesh[1])}
        count = 1
        for axis in re.findall(r"'([^']+)'", mesh[2]):
            count *= sizes[axis]
        return count
    raise ValueError(f"The devices of this collective are not understood: {line.strip()[:200]}")
