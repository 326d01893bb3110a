"""The structure the README promises: who may import whom, and what stays in one file."""

import ast
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "eqssl_jax"
# From top to bottom: a room may import what stands on a later line, and itself.
ORDER = [
    {"evaluation"},  # a former name, for one release
    {"__main__"},  # the command `eqssl`: starts binaries by name, imports none of them
    {"main", "eval", "measure", "embed", "export", "advise", "tables", "report"},
    {"transfer", "prepare", "sweep"},
    # Named studies know runs, presets and tables; only a binary knows them.
    {"studies"},
    {"command", "presets", "experiment", "advice"},
    {"overrides"},
    {"training"},
    {"page"},
    {"figures"},
    {"tabular"},
    {"measures"},
    {"methods"},
    {"views"},
    {"objectives"},
    {"encoders"},
    {"transforms"},
    {"data"},
    {"config"},
    {"storage"},  # folders or buckets: leases and buckets are asked for nowhere else
    {"leases", "copies"},
    {"buckets"},
    {"compiled", "settings", "names", "frame", "shipped", "scene", "rotations"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
APART = {"data", "transforms", "objectives", "encoders"}
# Who alone may import a package (and what is below it).
HOMES = {
    "flax": ("encoders",),
    "optax": ("training", "measures", "advice"),
    "orbax": ("training/checkpoint.py",),
    "grain": ("data/streaming.py",),
    "tensorflow_datasets": ("data/tfds.py",),
    "gemmi": ("data/structures.py",),
    "fsspec": ("buckets.py",),
    "etils": ("buckets.py",),
    "clu": ("training/plan.py",),
    "tensorboardX": ("training/trackers.py",),
    "wandb": ("training/trackers.py",),
    "trackio": ("training/trackers.py",),
    "tensorflow": (),
}


@functools.cache
def imports(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downward(path):
    room = room_of(path)
    if room == "__init__":
        return
    used = {name.split(".")[1] for name in imports(path) if name.startswith("eqssl_jax.")}
    for other in (used - {room, "__version__"}) & set(LEVEL):
        assert LEVEL[other] > LEVEL[room], f"{room} may not import {other}"
        assert not {room, other} <= APART, f"{room} and {other} should not know each other"
    assert used <= set(LEVEL) | {"__version__"}


@pytest.mark.parametrize("package", HOMES)
def test_each_dependency_has_its_place(package):
    users = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if any(name == package or name.startswith(package + ".") for name in imports(path))
    }
    assert all(user.startswith(HOMES[package]) for user in users) if HOMES[package] else not users
    assert users or not HOMES[package], f"nobody uses {package}"


def test_the_order_names_every_room():
    assert {room_of(path) for path in FILES} - {"__init__"} == set(LEVEL)
