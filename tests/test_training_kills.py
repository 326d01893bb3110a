"""Killed, asked to stop, out of space, on other devices or beside others: nothing is lost."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import survivor
from test_training_processes import free_port, started, together
from tiny_loop import Killed, equal, killed_at, small
from toys import linear_network

from eqssl_jax.training import checkpoint, kept
from eqssl_jax.training.loop import train
from eqssl_jax.training.mesh import make_mesh
from eqssl_jax.training.workdir import write_json

# Reading that orbax gives up on the way leaves coroutines behind, of which Python then complains.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


PROGRAM = Path(__file__).parent / "survivor.py"


KILLS = int(os.environ.get("EQSSL_JAX_KILLS", "2"))  # 30 by hand: five minutes


STEPS = max(900, 150 * KILLS)


GRACE = 60  # seconds in which a process that is asked to stop, or that lost another, must be gone


def until(reached, timeout=120) -> None:
    end = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def steps_in(workdir) -> list[int]:
    return sorted(
        int(path.name) for path in workdir.glob("checkpoints/[0-9]*") if path.name.isdigit()
    )


def lines(workdir) -> list[str]:
    return (workdir / "metrics.jsonl").read_text().splitlines()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The state and the log of a run that nothing happens to."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    return train(survivor.run(STEPS), workdir), lines(workdir)


def finished_alike(workdir, uninterrupted) -> None:
    """Go on to the end: the same arrays bit for bit, and no step of the log missing or twice."""
    state, log = uninterrupted
    equal(train(survivor.run(STEPS), workdir), state)
    assert lines(workdir) == log
    steps = [json.loads(line)["step"] for line in log if "loss" in json.loads(line)]
    assert steps == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_asked_to_stop_it_saves_and_goes_on_bit_for_bit(tmp_path, uninterrupted):
    process = started([PROGRAM, tmp_path, STEPS], devices=8)
    until(lambda: steps_in(tmp_path))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=GRACE)
    assert process.returncode == 75, output
    [saved] = [line for line in output.splitlines() if "asked to stop" in line]
    step = int(saved.split("step ")[1].split()[0])
    assert steps_in(tmp_path)[-1] == step < STEPS
    finished_alike(tmp_path, uninterrupted)


def killed_later(workdir, seconds) -> None:
    """Start a run, and kill it a while after its first new checkpoint."""
    before = steps_in(workdir)[-1:]
    process = started([PROGRAM, workdir, STEPS], devices=8)
    until(lambda: steps_in(workdir)[-1:] != before or process.poll() is not None)
    time.sleep(seconds)
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_killed_again_and_again_it_goes_on_bit_for_bit(tmp_path, uninterrupted):
    """kill -9 at random moments, also while it writes, as it does after every seventh dispatch."""
    moments = random.Random(0)
    for _ in range(KILLS):
        killed_later(tmp_path, moments.uniform(0, 0.3))
    assert 0 < len(lines(tmp_path)) < STEPS
    finished_alike(tmp_path, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(8, 1), (1, 8), (8, 2)])
def test_on_other_devices_it_goes_on_within_rounding(tmp_path, before, after, monkeypatch):
    whole = train(small(), tmp_path / "whole")
    with monkeypatch.context() as patched:
        killed_at(4, patched)
        with pytest.raises(Killed):
            train(small(mesh=make_mesh(before)), tmp_path / "parts")
    parts = train(small(mesh=make_mesh(after)), tmp_path / "parts")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_evaluation_reads_while_training_writes(tmp_path):
    process = started([PROGRAM, tmp_path, 100_000], devices=8)
    try:
        until(lambda: steps_in(tmp_path))
        like, read = small().init(), []
        while len(set(read)) < 4:
            read.append(int(kept.read(tmp_path, like, "latest").step))
        assert read == sorted(read)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def mounted(tmp_path):
    """`mount(option)` gives a small memory disk, where this user may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options: str) -> Path:
        process = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(disk)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if process.returncode:
            pytest.skip(f"no memory disk can be mounted here: {process.stderr.strip()}")
        return disk

    if not shutil.which("mount") or sys.platform != "linux":
        pytest.skip("memory disks are mounted on Linux only")
    yield mount
    subprocess.run(["umount", str(disk)], capture_output=True, check=False)


@pytest.mark.slow
def test_a_disk_of_which_nothing_is_left(mounted):
    workdir = mounted("size=256k") / "run"
    with pytest.raises(OSError, match="free space"):
        train(small(network=linear_network(features=1000)), workdir)
    other = subprocess.run(
        ["mount", "-o", "remount,size=64m", str(workdir.parent)], check=False, capture_output=True
    )
    assert other.returncode == 0
    assert int(train(small(network=linear_network(features=1000)), workdir).step) == 12


def test_a_file_for_which_no_space_is_left_is_named(mounted):
    disk = mounted("size=64k")
    with pytest.raises(OSError, match=r"12\.json cannot be written .*free space"):
        write_json(disk / "12.json", list(range(100_000)))
    assert not list(disk.iterdir())


def test_a_disk_that_cannot_be_written(mounted):
    with pytest.raises(OSError, match="cannot be written"):
        train(small(), mounted("ro") / "run")


def commands(workdir, steps, count=2):
    address = f"127.0.0.1:{free_port()}"
    return [[PROGRAM, workdir, steps, address, count, i] for i in range(count)]


@pytest.mark.slow
def test_processes_that_do_not_share_their_workdir_are_told(tmp_path):
    apart = [[*words[:1], tmp_path / str(i), *words[2:]]
             for i, words in enumerate(commands("", STEPS))]  # fmt: skip
    with together(apart, devices=1) as running:
        for process in running:
            output = " ".join(process.communicate(timeout=GRACE)[0].split())
            assert process.returncode == 1, output
            assert "is not the folder that process 0 writes to" in output


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 75)])
def test_one_process_of_two_ends_and_so_does_the_other(tmp_path, sent, status):
    """Then both are started again, and end where one process on one device does."""
    with together(commands(tmp_path / "two", STEPS), devices=1) as running:
        until(lambda: steps_in(tmp_path / "two"))
        running[1].send_signal(sent)
        outputs = [process.communicate(timeout=GRACE)[0] for process in running]
        assert [process.returncode for process in running] == [75, status], outputs
    reached = steps_in(tmp_path / "two")[-1]
    assert reached < STEPS
    steps = reached + 20
    with together(commands(tmp_path / "two", steps), devices=1) as running:
        outputs = [process.communicate(timeout=GRACE)[0] for process in running]
        assert [process.returncode for process in running] == [0, 0], outputs
    manager = checkpoint.open_checkpoints(tmp_path / "two", read_only=True)
    two = checkpoint.restore(manager, small().init(), steps)
    manager.close()
    expected = train(survivor.run(steps), tmp_path / "one")
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
    logged = [json.loads(line)["step"] for line in lines(tmp_path / "two")]
    assert sorted(set(logged)) == list(range(1, steps + 1))
