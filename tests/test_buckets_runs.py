"""Whole runs whose only disk is a bucket: killed, refused, read again, and of several processes."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import survivor
import test_advice_run
import warm
from bucket import serving
from test_training_kills import PROGRAM, until
from test_training_processes import started
from tiny_loop import equal, small
from tiny_run import config

pytest.importorskip("gcsfs", reason="extra: cloud")

import eqssl_jax
from eqssl_jax import storage
from eqssl_jax.experiment.assess import assess
from eqssl_jax.experiment.page import write_page
from eqssl_jax.experiment.run import run
from eqssl_jax.training import checkpoint, kept
from eqssl_jax.training.loop import train
from eqssl_jax.training.records import read_records

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
    for file in (test_advice_run.run_file, test_advice_run.prepare_file):
        monkeypatch.setattr(file, "setup", test_advice_run.stand_in)
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
