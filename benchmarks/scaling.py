"""What a step of each recipe costs, and how far it would scale: docs/scaling.md.

    python benchmarks/scaling.py --count          # compile what is not in docs/scaling.json yet
    python benchmarks/scaling.py                  # write the tables of docs/scaling.md from it

Counting compiles the training step of every recipe over virtual CPU devices, without data and
without running it: on 8 and on 64 devices at the batch of the recipe, and ResNet-50 on CIFAR-10
also on 64 at eight times that batch. FLOPs, bytes and collectives are read from the compiled
program; from them `cost.roofline` predicts. `--only=care@imagenet100` counts some of
them, `--recount` those that are known.

`--topology=v5e:2x4 --only=simclr@cifar10/resnet_tiny` prints what the compiler for TPU makes of a
step instead. It needs libtpu and no TPU (TPU_SKIP_MDS_QUERY=1 TPU_ACCELERATOR_TYPE=v5litepod-8
TPU_WORKER_HOSTNAMES=localhost JAX_PLATFORMS=cpu), and minutes for the smallest encoder.
"""

import argparse
import importlib.util
import json
import os
import time
from pathlib import Path
from typing import Any

if "XLA_FLAGS" not in os.environ:  # before jax is imported; code is never run, so need not be fast
    os.environ["XLA_FLAGS"] = (
        "--xla_force_host_platform_device_count=64 --xla_backend_optimization_level=0"
    )

import jax
import numpy as np
from commit import described
from cost.collectives import collectives
from cost.tables import tables
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict

from eqssl_jax import data
from eqssl_jax.training.mesh import AXIS, make_mesh
from eqssl_jax.training.setup import setup
from eqssl_jax.training.step import compile_step, make_step

ROOT = Path(__file__).parent.parent
RECIPES = (
    "simclr", "care", "care_two_views", "moco", "byol", "barlow_twins", "vicreg", "equimod", "order"
)  # fmt: skip
SETTINGS = (("cifar10", "resnet50"), ("imagenet100", "resnet50"), ("cifar10", "resnet18"))
COMMIT = described()  # at the start: what is loaded is what is counted
STRONG, WEAK = ((8, 1), (64, 1)), (64, 8)  # devices, and the batch as a multiple of the recipe's


def wanted() -> list[tuple[str, int, int]]:
    """recipe@data/encoder, devices and multiple of the batch of everything that is counted."""
    names = [
        f"{recipe}@{dataset}/{encoder}"
        for dataset, encoder in SETTINGS
        for recipe in RECIPES
        if (recipe, dataset) != ("order", "imagenet100")  # it has no such variant
    ]
    points = [(name, *point) for name in names for point in STRONG]
    return points + [(name, *WEAK) for name in names[: len(RECIPES)]]


def config(name: str, times: int) -> ConfigDict:
    """The config of configs/ with another encoder, at `times` its batch in `times` the groups."""
    recipe, source = name.split("@")
    dataset, encoder = source.split("/")
    spec = importlib.util.spec_from_file_location(recipe, ROOT / f"configs/{recipe}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built = ConfigDict(module.get_config(dataset).to_dict())
    built.model.encoder = encoder
    built.train.batch_size *= times
    care = built.objectives.equivariance
    care.splits, care.images = care.splits * times, care.images * times
    built.objectives.order.images *= times
    return built.lock()


def blank(chosen: ConfigDict) -> data.Dataset:
    """A few black images that say they are many: only shapes matter."""
    size = chosen.data.size or 32
    images, labels = np.zeros((16, size, size, 3), np.uint8), np.zeros(16, np.int32)
    resident = chosen.data.on_device != "never"
    dataset = data.from_arrays(images, labels, images[:2], labels[:2], on_device=resident)
    splits = {name: split._replace(size=10**6) for name, split in dataset.splits.items()}
    return dataset._replace(splits=splits)


def tpu_mesh(topology: str) -> Mesh:
    """Devices that can be compiled for, and are not there."""
    from jax.experimental import topologies

    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    return Mesh(devices, (AXIS,), axis_types=(AxisType.Auto,))


def compiled(chosen: ConfigDict, mesh: Mesh) -> Any:
    """One training step as a program over a mesh."""
    run = setup(chosen, training=False, dataset=blank(chosen))
    root = jax.random.key(chosen.seed)
    step = make_step(run.network, run.method, run.optimizer, run.split.read, root)
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)  # noqa: E731
    state, pool = jax.eval_shape(run.init), jax.tree.map(shape, run.split.pool)
    return compile_step(step, mesh).lower(state, pool, run.inputs_shape()).compile()


def count(name: str, mesh: Mesh, times: int) -> dict[str, Any]:
    """FLOPs and bytes of each device, and all collectives, of one compiled step."""
    chosen, start = config(name, times), time.perf_counter()
    program = compiled(chosen, mesh)
    cost, memory, text = program.cost_analysis(), program.memory_analysis(), program.as_text()
    sums: dict[tuple[str, int], list[int]] = {}
    counted = collectives(text)
    for collective in counted:
        total = sums.setdefault((collective.kind, collective.devices), [0, 0])
        total[0] += collective.times
        total[1] += collective.times * collective.size
    return {
        "batch": chosen.train.batch_size,
        "devices": mesh.size,
        "flops": cost["flops"],
        "bytes": cost["bytes accessed"],
        "collectives": [[kind, group, *total] for (kind, group), total in sorted(sums.items())],
        "every loop counted": all(collective.counted for collective in counted),
        "state bytes": memory.argument_size_in_bytes,
        "working bytes": memory.temp_size_in_bytes,
        "commit": COMMIT,
        "compiled in s": round(time.perf_counter() - start, 1),
    }


def count_all(path: Path, only: str, recount: bool) -> None:
    counted = json.loads(path.read_text()) if path.exists() else {}
    for name, devices, times in wanted():
        point = f"{devices} devices, batch × {times}"
        if only not in name or (point in counted.get(name, {}) and not recount):
            continue
        counted.setdefault(name, {})[point] = count(name, make_mesh(devices), times)
        path.write_text(json.dumps(counted, indent=1) + "\n")
        print(name, point, counted[name][point], flush=True)
        jax.clear_caches()


def write(page: Path, text: str) -> None:
    """Put the tables between the two marks of the page."""
    start, end = "<!-- tables: written by benchmarks/scaling.py -->", "<!-- end of tables -->"
    before, after_start = page.read_text().split(start)
    after = after_start.split(end)[1]
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--only", default="", help="count names that contain this")
    parser.add_argument(
        "--topology", default="", help="print what the TPU's compiler makes of --only"
    )
    parser.add_argument("--recount", action="store_true")
    parser.add_argument("--counts", type=Path, default=ROOT / "docs/scaling.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/scaling.md")
    arguments = parser.parse_args()
    if arguments.topology:
        print(json.dumps(count(arguments.only, tpu_mesh(arguments.topology), 1)))
    elif arguments.count:
        count_all(arguments.counts, arguments.only, arguments.recount)
    else:
        write(arguments.page, tables(json.loads(arguments.counts.read_text())))


if __name__ == "__main__":
    main()
