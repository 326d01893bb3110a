"""Predictions from counts: by hand, exact where they were counted, and monotone."""

import json
from pathlib import Path

import pytest
from cost import roofline
from cost import tables as scaling
from cost.roofline import Collectives, Counts, v5e

from eqssl_jax.studies.estimate import DEVICES, UTILISATION

WHOLE = ("all-reduce", True)


def at(devices: int, flops: float, memory: float = 0.0, size: float = 0.0) -> Counts:
    return Counts(devices, flops, memory, {WHOLE: Collectives(3, size)})


def test_a_step_is_the_slower_of_products_and_memory_and_then_the_network():
    chip, network = DEVICES["TPU v5e"], v5e(8)
    predicted = roofline.predict(at(8, 4e12, 1e9, 1e8), "TPU v5e")
    assert predicted.compute == pytest.approx(4e12 / (UTILISATION * 197e12))
    assert predicted.memory == pytest.approx(1e9 / 819e9)
    assert predicted.network == pytest.approx(2 * 7 / 8 * 1e8 / 100e9 + 3 * network.latency)
    assert predicted.step == pytest.approx(predicted.compute + predicted.network)
    slow = roofline.predict(at(8, 4e12, 1e12, 1e8), "TPU v5e")
    assert slow.step == pytest.approx(1e12 / chip.memory + predicted.network)
    assert roofline.predict(at(1, 1e12, 0.0, 1e8), "TPU v5e").network == 0


def test_traffic_of_the_ring():
    assert roofline.traffic("all-reduce", 8.0, 8) == 14
    assert roofline.traffic("reduce-scatter", 8.0, 8) == 7
    assert roofline.traffic("all-to-all", 8.0, 8) == 7
    assert roofline.traffic("collective-permute", 8.0, 8) == 8


def test_strong_scaling_goes_through_what_was_counted():
    few, many = at(8, 100 + 800 / 8, 7.0, 5.0), at(64, 100 + 800 / 64, 7.0, 5.0)
    for devices in (1, 8, 64, 256):
        counts = roofline.strong(few, many, devices)
        assert counts.flops == pytest.approx(100 + 800 / devices)
        assert counts.memory == pytest.approx(7.0)
        assert counts.sent == ({} if devices == 1 else {WHOLE: Collectives(3, 5.0)})


def test_weak_scaling_goes_through_what_was_counted():
    few, many = at(8, 100 + 2 * 8, 0.0, 8 * 10), at(64, 100 + 2 * 64, 0.0, 64 * 10)
    counts = roofline.weak(few, many, 256)
    assert counts.flops == pytest.approx(100 + 2 * 256)
    assert counts.sent[WHOLE].size == pytest.approx(2560)


def test_the_limit_is_where_half_is_lost():
    """Products alone, and as long a latency on any number of chips: T(n) = c / n + s."""
    few, many = at(8, 1e15 / 8), at(64, 1e15 / 64)
    chip_seconds = roofline.predict(roofline.strong(few, many, 1), "H200").step
    lost = 3 * 40e-6
    expected = max(
        n for n in (2**k for k in range(4, 9)) if chip_seconds / (chip_seconds + n * lost) >= 0.5
    )
    assert roofline.limit(few, many, "H200", 10**6) == expected == 256
    assert roofline.limit(few, many, "H200", 64) == 64  # at least one image a chip
    slow = [count._replace(flops=count.flops / 2e3) for count in (few, many)]
    chip_seconds /= 2e3
    assert roofline.limit(*slow, "H200", 10**6) == max(
        n
        for n in (2**k for k in range(9))
        if chip_seconds / (chip_seconds + n * 3 * (15e-6 if n <= 8 else 40e-6)) >= 0.5
    )


def test_records_become_counts():
    record = {
        "devices": 8, "flops": 1.0, "bytes": 2.0,
        "collectives": [
            ["all-reduce", 2, 1, 10], ["all-reduce", 4, 2, 30], ["all-reduce", 8, 3, 5]
        ],
    }  # fmt: skip
    assert roofline.counts(record) == Counts(
        8, 1.0, 2.0, {("all-reduce", False): Collectives(3, 40), WHOLE: Collectives(3, 5)}
    )


def test_tables_hold_what_was_counted_and_leave_out_what_was_not():
    def record(devices, batch, gathered):
        return {
            "devices": devices, "batch": batch, "flops": 8e12 / devices, "bytes": 8e9 / devices,
            "collectives": [
                ["all-reduce", devices, 5, 10**8], ["all-gather", devices, 1, gathered]
            ],
            "state bytes": 10**9, "working bytes": 2 * 10**9,
        }  # fmt: skip

    few, many = record(8, 256, 10**6), record(64, 256, 10**6)
    records = {
        "care@cifar10/resnet50": {scaling.FEW: few, scaling.MANY: many},
        "moco@cifar10/resnet50": {scaling.FEW: few},  # the other point is not there yet
    }
    text = scaling.tables(records)
    counted = next(line for line in text.splitlines() if line.startswith("| care, cifar10"))
    cells = [cell.strip() for cell in counted.strip("| ").split("|")]
    assert cells[1:] == ["256", "8", "8", "0.00", "6", "100", "1", "0", "3"]
    assert "moco" not in text and "weak" not in text
    predicted = roofline.predict(roofline.strong(*map(roofline.counts, (few, many)), 1), "H200")
    assert f"{1e3 * predicted.step:.3g} ms, 100%" in text
    records["care@cifar10/resnet50"][scaling.GROWN] = record(64, 2048, 8 * 10**6)
    assert "(weak scaling)" in scaling.tables(records)


def test_the_recorded_counts_are_plausible():
    """docs/scaling.json: gradients are the bulk of what is reduced, whatever the batch."""
    path = Path(__file__).parent.parent / "docs/scaling.json"
    recorded = json.loads(path.read_text())
    few = roofline.counts(recorded["simclr@cifar10/resnet50"]["8 devices, batch × 1"])
    many = roofline.counts(recorded["simclr@cifar10/resnet50"]["64 devices, batch × 1"])
    # ResNet-50 and its projector: 24.7 million parameters of four bytes.
    assert few.sent[WHOLE].size == pytest.approx(4 * 24.7e6, rel=0.02)
    assert many.sent[WHOLE] == few.sent[WHOLE]
    assert 8 * few.flops == pytest.approx(64 * many.flops, rel=0.02)
