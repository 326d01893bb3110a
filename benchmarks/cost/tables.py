"""The tables of docs/scaling.md: what was counted, and what it predicts."""

from collections.abc import Mapping
from typing import Any

from cost import roofline
from cost.roofline import Counts, Prediction
from eqssl_jax.tabular.writers import markdown_line

Records = Mapping[str, Mapping[str, Mapping[str, Any]]]  # by recipe, then by point

FEW, MANY, GROWN = (
    "8 devices, batch × 1", "64 devices, batch × 1", "64 devices, batch × 8"
)  # fmt: skip
SIZES = (("TPU v5e", (8, 64, 256)), ("H200", (1, 8, 64)))
MB, GB = 1e6, 1e9


def tables(records: Records) -> str:
    """All of them, as Markdown. Recipes of which a point is missing are left out of its tables."""
    whole = {name: points for name, points in records.items() if {FEW, MANY} <= set(points)}
    parts = {
        "Counted: one training step over 8 devices": [_counted(n, p) for n, p in whole.items()],
        "Predicted: one global batch on more chips (strong scaling)": [
            _strong(name, points) for name, points in whole.items()
        ],
        "Predicted: where strong scaling stops": [_limits(n, p) for n, p in whole.items()],
        "Predicted: the batch grows with the chips (weak scaling)": [
            _weak(name, points) for name, points in whole.items() if GROWN in points
        ],
    }
    return "\n\n".join(f"### {title}\n\n{_markdown(rows)}" for title, rows in parts.items() if rows)


def _markdown(rows: list[dict[str, str]]) -> str:
    head = list(rows[0])
    lines = [markdown_line(*head), markdown_line("---", *["---:"] * (len(head) - 1))]
    return "\n".join([*lines, *(markdown_line(*row.values()) for row in rows)])


def _counted(name: str, points: Mapping[str, Any]) -> dict[str, str]:
    record = points[FEW]
    few, many = roofline.counts(record), roofline.counts(points[MANY])
    number = sum(sent.number for sent in few.sent.values())
    memory = record["state bytes"] + record["working bytes"]
    return {
        "recipe": _name(name),
        "images": str(record["batch"]),
        "TFLOP": f"{8 * few.flops / 1e12:.3g}",
        "GB moved": f"{8 * few.memory / GB:,.0f}",
        "fixed, GB a chip": f"{roofline.strong(few, many, 10**9).memory / GB:.2f}",
        "collectives": f"{number:.0f}",
        "all-reduce, MB": f"{_sent(few, 'all-reduce'):.4g}",
        "all-gather, MB": f"{_sent(few, 'all-gather', 'reduce-scatter'):.3g}",
        "moved between, MB": f"{_sent(few, 'all-to-all', 'collective-permute'):.3g}",
        "memory, GB a chip": f"{memory / GB:.3g}",
    }


def _sent(counted: Counts, *kinds: str) -> float:
    """MB of the whole arrays."""
    return sum(sent.size for (kind, _), sent in counted.sent.items() if kind in kinds) / MB


def _strong(name: str, points: Mapping[str, Any]) -> dict[str, str]:
    few, many = roofline.counts(points[FEW]), roofline.counts(points[MANY])
    row = {"recipe": _name(name)}
    for device, sizes in SIZES:
        single = roofline.predict(roofline.strong(few, many, 1), device)
        for chips in sizes:
            predicted = roofline.predict(roofline.strong(few, many, chips), device)
            row[f"{device} × {chips}"] = _cell(
                predicted, roofline.efficiency(single, predicted, chips)
            )
    return row


def _weak(name: str, points: Mapping[str, Any]) -> dict[str, str]:
    few, many = roofline.counts(points[FEW]), roofline.counts(points[GROWN])
    row = {"recipe": _name(name), "images a chip": str(points[FEW]["batch"] // 8)}
    for device, sizes in SIZES:
        single = roofline.predict(roofline.weak(few, many, 1), device)
        for chips in [size for size in sizes if size > 1]:
            predicted = roofline.predict(roofline.weak(few, many, chips), device)
            row[f"{device} × {chips}"] = _cell(predicted, roofline.efficiency(single, predicted))
    return row


def _limits(name: str, points: Mapping[str, Any]) -> dict[str, str]:
    """The most chips at an efficiency of one half; also if memory, or starting, took no time."""
    few, many = roofline.counts(points[FEW]), roofline.counts(points[MANY])
    batch = points[FEW]["batch"]
    row = {"recipe": _name(name), "images": str(batch)}
    for device, _ in SIZES:
        chips = roofline.limit(few, many, device, batch)
        twice = roofline.strong(few, many, 2 * chips)
        bare = [counts._replace(memory=0.0) for counts in (few, many)]
        quiet = [_quiet(counts) for counts in (few, many)]
        row[f"{device}: chips"] = f"{chips} ({batch / chips:g} images each)"
        row[f"{device}: what stops it"] = _lost(twice, few, many, device)
        row[f"{device}: by FLOPs alone"] = str(roofline.limit(bare[0], bare[1], device, batch))
        row[f"{device}: no latency"] = str(roofline.limit(quiet[0], quiet[1], device, batch))
    return row


def _quiet(counted: Counts) -> Counts:
    """The same bytes, sent by collectives that take no time to start."""
    sent = {key: collective._replace(number=0.0) for key, collective in counted.sent.items()}
    return counted._replace(sent=sent)


def _lost(counted: Counts, few: Counts, many: Counts, device: str) -> str:
    """What takes most of the time beyond T(1) / n: starting collectives, their bytes, memory."""
    step = roofline.predict(counted, device)
    bytes_alone = roofline.predict(_quiet(counted), device).network
    ideal = roofline.predict(roofline.strong(few, many, 1), device).step / counted.devices
    shares = {
        "starting collectives": step.network - bytes_alone,
        "their bytes": bytes_alone,
        "memory": max(step.compute, step.memory) - ideal,
    }
    return max(shares, key=lambda name: shares[name])


def _cell(predicted: Prediction, efficiency: float) -> str:
    return f"{1e3 * predicted.step:.3g} ms, {efficiency:.0%}"


def _name(name: str) -> str:
    recipe, source = name.split("@")
    return f"{recipe}, {source.replace('/', ', ')}"
