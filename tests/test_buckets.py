"""Runs and data in object storage, against a stand-in on loopback (tests/bucket.py)."""

import errno
import io
import json
import os
import sys
import threading
import time
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from bucket import serving
from test_studies_sweep import TEMPERATURE, config, quick  # noqa: F401 - a fixture

pytest.importorskip("gcsfs", reason="extra: cloud")

from eqssl_jax import buckets, command, data, leases, names, storage
from eqssl_jax.data.named import named
from eqssl_jax.experiment.feature_files import Rows, check_path, feature_file
from eqssl_jax.studies import folders, scales
from eqssl_jax.studies import sweep as sweeps
from eqssl_jax.studies.grid import parse
from eqssl_jax.training import checkpoint
from eqssl_jax.training.environment import record_environment
from eqssl_jax.training.integrity import DamagedError
from eqssl_jax.training.records import Records, read_records
from eqssl_jax.training.workdir import WriteError, is_locked, locked, write_json

# What a storage has not answered is collected some time later.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def server():
    with serving("bucket") as storage:
        yield storage


@pytest.fixture
def place(server, monkeypatch, tmp_path):
    """An empty folder of the bucket; the cache of this machine is another for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server.buckets["bucket"].clear()
    server.faults.clear()
    return storage.path("gs://bucket/runs/care")


def test_a_place_in_a_bucket_is_used_like_a_folder(place):
    assert storage.is_remote(place) and not storage.is_remote(storage.path("runs/care"))
    assert str(place / "eval") == "gs://bucket/runs/care/eval" and place.resolve() == place
    assert (place.parent.name, place.bucket, place.exists()) == ("runs", "bucket", False)
    write_json(place / "eval" / "3.json", {"a": np.float32(1)})
    storage.write(place / "eval" / "40.json", "{}")
    assert place.is_dir() and not place.is_file() and (place / "eval" / "3.json").is_file()
    assert sorted(path.name for path in place.glob("*/*.json")) == ["3.json", "40.json"]
    assert [path.name for path in place.iterdir()] == ["eval"]
    assert json.loads((place / "eval" / "3.json").read_text()) == {"a": 1.0}
    assert abs((place / "eval" / "3.json").stat().st_mtime - time.time()) < 60
    with (place / "x.npz").open("wb") as file:
        np.savez(file, x=np.arange(3))
    with (place / "x.npz").open("rb") as file, np.load(file) as stored:
        assert stored["x"].tolist() == [0, 1, 2]
    with pytest.raises(ZeroDivisionError), (place / "half").open("wb") as file:
        file.write(b"x")
        raise ZeroDivisionError
    assert not (place / "half").exists()
    (place / "eval").replace(place / "damaged" / "eval-0")
    assert sorted(path.name for path in place.glob("*/*/*")) == ["3.json", "40.json"]
    place.rmtree()
    assert not place.exists()


def test_a_log_is_written_in_pieces_and_read_as_one(place, server, monkeypatch):
    monkeypatch.setattr(leases, "MERGED", 4)
    records = Records(place)
    for step in range(1, 11):
        records.write(step, {"loss": 1 / step})
        assert [row["step"] for row in read_records(place)] == list(range(1, step + 1))
    records.close()
    pieces = [name for name in server.buckets["bucket"] if "pieces" in name]
    assert [name[-2:] for name in sorted(pieces)] == ["00", "04", "08", "09"]
    # Killed while four lines became one: what they were lies beside it.
    (place / "metrics.jsonl.pieces" / "000000006").write_text('{"step": 7, "loss": 0}\n')
    assert [row["step"] for row in read_records(place)] == list(range(1, 11))
    again = Records(place, resumed_at=6)
    again.write(7, {"loss": 5.0})
    assert [row["step"] for row in read_records(place)] == [1, 2, 3, 4, 5, 6, 7]
    assert read_records(place)[-1]["loss"] == 5.0


# What a process of this machine wrote that is no longer there.
DEAD = json.dumps({"host": "x", "space": leases._space(), "process": 2**22 + 1})


def test_a_lock_is_one_process_s_and_a_dead_one_s_is_taken_over(place, monkeypatch, capsys):
    monkeypatch.setattr(leases, "BEAT", 0.2)
    lock = place / ".training"
    with locked(place, ".training") as mine:
        assert mine and is_locked(place, ".training")
        with locked(place, ".training") as other:
            assert not other
    assert not is_locked(place, ".training") and not lock.exists()
    assert "waiting up to 60 seconds for a sign of life" in capsys.readouterr().err
    # Killed on this machine: taken at once. Of another machine, or unreadable: after a while.
    (lock / "1").write_text(DEAD)
    with locked(place, ".training") as mine:
        assert mine and [path.name for path in lock.iterdir()] == ["2"]
    assert "waiting" not in capsys.readouterr().err
    monkeypatch.setattr(leases, "PATIENCE", 0.5)
    (lock / "7").write_text(json.dumps({"host": "tpu-0", "space": "", "process": 5}))
    began = time.monotonic()
    with locked(place, ".training") as mine:
        assert mine and time.monotonic() - began > 0.5
    printed = capsys.readouterr().err
    assert "process 5 on tpu-0" in printed and f"gcloud storage rm --recursive {lock}" in printed


def test_two_locks_of_a_run_are_held_at_once(place):
    with locked(place, ".study") as outer, locked(place, ".training") as inner:
        assert outer and inner
        leases._HELD[f"{place}/.training"].lost = True
        with pytest.raises(OSError, match=r"\.training for 60 seconds"):
            leases.check_held(place)
    leases.check_held(place)
    assert not leases._HELD


def test_of_many_that_take_a_lock_one_has_it(place, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.1)
    (place / "lock" / "3").write_text(DEAD)
    rivals = [leases.Lease(place / "lock") for _ in range(4)]
    taken = []
    threads = [
        threading.Thread(target=lambda rival=rival: taken.append(rival.take())) for rival in rivals
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False, False, False, True]
    for rival in rivals:
        rival.release()


def test_who_was_silent_for_too_long_stops_writing(place, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.05)
    with locked(place, ".training") as mine:
        assert mine
        records = Records(place)
        records.write(1, {"loss": 1.0})
        (place / ".training" / "2").write_text("{}")  # another took its place
        end = time.monotonic() + 5
        while not leases._HELD[f"{place}/.training"].lost and time.monotonic() < end:
            time.sleep(0.02)
        with pytest.raises(OSError, match="another may have taken its place in gs://bucket"):
            records.write(2, {"loss": 1.0})
    assert [row["step"] for row in read_records(place)] == [1]


@pytest.mark.parametrize(
    ("address", "kind", "message"),
    [
        ("gs://absent/run", FileNotFoundError, "no bucket gs://absent.*gcloud storage buckets cre"),
        ("gs://forbidden/run", PermissionError, "may not be read.*gcloud auth.*storage.objectUser"),
        ("ftp://host/run", ValueError, "'ftp://host/run' is no place.*gs://bucket/run"),
        ("gs://", ValueError, "'gs://' is no place"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_paragraph(server, address, kind, message):
    with pytest.raises(kind, match=message) as raised:
        command.folder("--workdir", address, bucket=True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_storage_is_asked_again_with_pauses_and_then_it_is_said(
    place, server, status, monkeypatch
):
    pauses, sleep = [], __import__("asyncio").sleep

    def instant(seconds, *others):
        pauses.append(seconds)
        return sleep(0, *others)

    monkeypatch.setattr("gcsfs.retry.asyncio.sleep", instant)
    server.faults += [status] * 2
    storage.write(place / "config.json", "{}")  # two of the six tries are refused
    assert (place / "config.json").read_text() == "{}" and len(pauses) == 2
    server.faults += [status] * 100
    with pytest.raises(OSError, match=f"gs://bucket answered {status} again and again.*later"):
        storage.write(place / "config.json", "{1}")
    assert pauses[-5:] == sorted(pauses[-5:]) and sum(pauses[-5:]) > 30
    server.faults.clear()


@pytest.mark.parametrize("status", [403, 503])
def test_a_storage_that_does_not_answer_condemns_no_checkpoint(status):
    from gcsfs.retry import HttpError

    manager = SimpleNamespace(directory="gs://bucket/run/checkpoints")
    for error in (
        HttpError({"code": status, "message": "later"}),
        ValueError(f"UNAVAILABLE: HTTP response code: {status}"),
    ):
        message = r"step 3 in gs://.* cannot be read now"
        with pytest.raises(OSError, match=message) as raised, checkpoint._reading(manager, 3):
            raise error
        assert not isinstance(raised.value, DamagedError)
        message = "could not be written"
        with pytest.raises(WriteError, match=message), checkpoint._writing(manager):
            raise error


def test_a_sweep_in_a_bucket_is_that_in_a_folder(place, quick, tmp_path):  # noqa: F811
    def train(run, folder, *, name=""):
        with locked(folder, ".training") as mine:  # as training does, inside of the sweep's own
            assert mine
            trained(run, folder, name=name)

    trained, sweeps.train = quick.train, train
    grid = parse(config(), [f"{TEMPERATURE}=0.1,0.5"])
    written = sweeps.sweep(grid, place)
    assert sorted(path.name for path in written) == [
        "sweep.csv", "sweep.md", "sweep.png", "sweep.txt",
    ]  # fmt: skip
    sweeps.sweep(grid, tmp_path)
    assert (place / "sweep.csv").read_text() == (tmp_path / "sweep.csv").read_text()
    assert len(quick.trained) == 4 and all(name.endswith("seed=0") for name in quick.trained)
    sweeps.sweep(grid, place)
    assert len(quick.trained) == 4
    with pytest.raises(ValueError, match=r"--runs=gs://.* is the folder of a single run"):
        folders.check(next(place.glob("temperature-0.5-*")))


def test_features_are_sent_to_a_bucket_when_they_are_whole(place, server, monkeypatch, tmp_path):
    rows = Rows(["a", "b"], "train", np.zeros(2, np.int32), *[np.ones((2, 3), np.float32)] * 2)
    out = place / "features.npz"
    check_path(out)
    with feature_file(out, 2, ("x",), "an encoder", "data") as write:
        write(rows)
        assert not server.buckets["bucket"]
    with out.open("rb") as file, np.load(file) as stored:
        assert stored["features"].shape == (2, 3) and stored["names"].tolist() == ["a", "b"]
    assert list(server.buckets["bucket"]) == ["runs/care/features.npz"]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    with pytest.raises(ValueError, match="--out=gs://bucket names no folder or file of its own"):
        storage.check_out(storage.path("gs://bucket"))
    refused = mock.Mock(side_effect=PermissionError("no storage.objects.create access"))
    monkeypatch.setattr(out.store, "pipe_file", refused)
    for check in (check_path, lambda out: storage.make_folder(out.parent, "--out")):
        with pytest.raises(PermissionError, match=r"^gs://bucket/runs/care/\.eqssl_jax may not be"):
            check(out)


def test_data_that_a_name_or_a_table_takes_from_a_bucket(place):
    (place / "set.npz").write_bytes(b"x")
    assert named("cifar10@gs://bucket/sets") == ("cifar10", "gs://bucket/sets")
    assert named("tiny", "gs://bucket/sets") == ("tiny", "gs://bucket/sets")
    assert scales.parse_data(f"{place}/set.npz") == ("arrays", f"{place}/set.npz")
    assert scales.parse_data(str(place)) == ("folder", str(place))
    with pytest.raises(FileNotFoundError, match="--data=gs://bucket/no: there is no such file"):
        scales.parse_data("gs://bucket/no")


def test_what_is_in_a_name_of_a_place_is_no_pattern(place):
    odd = storage.path("gs://bucket/a?b[1]")
    for folder in (odd, odd.with_name("a b[1]")):
        (folder / "config.json").write_text("{}")
    assert list(odd.glob("*.json")) == [odd / "config.json"]
    assert [str(parent) for parent in (place / "x").parents] == [
        "gs://bucket/runs/care", "gs://bucket/runs", "gs://bucket",
    ]  # fmt: skip
    with pytest.raises(
        ValueError, match=r"has one slash where an address has two.*'gs://bucket/x'"
    ):
        storage.path("gs:/bucket/x")


def test_s3_holds_data_and_outputs_but_no_run_and_names_what_is_missing(monkeypatch):
    with pytest.raises(
        ValueError, match=r"read and written by s3fs.*pip install 'eqssl_jax\[s3\]'"
    ):
        monkeypatch.setitem(sys.modules, "s3fs", None)
        buckets.files.cache_clear()
        storage.path("s3://bucket/data.npz")
    place = buckets.Remote("s3://bucket/run")
    with pytest.raises(ValueError, match=r"s3://bucket/run can hold no run.*gs:// alone"):
        checkpoint.open_checkpoints(place)
    with pytest.raises(ValueError, match="s3://bucket/run can hold no run"):
        command.folder("--runs", "s3://bucket/run", bucket=True)
    lacking = type("NoCredentialsError", (Exception,), {})("Unable to locate credentials")
    for error in (lacking, PermissionError("Access Denied")):
        with pytest.raises(PermissionError, match="aws configure"), buckets.answered(place):
            raise error
    with pytest.raises(OSError, match="answered that it is busy again"), buckets.answered(place):
        raise OSError(errno.EBUSY, "Please reduce your request rate.")


def test_places_of_this_machine_alone_refuse_an_address():
    for call in (names.user_path, lambda text: command.folder("--out", text)):
        with pytest.raises(ValueError, match=r"gs://bucket/out' is an address.*must be a folder"):
            call("gs://bucket/out")


def test_data_in_a_bucket_are_copied_once_and_again_when_they_change(place, server, capsys):
    def put(images):
        content = io.BytesIO()
        np.savez(content, images=images, labels=np.arange(len(images)) % 2)
        (place / "set.npz").write_bytes(content.getvalue())

    def means():
        dataset = data.load(name="arrays", directory=str(place / "set.npz"), on_device=False)
        return float(np.mean(dataset.mean))

    put(np.zeros((20, 8, 8, 3), np.uint8))
    assert means() == 0 and means() == 0
    assert capsys.readouterr().out.count("Copying 1 files") == 1
    put(np.full((20, 8, 8, 3), 255, np.uint8))
    assert means() == 1
    for name in ("train/a/1.png", "train/b/2.png", "train/b/3.png"):
        (place / "set" / name).write_bytes(b"x")
    copy = storage.fetched(place / "set")
    assert sorted(p.name for p in copy.rglob("*.png")) == ["1.png", "2.png", "3.png"]
    (place / "set" / "train/b/3.png").unlink()
    assert len(list(storage.fetched(place / "set").rglob("*.png"))) == 2
    with pytest.raises(FileNotFoundError, match="nothing in gs://bucket/runs/care/no"):
        storage.fetched(place / "no")


def test_the_environment_and_a_checkpoint_that_is_not_finished(place):
    record_environment(place, step=0, steps=3)
    for step, end in ((10, "commit_success.txt"), (20, "default/_METADATA")):
        (place / "checkpoints" / str(step) / end).write_text("")
    assert storage.finished_checkpoints(place / "checkpoints") == [10]
    assert os.path.basename(place / "environment.json") == "environment.json"
