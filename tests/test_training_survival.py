"""Nothing is lost: killed, asked to stop, damaged on disk, out of space, or crowded by others."""

import errno
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import survivor
from test_training_loop import Killed, equal, killed_at, small
from test_training_processes import free_port, started, together
from toys import linear_network

from eqssl_jax.training import checkpoint, kept
from eqssl_jax.training.integrity import DamagedError, IncompatibleError, checksum
from eqssl_jax.training.interruption import listening
from eqssl_jax.training.kept import best_step
from eqssl_jax.training.loop import train
from eqssl_jax.training.mesh import batched, make_mesh
from eqssl_jax.training.processes import LostError
from eqssl_jax.training.records import Records, read_records
from eqssl_jax.training.workdir import LOCK, WriteError, claim, locked, read_config, write_json

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


@pytest.fixture(autouse=True, scope="module")
def frozen():
    """What is there before is not looked through after every test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def collected(frozen):
    """They are to be collected here, not in another test."""
    yield
    gc.collect()


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


def test_any_altered_bit_of_a_checkpoint_is_found(tmp_path):
    """One bit of any file: the checkpoint is refused, or what is read is what was written."""
    state = train(small(), tmp_path)
    folder, whole = tmp_path / "checkpoints" / "12", tmp_path / "whole"
    shutil.copytree(folder, whole)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    refused, generator = 0, random.Random(0)
    for path in files:
        content = bytearray(path.read_bytes())
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(content)
        try:
            manager = checkpoint.open_checkpoints(tmp_path, read_only=True)
            equal(checkpoint.restore(manager, small().init(), 12), state)
        except (DamagedError, IncompatibleError):
            refused += 1
        shutil.copy(whole / path.relative_to(folder), path)
    assert refused >= 3  # at the least the arrays, their index and their names


def test_the_checksum_sees_any_word_and_its_place_and_not_the_devices():
    state = small().init()
    [first, *_] = [leaf for leaf in jax.tree.leaves(state.params) if leaf.size > 2]
    first_sum = np.asarray(checksum([first]))
    for index in range(0, first.size, 7):
        flat = np.asarray(first).ravel().copy()
        flat[index] = np.nextafter(flat[index], np.float32(9))
        assert not np.array_equal(checksum([flat.reshape(first.shape)]), first_sum)
    flat = np.asarray(first).ravel()
    changed = [flat[::-1], flat * np.where(np.arange(flat.size) < 2, -1, 1).astype(np.float32)]
    opposite = np.array([0.5, -0.5, 0.25], np.float32)
    assert not np.array_equal(checksum([opposite]), checksum([opposite[[1, 0, 2]]]))
    for other in changed:
        assert not np.array_equal(checksum([other.reshape(first.shape)]), first_sum)
    assert not np.array_equal(checksum([first, opposite]), checksum([opposite, first]))
    assert not np.array_equal(checksum([first, first]), first_sum)
    cut = jax.device_put(np.arange(64, dtype=np.int32), batched(make_mesh(8)))
    whole = checksum([np.arange(64, dtype=np.int32)])
    assert np.array_equal(checksum([cut]), whole)


def test_the_checksum_is_that_of_earlier_versions():
    """Checkpoints that they wrote are to be read; the numbers are those of commit 90f3f7e."""
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    state = [grid, np.ones(3, np.int32), np.full(2, 0.5, np.float16)]
    assert np.asarray(checksum(state)).tolist() == [3206324547, 2321284633]


def test_what_is_read_must_have_the_checksum_of_what_was_written(tmp_path, monkeypatch):
    right = checksum
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "checksum", lambda state: right(state) + np.uint32(1))
        train(small(), tmp_path)
    manager = checkpoint.open_checkpoints(tmp_path, read_only=True)
    with pytest.raises(DamagedError, match="checksum is not that of its content"):
        checkpoint.restore(manager, small().init(), 12)
    manager.close()


def damage(path: Path, how: str) -> None:
    if how == "cut short":
        for file in path.rglob("d/*"):
            os.truncate(file, file.stat().st_size // 2)
    elif how == "no description":
        (path / "default" / "_METADATA").write_text("{")
    else:
        shutil.rmtree(path / "default")


@pytest.mark.parametrize("how", ["cut short", "no description", "empty"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_goes_on(tmp_path, how, capsys):
    whole = train(small(steps=16), tmp_path / "whole")
    workdir = tmp_path / "run"
    train(small(), workdir)
    assert steps_in(workdir) == [8, 12]
    damage(workdir / "checkpoints" / "12", how)
    equal(train(small(steps=16), workdir), whole)
    printed = " ".join(capsys.readouterr().err.split())
    assert "checkpoint of step 12" in printed
    assert how != "empty" or "holds no state" in printed
    assert "goes on from step 8" in printed
    assert (workdir / "damaged" / "12-0").is_dir()
    assert lines(workdir) == lines(tmp_path / "whole")
    assert steps_in(workdir) == steps_in(tmp_path / "whole")


def test_without_a_whole_checkpoint_it_does_not_begin_anew(tmp_path):
    train(small(), tmp_path)
    for step in steps_in(tmp_path):
        damage(tmp_path / "checkpoints" / str(step), "cut short")
    with pytest.raises(OSError, match=r"No checkpoint .* can be read"):
        train(small(steps=16), tmp_path)


def test_nor_where_their_descriptions_are_gone(tmp_path):
    train(small(), tmp_path)
    for step in steps_in(tmp_path):
        (tmp_path / "checkpoints" / str(step) / "_CHECKPOINT_METADATA").write_text("[")
    with pytest.raises(OSError, match=r"No checkpoint .* can be read"):
        train(small(steps=16), tmp_path)
    assert steps_in(tmp_path) == [8, 12]  # nothing was moved


def test_a_score_that_is_none_costs_no_checkpoint(tmp_path):
    train(small(), tmp_path)
    metrics = tmp_path / "checkpoints" / "12" / "metrics" / "metrics"
    metrics.write_text(metrics.read_text().replace("validation_knn", "validation_kno"))
    assert int(train(small(steps=20), tmp_path).step) == 20
    assert not (tmp_path / "damaged").exists()
    manager = checkpoint.open_checkpoints(tmp_path, read_only=True)
    assert best_step(manager) != 12


@pytest.mark.parametrize(
    "error",
    [
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"),
        PermissionError("not yours"), OSError(errno.ESTALE, "stale file handle"), MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_says_nothing_of_the_file_condemns_no_checkpoint(tmp_path, error, monkeypatch):
    train(small(), tmp_path)

    def fails(self, *arguments, **more):
        raise error

    monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "restore", fails)
    with pytest.raises(type(error)):
        train(small(steps=16), tmp_path)
    assert steps_in(tmp_path) == [8, 12]


def test_a_lost_process_is_not_a_full_disk(tmp_path, monkeypatch):
    manager = checkpoint.open_checkpoints(tmp_path)
    lost = ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.jax, "process_count", lambda: 2)
        with pytest.raises(LostError, match="Gloo"), checkpoint._writing(manager):
            raise lost
    with pytest.raises(jax.errors.JaxRuntimeError, match="closed"), checkpoint._writing(manager):
        raise jax.errors.JaxRuntimeError("UNKNOWN: Connection closed by peer")
    with pytest.raises(WriteError, match="no space"), checkpoint._writing(manager):
        raise RuntimeError("no space")


def test_asked_while_it_writes_its_last_checkpoint(tmp_path, monkeypatch):
    finish = checkpoint.finish

    def asked_meanwhile(manager):
        finish(manager)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(checkpoint, "finish", asked_meanwhile)
    with pytest.raises(SystemExit) as ended:
        train(small(), tmp_path)
    assert ended.value.code == 75
    monkeypatch.undo()
    assert int(train(small(), tmp_path).step) == 12  # nothing is left to do


def test_a_second_signal_is_not_waited_for():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with listening(make_mesh(1)) as stop_asked:
        assert not stop_asked()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_asked()
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_half_a_line_is_an_error_and_a_damaged_one_is_named(tmp_path):
    records = Records(tmp_path)
    records.write(1, {"loss": 2.0})
    kept = records.file
    records.file = SimpleNamespace(write=lambda line: kept.write(line[:5]), there=kept.there)
    with pytest.raises(WriteError, match=r"metrics.jsonl: only 5 of \d+ bytes"):
        records.write(2, {"loss": 1.0})
    kept.close()
    assert [line["step"] for line in read_records(tmp_path)] == [1]
    path = tmp_path / "metrics.jsonl"
    before = path.read_bytes()
    for line in (b"and more", b'{"step": "x"}', b'{"step": 1.5}', b"[1]", b"\xff\xfe"):
        path.write_bytes(before + line + b"\n")
        with pytest.raises(ValueError, match=r"Line 2 of .*metrics.jsonl is damaged"):
            Records(tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    train(small(), tmp_path)
    with pytest.raises(ValueError, match=r"of another model: .*\[48, 6\] there"):
        train(small(steps=16, network=linear_network(features=7)), tmp_path)
    assert steps_in(tmp_path) == [8, 12]


def test_a_second_run_in_the_same_workdir_is_refused(tmp_path):
    other = small()
    with other.config.unlocked():
        other.config.seed = 77
    with locked(tmp_path, LOCK) as mine:
        assert mine
        claim(tmp_path, small().config)
        with pytest.raises(OSError, match="Another run is training in"):
            train(other, tmp_path)
    assert read_config(tmp_path).seed == small().config.seed
    train(small(), tmp_path)


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
