"""Whole runs whose only disk is a bucket: killed, refused, read again, and of several processes."""

import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import survivor
import test_advice_run
import tiny_tfds
import warm
from bucket import serving
from test_studies_produce import SHAPES, quick  # noqa: F401 - a fixture
from test_training_kills import PROGRAM, until
from test_training_processes import started
from tiny_advice import stand_for
from tiny_loop import equal, small
from tiny_run import config, tiny_run

pytest.importorskip("gcsfs", reason="extra: cloud")

import eqssl_jax
from eqssl_jax import copies, data, storage, studies
from eqssl_jax.experiment.assess import assess
from eqssl_jax.experiment.embed import embed
from eqssl_jax.experiment.export import export
from eqssl_jax.experiment.page import write_page
from eqssl_jax.experiment.run import run
from eqssl_jax.experiment.transfer import transfer
from eqssl_jax.studies import folders, produce
from eqssl_jax.training import checkpoint, initial, kept
from eqssl_jax.training.loop import train
from eqssl_jax.training.records import read_records
from eqssl_jax.training.setup import setup

pytestmark = [
    pytest.mark.slow,
    # What a storage was not asked to the end is collected some time later.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
BY_HAND = pytest.mark.skipif("EQSSL_JAX_POD" not in os.environ, reason="minutes of CPU: set it")
ROOT = Path(__file__).parent.parent
GRACE = 400  # seconds on a busy machine


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    with serving("bucket") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", cache)
        yield server


def steps_in(server, run: str) -> list[int]:
    """The steps of finished checkpoints, without asking the storage."""
    names = list(server.buckets["bucket"])
    ends = [name.split("/") for name in names if name.startswith(f"{run}/checkpoints/")]
    return sorted(int(n[2]) for n in ends if n[3:] == ["commit_success.txt"])


def test_killed_in_a_bucket_it_goes_on_bit_for_bit_and_a_second_run_is_refused(server, tmp_path):
    process = started([PROGRAM, "gs://bucket/one", 10_000], devices=8)
    try:
        until(lambda: steps_in(server, "one") or process.poll() is not None, GRACE)
        with pytest.raises(OSError, match="Another run is training in gs://bucket/one"):
            train(survivor.run(10_000), storage.path("gs://bucket/one"))
    finally:
        process.kill()
        process.communicate()
    place = storage.path("gs://bucket/one")
    reached = steps_in(server, "one")[-1]
    steps = reached + 20
    # Of a checkpoint that was being written there is a part, or all, of its files.
    (place / "checkpoints" / str(reached + 20) / "default" / "d" / "x").write_text("half")
    state = train(survivor.run(steps), place)
    equal(train(survivor.run(steps), tmp_path / "one"), state)
    assert read_records(place) == read_records(tmp_path / "one")
    assert kept.kept_steps(place)[-1] == steps and not (place / ".training").exists()


@pytest.fixture(scope="module")
def stored(server):
    """The tiny run, copied to the bucket."""
    place = storage.path("gs://bucket/tiny")
    copies.send(tiny_run()[0], place)
    return place


def test_features_of_a_run_in_a_bucket_are_those_of_its_folder(stored, tmp_path):
    out, local = stored.parent / "features.npz", tmp_path / "features.npz"
    assert embed(str(stored), out, batch=16) == embed(tiny_run()[0], local, batch=16) == 48
    with out.open("rb") as file, np.load(file) as there, np.load(local) as here:
        for name in ("names", "labels", "features", "embeddings"):
            np.testing.assert_array_equal(there[name], here[name])


def test_a_run_is_exported_from_and_into_a_bucket_and_loaded_there(stored):
    out = stored.parent / "exported"
    files = {path.name for path in export(stored, out)}
    assert files == {"README.md", "config.json", "encoder.jax", "encoder.safetensors"}
    images = np.random.default_rng(3).random((5, 8, 8, 3), np.float32)
    program, run = (eqssl_jax.load(place) for place in (str(out), f"{stored}@latest"))
    np.testing.assert_allclose(program(images), run(images), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="gs://bucket/exported, which holds files"):
        export(stored, out)


def test_transfer_reads_and_writes_a_bucket(stored):
    content, labels = io.BytesIO(), np.arange(40) % 2
    images = (60 * labels[:, None, None, None] + np.zeros((40, 8, 8, 3))).astype(np.uint8)
    np.savez(content, images=images, labels=labels, test_images=images, test_labels=labels)
    (stored.parent / "two.npz").write_bytes(content.getvalue())
    out = stored.parent / "transferred"
    [measured] = transfer(
        [str(stored)], ["gs://bucket/two.npz"], out, shots=(1,), weights=2, untrained=False
    )
    assert measured.numbers["linear probe"].value == 1.0
    assert {path.name for path in out.iterdir()} == {
        "transfer.csv", "transfer.json", "transfer.md",
    }  # fmt: skip


def test_a_run_starts_from_the_encoder_of_one_in_a_bucket(stored):
    workdir, _, state = tiny_run()
    changed = {"train__init_from": f"{stored}@latest", "seed": 5}
    started = setup(config(workdir.parent / "data.npz", **changed))
    first = initial.started_from(started.config, started.mesh, started.init())
    for a, b in zip(
        jax.tree.leaves(first.params["network"]["encoder"]),
        jax.tree.leaves(state.params["network"]["encoder"]),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    assert started.config.train.init_from == f"{stored}@latest"
    with pytest.raises(FileNotFoundError, match=r"gs://bucket/nobody.*has no data\.json"):
        setup(config(workdir.parent / "data.npz", train__init_from="gs://bucket/nobody"))


def test_array_records_folders_and_zips_are_read_from_a_bucket(server, tmp_path):
    """As `--config.data.directory=gs://…` names them, and equal to what is read from a disk."""
    pictures = tmp_path / "photos" / "train"
    for number, (pixels, label) in enumerate(tiny_tfds.photos(20, 0)):
        folder = pictures / tiny_tfds.CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(tiny_tfds.encode(pixels))
    shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path / "photos")
    tiny_tfds.prepare(tmp_path / "sets", train=20, test=8)
    place = storage.path("gs://bucket/data")
    for name in ("photos", "photos.zip", "sets"):
        copies.send(tmp_path / name, place / name)
    for source, directory in (
        ("folder", "photos"), ("folder", "photos.zip"), ("tiny_photos", "sets"),
    ):  # fmt: skip
        here, there = (
            data.load(name=source, directory=f"{root}/{directory}", on_device=False)
            for root in (tmp_path, place)
        )
        assert here.classes == there.classes and set(here.classes) == set(tiny_tfds.CLASSES)
        for split, expected in here.splits.items():
            rows = np.arange(expected.size, dtype=np.int32)
            np.testing.assert_array_equal(there.splits[split].load(rows), expected.load(rows))
    with pytest.raises(FileNotFoundError, match="There is nothing in gs://bucket/data/cifar10"):
        data.load(name="cifar10", directory=str(place))


def test_a_table_in_a_bucket_is_that_in_a_folder(server, quick, tmp_path):  # noqa: F811
    study, place = studies.find("care_table1"), storage.path("gs://bucket/tables")
    choice = folders.choose(study, "smoke", SHAPES, only=["SimCLR"])
    for directory in (place, tmp_path):
        produce.produce(study, "smoke", choice, directory)
    for name in ("care_table1-smoke.csv", "care_table1-smoke.md"):
        assert (place / name).read_text() == (tmp_path / name).read_text()
    assert len(quick) == 2 and not list(place.glob("*/.study/*"))
    produce.produce(study, "smoke", choice, place)
    assert len(quick) == 2


def test_data_and_outputs_in_s3(tmp_path, monkeypatch):
    """Against moto, a stand-in of S3 on loopback that no extra installs."""
    pytest.importorskip("s3fs", reason="extra: s3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    server.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        importlib.import_module("s3fs").S3FileSystem(anon=False).mkdir("bucket")
        place = storage.path("s3://bucket/sets")
        tiny_tfds.prepare(tmp_path / "sets", train=20, test=8)
        copies.send(tmp_path / "sets", place)
        dataset = data.load(name="tiny_photos", directory=str(place), on_device=False)
        assert dataset.splits["test"].size == 8
        out = storage.path("s3://bucket/features.npz")
        assert embed(tiny_run()[0], out, batch=16) == 48
        with out.open("rb") as file, np.load(file) as stored:
            assert stored["features"].shape == (48, 128)
        page = write_page([tiny_run()[0]], place.parent / "page.html")
        assert "<html" in page.read_text()
        with pytest.raises(FileNotFoundError, match=r"no bucket s3://absent: make it .aws s3 mb"):
            storage.path("s3://absent/run")
    finally:
        server.stop()


@BY_HAND
def test_a_run_and_its_data_in_a_bucket_are_evaluated_shown_and_loaded(server, tmp_path):
    place, content = storage.path("gs://bucket/two"), io.BytesIO()
    images = np.random.default_rng(0).integers(0, 255, (48, 8, 8, 3)).astype(np.uint8)
    np.savez(content, images=images, labels=np.arange(48) % 3)
    storage.path("gs://bucket/data.npz").write_bytes(content.getvalue())
    run(config("gs://bucket/data.npz"), place)
    options = {"preset": "quick", "augmentations": 2, "probe_steps": 5, "care_epochs": 1}
    [written] = assess(place, "latest", options=options, with_floors=False)
    assert json.loads(written.read_text())["step"] == 2 and str(written).startswith(
        "gs://bucket/two"
    )
    assert len(list(place.glob("eval/*.png"))) > 1
    html = write_page([place], tmp_path / "page.html").read_text()
    assert "data:image/webp" in html and write_page([place], place / "report.html").is_file()
    encoder = eqssl_jax.load("gs://bucket/two@latest")
    assert np.isfinite(encoder(images[:4].astype(np.float32) / 255)).all() and encoder.name == "two"


@BY_HAND
def test_advice_in_a_bucket_is_that_in_a_folder(server, tmp_path, monkeypatch):
    stand_for(monkeypatch)
    place = storage.path("gs://bucket/advice")
    advised = test_advice_run.start(place)
    assert advised == test_advice_run.start(tmp_path)
    assert {path.name for path in place.iterdir()} >= test_advice_run.FILES
    assert test_advice_run.start(place) == advised


@BY_HAND
def test_a_pod_of_four_processes_with_a_bucket_as_its_only_disk(server, tmp_path):
    """create, train, SIGTERM of one host, the same command again, and the end of one device."""
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    variables = {**os.environ, "XLA_FLAGS": warm.QUICK, "PYTHONPATH": paths}

    def pod(steps):
        return subprocess.Popen(
            [ROOT / "launch" / "local_processes.sh", "4", "--devices=2", f"--logs={tmp_path}",
             "--", sys.executable, PROGRAM, "gs://bucket/pod", str(steps)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables,
        )  # fmt: skip

    running = pod(10_000)
    until(lambda: steps_in(server, "pod") or running.poll() is not None, GRACE)
    os.kill(host(2), signal.SIGTERM)
    output, _ = running.communicate(timeout=GRACE)
    assert running.returncode == 75, output
    reached = steps_in(server, "pod")[-1]
    assert "Traceback" not in output and 0 < reached < 10_000
    steps = reached + 20
    running = pod(steps)
    output, _ = running.communicate(timeout=GRACE)
    assert running.returncode == 0, output
    place = storage.path("gs://bucket/pod")
    manager = checkpoint.open_checkpoints(place, read_only=True)
    many = checkpoint.restore(manager, small().init(), steps)
    manager.close()
    expected = train(survivor.run(steps), tmp_path / "one")
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
    steps_logged = [row["step"] for row in read_records(place) if "loss" in row]
    assert steps_logged == list(range(1, steps + 1))


def host(number: int) -> int:
    """The process of the pod that is this host."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == os.fsencode(sys.executable) and b"--process=%d" % number in words:
            return int(folder.name)
    raise AssertionError(f"host {number} is gone")
