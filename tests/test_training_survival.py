"""Checkpoints damaged on disk, of another model or beside another run: what is whole goes on."""

import errno
import os
import random
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from tiny_loop import equal, small
from toys import linear_network

from eqssl_jax.training import checkpoint
from eqssl_jax.training.integrity import DamagedError, IncompatibleError, checksum
from eqssl_jax.training.interruption import listening
from eqssl_jax.training.kept import best_step
from eqssl_jax.training.loop import train
from eqssl_jax.training.mesh import batched, make_mesh
from eqssl_jax.training.processes import LostError
from eqssl_jax.training.records import Records, read_records
from eqssl_jax.training.workdir import LOCK, WriteError, claim, locked, read_config

# Reading that orbax gives up on the way leaves coroutines behind, of which Python then complains.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def steps_in(workdir) -> list[int]:
    return sorted(
        int(path.name) for path in workdir.glob("checkpoints/[0-9]*") if path.name.isdigit()
    )


def lines(workdir) -> list[str]:
    return (workdir / "metrics.jsonl").read_text().splitlines()


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
