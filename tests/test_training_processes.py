"""One program on any number of devices and processes: the same numbers, and agreement on the rest.

Processes here are real ones, connected over loopback; their devices are virtual CPU devices.
"""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_methods
from tiny_methods import METHODS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
# float32, 20 steps: sums of another order, through BatchNorm. Losses to 1e-5, arrays to 1e-4.
LOSSES = {"rtol": 1e-5, "atol": 2e-5}
ARRAYS = {"rtol": 1e-4, "atol": 1e-5}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def started(arguments, devices=2):
    """A process of several; `arguments` follow the interpreter."""
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": paths},
    )  # fmt: skip


@contextlib.contextmanager
def together(commands, devices=2):
    """Several processes, none of which outlives the test."""
    running = [started(arguments, devices) for arguments in commands]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def close(found, wanted) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        tolerance = LOSSES if name.startswith("metrics.") else ARRAYS
        np.testing.assert_allclose(found[name], value, err_msg=name, **tolerance)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes of two devices each make of every method."""
    file = tmp_path_factory.mktemp("two") / "found.npz"
    address = f"127.0.0.1:{free_port()}"
    commands = [[ROOT / "tests" / "tiny_methods.py", address, 2, i, file] for i in range(2)]
    with together(commands) as running:
        outputs = [process.communicate(timeout=900)[0] for process in running]
        assert [process.returncode for process in running] == [0, 0], outputs
    with np.load(file) as found:
        return {name: found[name] for name in found.files}


@pytest.mark.parametrize("names", METHODS, ids="+".join)
def test_twenty_steps_are_the_same_on_any_devices_and_processes(names, two_processes):
    one = tiny_methods.train(names, devices=1)
    assert {"byol", "moco"}.isdisjoint(names) or any(name.startswith("target") for name in one)
    for devices in (2, 8) if names == METHODS[0] else (8,):
        close(tiny_methods.train(names, devices=devices), one)
    label = "+".join(names) + "/"
    others = {k.removeprefix(label): v for k, v in two_processes.items() if k.startswith(label)}
    close(others, one)
    if names == METHODS[0]:
        looped = {k[7:]: v for k, v in two_processes.items() if k.startswith("looped/")}
        close(looped, one)
